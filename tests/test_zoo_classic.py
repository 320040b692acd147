"""cnnbook.zoo from LeNet to the ResNets: known counts, outputs against torchvision and slow recomputations."""

import copy

import numpy as np
import pytest
import torch
import torch.nn.functional as F
import torchvision.models as tv
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from cnnbook import zoo
from cnnbook.shapes import receptive_field
from cnnbook.zoo import alexnet, cifar_resnet, count, lenet, preact_resnet

CLASSIC = {  # name: (classes, input, trainable parameters)
    "lenet5_1998": (10, (1, 32, 32), 60_000),
    "lenet5": (10, (1, 28, 28), 61_706),
    "alexnet_2012": (1000, (3, 227, 227), 60_965_224),
    "alexnet": (1000, (3, 224, 224), 61_100_840),
    "vgg16": (1000, (3, 224, 224), 138_357_544),
    "googlenet": (1000, (3, 224, 224), 13_378_280),
    "resnet18": (1000, (3, 224, 224), 11_689_512),
    "resnet34": (1000, (3, 224, 224), 21_797_672),
    "resnet50": (1000, (3, 224, 224), 25_557_032),
    "cifar_resnet20": (10, (3, 32, 32), 269_722),
    "cifar_resnet56": (10, (3, 32, 32), 853_018),
    "cifar_resnet110": (10, (3, 32, 32), 1_727_962),
    "preact_resnet18": (1000, (3, 224, 224), 11_687_720),
}
MACS = {
    "lenet5": 416_520,
    "alexnet_2012": 724_406_816,
    "alexnet": 714_188_480,
    "vgg16": 15_470_264_320,
    "resnet18": 1_814_073_344,
    "resnet34": 3_663_761_408,
    "resnet50": 4_089_184_256,
    "preact_resnet18": 1_814_073_344,  # the same convolutions in another order
}


def on_meta(name: str, classes: int) -> nn.Module:
    """The network without memory for its weights: enough to count, and to learn which sizes fit."""
    with torch.device("meta"):
        return zoo.build(name, classes)


def randomise(model: nn.Module, seed: int) -> nn.Module:
    """The model in float64, everything in it drawn at random, running statistics included."""
    g = torch.Generator().manual_seed(seed)
    model = model.double().to_empty(device="cpu")
    for module in model.modules():
        if isinstance(module, (nn.Conv2d, nn.Linear)):
            module.weight.data.normal_(0, (2 / module.weight[0].numel()) ** 0.5, generator=g)
            if module.bias is not None:
                module.bias.data.normal_(0, 0.2, generator=g)
        elif isinstance(module, nn.BatchNorm2d):
            module.weight.data.uniform_(0.5, 1.5, generator=g)
            module.running_var.uniform_(0.5, 1.5, generator=g)
            module.bias.data.normal_(0, 0.2, generator=g)
            module.running_mean.normal_(0, 0.2, generator=g)
            module.num_batches_tracked.zero_()
    return model


def graft(ours: nn.Module, theirs: nn.Module) -> nn.Module:
    """Ours with a copy of their parameters and buffers, matched by order; a shape that differs is an error."""
    state = dict(zip(ours.state_dict(), theirs.state_dict().values(), strict=True))
    assert [v.shape for v in state.values()] == [v.shape for v in ours.state_dict().values()]
    ours.load_state_dict(state, assign=True)
    return ours


def images(*shape: int, seed: int = 1) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


# ---- counts


@pytest.mark.parametrize("name", CLASSIC)
def test_parameters_are_the_papers(name):
    classes, _, expected = CLASSIC[name]
    assert count.parameters(on_meta(name, classes)) == expected


def test_parts_that_papers_count_apart():
    g, v = on_meta("googlenet", 1000), on_meta("vgg16", 1000)
    assert [count.parameters(aux) for aux in (g.aux1, g.aux2)] == [3_188_840, 3_190_888]
    assert count.parameters(g) - count.parameters(g.aux1) - count.parameters(g.aux2) == 6_998_552
    assert [count.parameters(layer) for layer in v.classifier if isinstance(layer, nn.Linear)] == [
        102_764_544,
        16_781_312,
        4_097_000,
    ]
    old = on_meta("alexnet_2012", 1000)
    assert (count.parameters(old.features), count.parameters(old.classifier)) == (2_334_080, 58_631_144)
    first = on_meta("lenet5_1998", 10)
    layers = (first.c1, first.s2, first.c3, first.s4, first.c5, first.f6, first.output)
    assert [count.parameters(layer) for layer in layers] == [156, 12, 1516, 32, 48_120, 10_164, 0]


@pytest.mark.parametrize("name", MACS)
def test_macs_are_the_known_ones(name):
    classes, size, _ = CLASSIC[name]
    assert count.macs(on_meta(name, classes), size) == MACS[name]


@pytest.mark.parametrize("name", zoo.names())
def test_macs_equal_torchs_flop_counter(name):
    model, size = on_meta(name, 7), CLASSIC.get(name, (7, (3, 224, 224)))[1]
    with FlopCounterMode(display=False) as counter:
        model.eval()(torch.zeros(1, *size, device="meta"))
    assert count.macs(model, size) == counter.get_total_flops() / 2 > 0


def test_macs_of_odd_layers_by_hand():
    conv = nn.Conv2d(6, 9, (3, 5), stride=(2, 1), padding=(0, 2), groups=3)  # (11, 13) -> (5, 13)
    dense = nn.Linear(13, 4)  # over the last axis, 9 * 5 times
    assert count.macs(nn.Sequential(conv, dense), (6, 11, 13)) == 9 * 5 * 13 * (2 * 3 * 5) + 9 * 5 * 4 * 13
    shared = nn.Conv2d(2, 2, 3, padding=1)
    twice = nn.Sequential(shared, nn.ReLU(), shared)
    assert count.macs(twice, (2, 4, 7)) == 2 * (4 * 7 * 2 * 18)
    assert count.parameters(twice) == 2 * 18 + 2


def test_frozen_parameters_and_buffers():
    model = nn.Sequential(nn.Conv2d(2, 3, 3), nn.BatchNorm2d(3))
    model[0].requires_grad_(False)
    assert (count.parameters(model), count.parameters(model, trainable=False)) == (6, 57 + 6)


def test_macs_leaves_the_model_as_it_was():
    model = zoo.build("resnet18", 3).train()
    model.stage2.eval()
    before = copy.deepcopy(model.state_dict())
    count.macs(model, (3, 33, 47))
    with pytest.raises(ValueError, match="4 channels"):
        count.macs(model, (4, 33, 47))
    assert not any(m._forward_hooks for m in model.modules())
    assert model.training
    assert model.stem[1].training
    assert not any(m.training for m in model.stage2.modules())
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())
    with pytest.raises(ValueError, match=r"must be \(channels, height, width\)"):
        count.macs(model, (1, 3, 224, 224))


# ---- the front door


def test_front_door_refuses_in_words():
    assert len(zoo.names()) == len(set(zoo.names())) == 18
    with pytest.raises(ValueError, match="the zoo has no 'resnet51'; it has lenet5_1998, lenet5, alexnet_2012"):
        zoo.build("resnet51")
    with pytest.raises(ValueError, match=r"the zoo has no \['vgg16'\]"):
        zoo.build(["vgg16"])
    for wrong in (2.0, "10", True, None):
        with pytest.raises(TypeError, match="num_classes must be an integer"):
            zoo.build("lenet5", wrong)
    for wrong in (0, -3):
        with pytest.raises(ValueError, match=f"num_classes must be at least 1, got {wrong}"):
            zoo.build("resnet18", wrong)


@pytest.mark.parametrize("name", zoo.names())
def test_any_number_of_classes(name):
    size = CLASSIC.get(name, (0, (3, 224, 224)))[1]
    with torch.device("meta"):
        default = zoo.build(name).eval()
    assert default(torch.zeros(2, *size, device="meta")).shape == (2, 1000)
    for classes in (1, np.int64(23)):
        assert on_meta(name, classes).eval()(torch.zeros(2, *size, device="meta")).shape == (2, classes)


@pytest.mark.parametrize("name", CLASSIC)
def test_wrong_images_are_refused_in_words(name):
    model, (channels, height, width) = on_meta(name, 3), CLASSIC[name][1]

    def run(*shape, dtype=torch.float32):
        return model(torch.zeros(*shape, dtype=dtype, device="meta"))

    wanted = rf"images must be \(N, {channels}, H, W\), got "
    with pytest.raises(ValueError, match=wanted + rf"\({channels}, {height}, {width}\): a single image needs a batch"):
        run(channels, height, width)
    with pytest.raises(ValueError, match=wanted + "2 axes"):
        run(height, width)
    with pytest.raises(ValueError, match=wanted + f"{channels + 1} channels"):
        run(2, channels + 1, height, width)
    with pytest.raises(TypeError, match="images must be of a float type, got torch.uint8"):
        run(2, channels, height, width, dtype=torch.uint8)
    with pytest.raises(TypeError, match="takes a torch.Tensor .* got ndarray"):
        model(np.zeros((2, channels, height, width)))


@pytest.mark.parametrize(("name", "size"), [("lenet5_1998", 32), ("lenet5", 28), ("alexnet_2012", 227)])
def test_networks_of_one_size_name_it(name, size):
    model, channels = on_meta(name, 3), CLASSIC[name][1][0]
    for height, width in ((size, size + 1), (size - 1, size), (2 * size, 2 * size)):
        with pytest.raises(ValueError, match=f"takes {size}x{size} pixels only, got {height}x{width}"):
            model(torch.zeros(1, channels, height, width, device="meta"))


LEAST = [("alexnet", True, 63), ("vgg16", True, 32), ("googlenet", False, 31), ("googlenet", True, 79)]


@pytest.mark.parametrize(("name", "training", "least"), LEAST)
def test_networks_of_any_size_name_the_least(name, training, least):
    model = on_meta(name, 3).train(training)
    for height, width in ((least, least), (least, least + 41), (288, 300)):
        model(torch.zeros(2, 3, height, width, device="meta"))
    with pytest.raises(ValueError, match=f"sides of at least {least} pixels, got {least + 5}x{least - 1}"):
        model(torch.zeros(2, 3, least + 5, least - 1, device="meta"))


@pytest.mark.parametrize("name", [n for n in CLASSIC if "resnet" in n])
def test_residual_networks_take_any_size(name):
    model = on_meta(name, 3).eval()
    for height, width in ((1, 1), (7, 33), (300, 65)):
        assert model(torch.zeros(2, 3, height, width, device="meta")).shape == (2, 3)


# ---- against torchvision


@pytest.mark.parametrize(
    ("name", "height", "width"), [("alexnet", 71, 100), ("vgg16", 64, 37), ("resnet18", 65, 97), ("resnet50", 65, 97)]
)
def test_outputs_equal_torchvisions(name, height, width):
    with torch.device("meta"):
        theirs = getattr(tv, name)(num_classes=5)
    theirs = randomise(theirs, seed=2).eval()
    ours, x = graft(on_meta(name, 5), theirs).eval(), images(2, 3, height, width)
    with torch.no_grad():
        expected, found = theirs(x), ours(x)
        assert (expected[0] - expected[1]).abs().max() > 0.1  # the images matter, not the biases alone
        torch.testing.assert_close(found, expected, atol=1e-7, rtol=0)
        norms = [m for m in ours.modules() if isinstance(m, nn.BatchNorm2d)]
        for norm in norms[-1:]:  # twice the epsilon in a single layer is seen
            norm.eps = 2e-5
            assert (ours(x) - expected).abs().max() > 1e-7


@pytest.mark.parametrize(("name", "height", "width"), [("alexnet", 63, 80), ("resnet18", 33, 64)])
def test_training_mode_equals_torchvisions(name, height, width):
    with torch.device("meta"):
        theirs = getattr(tv, name)(num_classes=5)
    theirs = randomise(theirs, seed=3).train()
    ours, x = graft(on_meta(name, 5), copy.deepcopy(theirs)).train(), images(3, 3, height, width)
    outputs = []
    with torch.random.fork_rng(), torch.no_grad():
        for model in (theirs, ours):
            torch.manual_seed(4)  # dropout draws the same mask
            outputs.append(model(x))
    torch.testing.assert_close(outputs[1], outputs[0], atol=1e-7, rtol=0)
    buffers = zip(ours.buffers(), theirs.buffers(), strict=True)  # running statistics have moved alike
    assert all(torch.allclose(a, b, atol=1e-12) for a, b in buffers)


def test_vgg_drops_half_of_both_hidden_layers():
    with torch.device("meta"):
        theirs = tv.vgg16(num_classes=5).classifier
    ours = on_meta("vgg16", 5).classifier
    assert [(type(m), getattr(m, "p", None)) for m in ours] == [(type(m), getattr(m, "p", None)) for m in theirs]


# ---- LeNet-5

TABLE_I = """
X . . . X X X . . X X X X . X X
X X . . . X X X . . X X X X . X
X X X . . . X X X . . X . X X X
. X X X . . X X X X . . X . X X
. . X X X . . X X X X . X X . X
. . . X X X . . X X X X . X X X
"""


def squash(a: np.ndarray) -> np.ndarray:
    return 1.7159 * np.tanh(2 * a / 3)


def slow_filter(x: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    """One map x (H, W) under one 5x5 kernel, position by position."""
    rows, columns = x.shape[0] - 4, x.shape[1] - 4
    return np.array([[(x[i : i + 5, j : j + 5] * kernel).sum() for j in range(columns)] for i in range(rows)])


def slow_subsample(x: np.ndarray, coefficient: np.ndarray, bias: np.ndarray) -> np.ndarray:
    total = x[:, 0::2, 0::2] + x[:, 0::2, 1::2] + x[:, 1::2, 0::2] + x[:, 1::2, 1::2]
    return np.stack([c * m + b for m, c, b in zip(total, coefficient, bias, strict=True)])


def c3_kernels(layer: nn.Module) -> tuple[list, np.ndarray]:
    """The kernels of each C3 map, one for each map it sees, and the 16 biases."""
    parts = (layer.triples, layer.quadruples, layer.all)
    kernels = [kernel for part in parts for kernel in part.weight.detach().numpy()]
    return kernels, np.concatenate([part.bias.detach().numpy() for part in parts])


def slow_c3(x: np.ndarray, layer: nn.Module) -> np.ndarray:
    table = np.array([line.split() for line in TABLE_I.split("\n") if line]) == "X"  # (maps of S2, maps of C3)
    kernels, biases = c3_kernels(layer)
    maps = []
    for column, kernel, bias in zip(table.T, kernels, biases, strict=True):
        seen = x[column]
        maps.append(sum(slow_filter(m, k) for m, k in zip(seen, kernel, strict=True)) + bias)
    return np.stack(maps)


@pytest.fixture(scope="module")
def lenet_1998() -> nn.Module:
    torch.manual_seed(5)
    return zoo.build("lenet5_1998", 10).double()


def test_lenet_1998_layer_by_layer(lenet_1998):
    net, x = lenet_1998, images(2, 6, 14, 18)
    with torch.no_grad():
        c3, s2 = net.c3(x).numpy(), net.s2(x).numpy()
    coefficient, bias = net.s2.coefficient.detach().numpy(), net.s2.bias.detach().numpy()
    for n in range(2):
        np.testing.assert_allclose(c3[n], slow_c3(x[n].numpy(), net.c3), atol=1e-12)
        np.testing.assert_allclose(s2[n], slow_subsample(x[n].numpy(), coefficient, bias), atol=1e-12)


def test_lenet_1998_from_image_to_penalty(lenet_1998):
    net, x = lenet_1998, images(2, 1, 32, 32)
    w = {name: value.numpy() for name, value in net.state_dict().items()}
    for image, found in zip(x.numpy(), net(x).detach().numpy(), strict=True):
        kernels = zip(w["c1.weight"], w["c1.bias"], strict=True)
        c1 = squash(np.stack([slow_filter(image[0], kernel[0]) + bias for kernel, bias in kernels]))
        s2 = squash(slow_subsample(c1, w["s2.coefficient"], w["s2.bias"]))
        s4 = squash(slow_subsample(squash(slow_c3(s2, net.c3)), w["s4.coefficient"], w["s4.bias"]))
        c5 = squash((w["c5.weight"] * s4).sum((1, 2, 3)) + w["c5.bias"])
        f6 = squash(w["f6.weight"] @ c5 + w["f6.bias"])
        np.testing.assert_allclose(found, [sum((f6 - code) ** 2) for code in w["output.codes"]], atol=1e-10)


def test_rbf_output_is_fixed_and_zero_at_its_code(lenet_1998):
    codes = lenet_1998.output.codes
    penalties = lenet_1998.output(codes)
    assert torch.equal(penalties.argmin(1), torch.arange(10))
    differ = (codes[:, None] != codes).sum(2)
    assert torch.equal(penalties, 4.0 * differ)  # each differing pixel is 2 apart, squared
    assert (differ + 84 * torch.eye(10)).min() >= 9
    assert codes.abs().eq(1).all()
    assert not any(p is codes for p in lenet_1998.parameters())


def test_bitmaps_are_the_ten_digits():
    zero, two, six, nine = (lenet.class_codes(10)[digit].reshape(12, 7) for digit in (0, 2, 6, 9))
    assert ["".join(".#"[int(v > 0)] for v in row) for row in two[1:4]] == ["..###..", ".#...#.", "#.....#"]
    assert torch.equal(two[10], torch.ones(7))  # the foot of the 2
    assert torch.equal(zero, zero.flip(0, 1))  # a 0 reads the same upside down
    assert torch.equal(six, nine.flip(0, 1))  # and a 6 as a 9
    many = lenet.class_codes(1000)
    assert torch.equal(many[:10], lenet.class_codes(10))
    assert torch.equal(many, lenet.class_codes(1000))
    assert len(many.unique(dim=0)) == 1000
    assert lenet.class_codes(3).shape == (3, 84)


def test_connections_are_the_papers():
    connections = on_meta("lenet5_1998", 10).connections()
    paper = {"C1": 122_304, "S2": 5_880, "C3": 151_600, "S4": 2_000, "C5": 48_120, "F6": 10_164, "output": 840}
    assert connections == paper
    assert sum(connections.values()) == 340_908


def test_lenet_1998_starts_within_its_bounds(lenet_1998):
    bounds = {"c1": 25, "s2": 4, "c3.triples": 75, "c3.quadruples": 100, "c3.all": 150, "s4": 4, "c5": 400, "f6": 120}
    for name, fan_in in bounds.items():
        values = torch.cat([p.detach().flatten() for p in lenet_1998.get_submodule(name).parameters()])
        assert 0.8 * 2.4 / fan_in < values.abs().max() <= 2.4 / fan_in, name
        assert values.min() < 0 < values.max()


def test_modern_lenet_by_hand():
    net, x = zoo.build("lenet5", 10).double(), images(3, 1, 28, 28)
    w = list(net.parameters())
    h = F.pad(x, (2, 2, 2, 2))  # 28x28 padded by 2 is the 32x32 of 1998
    h = F.conv2d(h, w[0], w[1]).clamp(min=0).reshape(3, 6, 14, 2, 14, 2).amax((3, 5))
    h = F.conv2d(h, w[2], w[3]).clamp(min=0).reshape(3, 16, 5, 2, 5, 2).amax((3, 5)).reshape(3, 400)
    for i in (4, 6):
        h = (h @ w[i].T + w[i + 1]).clamp(min=0)
    torch.testing.assert_close(net(x), h @ w[8].T + w[9], atol=1e-12, rtol=0)


# ---- AlexNet of 2012


def test_response_norm_is_the_papers_formula():
    x = 30 * images(2, 7, 3, 4)
    expected = torch.empty_like(x)
    for i in range(7):
        near = x[:, max(0, i - 2) : min(6, i + 2) + 1]
        expected[:, i] = x[:, i] / (2 + 1e-4 * near.square().sum(1)) ** 0.75
    torch.testing.assert_close(alexnet.ResponseNorm()(x), expected, atol=1e-12, rtol=0)


def test_alexnet_2012_as_two_columns():
    """Each GPU holds half of the channels; conv2, conv4 and conv5 read their own half, conv3 and the rest both."""
    net, x = randomise(on_meta("alexnet_2012", 5), seed=6).eval(), images(2, 3, 227, 227)
    w = list(net.parameters())

    def apart(x: torch.Tensor, i: int, padding: int) -> torch.Tensor:
        halves = zip(x.chunk(2, 1), w[i].chunk(2), w[i + 1].chunk(2), strict=True)
        return torch.cat([F.relu(F.conv2d(half, k, b, padding=padding)) for half, k, b in halves], 1)

    def norm_pool(x: torch.Tensor) -> torch.Tensor:
        around = F.pad(x.square(), (0, 0, 0, 0, 2, 2)).unfold(1, 5, 1).sum(-1)
        return F.max_pool2d(x / (2 + 1e-4 * around) ** 0.75, 3, 2)

    with torch.no_grad():
        h = norm_pool(F.relu(F.conv2d(x, w[0], w[1], stride=4)))
        h = norm_pool(apart(h, 2, padding=2))
        h = F.relu(F.conv2d(h, w[4], w[5], padding=1))
        h = F.max_pool2d(apart(apart(h, 6, padding=1), 8, padding=1), 3, 2).reshape(2, 9216)
        h = F.relu(F.relu(h @ w[10].T + w[11]) @ w[12].T + w[13])
        torch.testing.assert_close(net(x), h @ w[14].T + w[15], atol=1e-8, rtol=0)


def test_alexnet_2012_starts_as_the_paper_says():
    layers = [m for m in alexnet.AlexNet2012(3).modules() if isinstance(m, (nn.Conv2d, nn.Linear))]
    assert [m.bias.unique().tolist() for m in layers] == [[0], [1], [0], [1], [1], [1], [1], [0]]
    assert all(0.0098 < float(m.weight.detach().std()) < 0.0102 for m in layers[:-1])


# ---- GoogLeNet

INCEPTIONS = {  # 1x1, 3x3 reduced and full, 5x5 reduced and full, pool projection: the rows of the paper's Table 1
    "3a": (64, 96, 128, 16, 32, 32),
    "3b": (128, 128, 192, 32, 96, 64),
    "4a": (192, 96, 208, 16, 48, 64),
    "4b": (160, 112, 224, 24, 64, 64),
    "4c": (128, 128, 256, 24, 64, 64),
    "4d": (112, 144, 288, 32, 64, 64),
    "4e": (256, 160, 320, 32, 128, 128),
    "5a": (256, 160, 320, 32, 128, 128),
    "5b": (384, 192, 384, 48, 128, 128),
}


def googlenet_by_hand(x: torch.Tensor, w: dict) -> tuple[torch.Tensor, ...]:
    """Table 1 and Figure 3 in functions: (logits, aux1, aux2), without dropout."""

    def conv(x: torch.Tensor, name: str, **options) -> torch.Tensor:
        return F.relu(F.conv2d(x, w[name + ".weight"], w[name + ".bias"], **options))

    def dense(x: torch.Tensor, name: str) -> torch.Tensor:
        return x @ w[name + ".weight"].T + w[name + ".bias"]

    def halve(x: torch.Tensor) -> torch.Tensor:  # from an even size, one column and row behind the far edge
        return F.max_pool2d(F.pad(x, (0, 1, 0, 1), value=-torch.inf), 3, 2)

    def norm(x: torch.Tensor) -> torch.Tensor:
        return x / (1 + 1e-4 / 5 * F.pad(x.square(), (0, 0, 0, 0, 2, 2)).unfold(1, 5, 1).sum(-1)) ** 0.75

    def inception(x: torch.Tensor, name: str) -> torch.Tensor:
        at = f"inception{name}."
        around = F.pad(x, (1, 1, 1, 1), value=-torch.inf).unfold(2, 3, 1).unfold(3, 3, 1).amax((-2, -1))
        out = [
            conv(x, at + "branch1"),
            conv(conv(x, at + "reduce3"), at + "branch3", padding=1),
            conv(conv(x, at + "reduce5"), at + "branch5", padding=2),
            conv(around, at + "branch_pool"),
        ]
        one, _, three, _, five, pooled = INCEPTIONS[name]
        assert [o.shape[1] for o in out] == [one, three, five, pooled]
        return torch.cat(out, 1)

    def auxiliary(x: torch.Tensor, name: str) -> torch.Tensor:
        x = conv(F.avg_pool2d(x, 5, 3), f"{name}.2").reshape(len(x), -1)
        return dense(F.relu(dense(x, f"{name}.5")), f"{name}.8")

    x = norm(halve(conv(x, "stem.0", stride=2, padding=3)))
    x = halve(norm(conv(conv(x, "stem.4"), "stem.6", padding=1)))
    x = halve(inception(inception(x, "3a"), "3b"))
    a = inception(x, "4a")
    d = inception(inception(inception(a, "4b"), "4c"), "4d")
    x = inception(inception(halve(inception(d, "4e")), "5a"), "5b")
    return dense(x.mean((2, 3)), "head.3"), auxiliary(a, "aux1"), auxiliary(d, "aux2")


def test_googlenet_against_functions():
    net, x = randomise(on_meta("googlenet", 5), seed=7), images(2, 3, 224, 256)
    assert [m.p for m in net.modules() if isinstance(m, nn.Dropout)] == [0.4, 0.7, 0.7]
    for module in net.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    with torch.no_grad():
        found, expected = net.train()(x), googlenet_by_hand(x, net.state_dict())
        for ours, theirs in zip(found, expected, strict=True):
            assert (theirs[0] - theirs[1]).abs().max() > 0.01
            torch.testing.assert_close(ours, theirs, atol=1e-9, rtol=0)
        torch.testing.assert_close(net.eval()(x[:1]), expected[0][:1], atol=1e-9, rtol=0)


def test_every_inception_branch_counts_as_table_1_says():
    net, in_channels = on_meta("googlenet", 1000), 192
    for name, (one, reduce3, three, reduce5, five, pooled) in INCEPTIONS.items():
        module = net.get_submodule("inception" + name)
        expected = {
            "branch1": (in_channels + 1) * one,
            "reduce3": (in_channels + 1) * reduce3,
            "branch3": (9 * reduce3 + 1) * three,
            "reduce5": (in_channels + 1) * reduce5,
            "branch5": (25 * reduce5 + 1) * five,
            "pool": 0,
            "branch_pool": (in_channels + 1) * pooled,
        }
        assert {branch: count.parameters(layer) for branch, layer in module.named_children()} == expected
        in_channels = one + three + five + pooled
    assert in_channels == 1024


# ---- residual networks


def bn(x: torch.Tensor, norm: nn.Module) -> torch.Tensor:
    """Batch norm in evaluation mode, written out."""
    mean, var, gamma, beta = (v[:, None, None] for v in (norm.running_mean, norm.running_var, norm.weight, norm.bias))
    return gamma * (x - mean) / (var + 1e-5).sqrt() + beta


def test_cifar_resnet_against_functions():
    net, x = randomise(on_meta("cifar_resnet20", 5), seed=8).eval(), images(2, 3, 32, 24)
    with torch.no_grad():
        h = F.relu(bn(F.conv2d(x, net.stem[0].weight, padding=1), net.stem[1]))
        for width, stage in ((16, net.stage1), (32, net.stage2), (64, net.stage3)):
            assert len(stage) == 3
            for block in stage:
                stride, extra = width // h.shape[1], width - h.shape[1]  # 2 where the channels double
                first, norm1, _, second, norm2 = block.branch
                f = F.relu(bn(F.conv2d(h, first.weight, stride=stride, padding=1), norm1))
                f = bn(F.conv2d(f, second.weight, padding=1), norm2)
                h = F.relu(f + F.pad(h[:, :, ::stride, ::stride], (0, 0, 0, 0, 0, extra)))
        assert h.shape == (2, 64, 8, 6)
        expected = h.mean((2, 3)) @ net.classifier.weight.T + net.classifier.bias
        torch.testing.assert_close(net(x), expected, atol=1e-9, rtol=0)


def test_padded_shortcut_pixel_by_pixel():
    x = images(2, 3, 5, 8)
    found = cifar_resnet.PaddedShortcut(4, 2)(x)
    assert found.shape == (2, 7, 3, 4)
    for n, c, i, j in np.ndindex(2, 7, 3, 4):
        assert found[n, c, i, j] == (x[n, c, 2 * i, 2 * j] if c < 3 else 0)
    assert torch.equal(found, F.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, 0, 4)))


def test_preact_resnet_against_functions():
    net, x = randomise(on_meta("preact_resnet18", 5), seed=9).eval(), images(2, 3, 65, 97)
    with torch.no_grad():
        h = F.relu(bn(F.conv2d(x, net.stem[0].weight, stride=2, padding=3), net.stem[1]))
        h = F.max_pool2d(h, 3, 2, 1)
        for s, stage in enumerate((net.stage1, net.stage2, net.stage3, net.stage4)):
            for b, block in enumerate(stage):
                stride = 2 if s > 0 and b == 0 else 1
                active = h if s == b == 0 else F.relu(bn(h, block.preact[0]))
                f = F.relu(bn(F.conv2d(active, block.branch[0].weight, stride=stride, padding=1), block.branch[1]))
                f = F.conv2d(f, block.branch[3].weight, padding=1)
                h = f + (h if stride == 1 else F.conv2d(active, block.projection.weight, stride=2))
        h = F.relu(bn(h, net.last[0])).mean((2, 3))
        torch.testing.assert_close(net(x), h @ net.classifier.weight.T + net.classifier.bias, atol=1e-9, rtol=0)


def test_preact_identity_path_is_clean():
    net, x = randomise(on_meta("preact_resnet18", 5), seed=10).train(), images(2, 128, 9, 14)
    for block in (m for m in net.modules() if isinstance(m, preact_resnet.PreActBlock)):
        nn.init.zeros_(block.branch[-1].weight)
    with torch.no_grad():
        assert x.min() < 0  # a ReLU on the sum would cut these
        assert torch.equal(net.stage2[1](x), x)
        h = images(2, 64, 9, 14)
        assert torch.equal(net.stage1(h), h)
        first = net.stage3[0]
        assert torch.equal(net.stage3(x), first.projection(first.preact(x)))
    x.requires_grad_()
    net.stage2[1](x).sum().backward()
    assert torch.equal(x.grad, torch.ones_like(x))  # J = I, exactly


@pytest.mark.parametrize("name", ["resnet18", "cifar_resnet56", "preact_resnet18"])
def test_residual_networks_start_as_he_says(name):
    torch.manual_seed(11)
    for module in zoo.build(name, 10).modules():
        if isinstance(module, nn.Conv2d):
            fan_out = module.out_channels * module.kernel_size[0] ** 2
            spread = float(module.weight.detach().std()) / (2 / fan_out) ** 0.5
            assert abs(spread - 1) < 4 / (2 * module.weight.numel()) ** 0.5  # four standard errors
        elif isinstance(module, nn.BatchNorm2d):
            assert module.weight.eq(1).all()
            assert module.bias.eq(0).all()


# ---- receptive fields


def along(model: nn.Module, *without: str) -> list[tuple[int, int]]:
    """Receptive field and jump after each convolution and pooling; `without` names the paths that see less."""
    layers = []
    for name, module in model.named_modules():
        if isinstance(module, (nn.Conv2d, nn.MaxPool2d)) and not any(word in name for word in without):
            kernel, stride = module.kernel_size, module.stride
            first = [v if isinstance(v, int) else v[0] for v in (kernel, stride)]
            layers.append((*first, type(module) is nn.MaxPool2d))
    grown = receptive_field([layer[:2] for layer in layers])
    return [(*field, pool) for field, (_, _, pool) in zip(grown, layers, strict=True)]


def test_receptive_fields_by_recursion():
    vgg = along(on_meta("vgg16", 5))
    assert [rf for rf, _, pool in vgg if pool] == [6, 16, 44, 100, 212]
    assert vgg[-2][:2] == (196, 16)
    for name in ("alexnet", "alexnet_2012"):
        fields = along(on_meta(name, 5))
        assert (fields[-2][0], fields[-1][:2]) == (163, (195, 32))
    widest = along(on_meta("googlenet", 5), "branch1", "branch3", "reduce3", ".pool", "branch_pool", "aux")
    assert widest[-1][:2] == (715, 32)


def seen(model: nn.Module, features: list[nn.Module], channels: int, size: int, thin: int) -> int:
    """Rows of the input with a gradient from one position of the last features, every weight positive."""
    for module in model.eval().modules():
        if isinstance(module, nn.Conv2d):
            nn.init.constant_(module.weight, 1 / module.weight[0].numel())
        for child, pool in list(module.named_children()):
            if isinstance(pool, nn.MaxPool2d):  # max would hide all but one pixel of a window
                setattr(module, child, nn.AvgPool2d(pool.kernel_size, pool.stride, pool.padding))
    x = torch.ones(1, channels, size, thin, dtype=torch.float64, requires_grad=True)
    out = nn.Sequential(*features)(x)
    out[0, 0, out.shape[2] // 2, out.shape[3] // 2].backward()
    return int((x.grad.abs().sum((0, 1, 3)) > 0).sum())


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("resnet18", [11, 43, 99, 211, 435]),
        ("resnet34", [11, 59, 179, 547, 899]),
        ("resnet50", [11, 35, 91, 267, 427]),
        ("preact_resnet18", [11, 43, 99, 211, 435]),
    ],
)
def test_receptive_fields_by_gradient(name, expected):
    model = zoo.build(name, 3).double()
    parts = [model.stem, model.stage1, model.stage2, model.stage3, model.stage4]
    for depth, rows in enumerate(expected, start=1):
        assert seen(model, parts[:depth], channels=3, size=rows + 64, thin=1) == rows


@pytest.mark.parametrize(("name", "rows"), [("cifar_resnet20", 81), ("cifar_resnet56", 249), ("cifar_resnet110", 501)])
def test_receptive_fields_of_the_small_resnets(name, rows):
    model = zoo.build(name, 3).double()
    assert (
        seen(model, [model.stem, model.stage1, model.stage2, model.stage3], channels=3, size=rows + 9, thin=1) == rows
    )


def test_receptive_field_of_lenet_1998(lenet_1998):
    net = copy.deepcopy(lenet_1998)
    for layer in (net.s2, net.s4):
        nn.init.ones_(layer.coefficient)
    layers = [net.c1, net.s2, net.c3, net.s4, net.c5]
    assert [seen(net, layers[:depth], channels=1, size=32, thin=32) for depth in range(1, 6)] == [5, 6, 14, 16, 32]
