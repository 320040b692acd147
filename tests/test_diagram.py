"""Block diagrams and the timeline of the zoo against hand counts, torchvision's own networks and metadata."""

import math
import re

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode
from torchvision import models

from cnnbook import zoo
from cnnbook.zoo import count, timeline
from cnnbook.zoo.diagram import SKIPS, diagram, draw, layer_title, macs, parameters, title

PARAMETERS = {
    "lenet5_1998": 60_000, "lenet5": 61_706, "alexnet_2012": 60_965_224, "alexnet": 61_100_840,
    "vgg16": 138_357_544, "googlenet": 6_998_552, "resnet18": 11_689_512, "resnet34": 21_797_672,
    "resnet50": 25_557_032, "cifar_resnet20": 269_722, "cifar_resnet56": 853_018, "cifar_resnet110": 1_727_962,
    "preact_resnet18": 11_687_720, "mobilenet_v1": 4_231_976, "mobilenet_v2": 3_504_872,
    "efficientnet_b0": 5_288_548, "efficientnet_lite0": 4_652_008, "convnext_tiny": 28_589_128,
}  # fmt: skip
MACS = {
    "lenet5": 416_520, "alexnet_2012": 724_406_816, "alexnet": 714_188_480, "vgg16": 15_470_264_320,
    "resnet18": 1_814_073_344, "resnet34": 3_663_761_408, "resnet50": 4_089_184_256, "mobilenet_v1": 568_740_352,
    "mobilenet_v2": 300_774_272, "efficientnet_b0": 385_814_752, "convnext_tiny": 4_455_531_264,
}  # fmt: skip


def of(name: str) -> list:
    return list(timeline.network(name).blocks)


class Strange(nn.Module):
    """Asymmetric on purpose; one layer runs twice, one has a bias and groups, the block adds an unpadded branch."""

    def __init__(self):
        super().__init__()
        self.first = nn.Conv2d(4, 6, (3, 5), stride=(2, 3), groups=2)
        self.relu = nn.ReLU()
        self.twice = nn.Conv2d(6, 6, 1, bias=False)
        self.block = Sum()
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.flat = nn.Flatten()
        self.last = nn.Linear(4, 7)

    def forward(self, x):
        x = self.relu(self.first(x))
        x = self.block(self.twice(self.twice(x)))
        return self.last(self.flat(self.pool(x)))


class Sum(nn.Module):
    def __init__(self):
        super().__init__()
        self.long = nn.Sequential(nn.Conv2d(6, 4, 3, padding=1, stride=2), nn.BatchNorm2d(4), nn.ReLU())
        self.short = nn.Conv2d(6, 4, 1, stride=2, bias=False)
        self.scale = nn.Parameter(torch.ones(4))

    def forward(self, x):
        y = self.scale[:, None, None] * self.long(x)
        return self.long(x) + self.short(x) + 0 * y


def test_a_network_counted_by_hand():
    """(4, 15, 21) -> floor((15-3)/2)+1 = 7, floor((21-5)/3)+1 = 6 -> block stride 2: 4 x 3."""
    first, twice, again, block, pool, last = diagram(Strange(), (4, 15, 21))
    assert [title(x) for x in (first, twice, block, pool, last)] == [
        "3×5 convolution, 2 groups, stride 2",
        "1×1 convolution",
        "sum 3×3 3×3",
        "global average pooling",
        "dense",
    ]
    assert (first.input, first.output, first.parameters) == ((4, 15, 21), (6, 7, 6), 6 * 2 * 3 * 5 + 6)
    assert first.macs == 6 * 7 * 6 * 30
    assert [layer.kind for layer in first.layers] == ["Conv2d", "ReLU"]
    assert (twice.parameters, twice.macs, again.parameters, again.macs) == (36, 36 * 42, 0, 36 * 42)
    assert block.join == "projection"
    assert block.parameters == (6 * 4 * 9 + 4) + (4 + 4) + 6 * 4 + 4
    assert block.macs == 4 * 3 * (2 * 6 * 4 * 9 + 6 * 4)
    assert [layer.name for layer in block.layers if layer.on_skip] == ["short"]
    assert [(x.name, x.parameters) for x in block.layers if x.kind == "Parameter"] == [("scale", 4)]
    assert (pool.output, last.input, last.parameters, last.macs) == ((4, 1, 1), (4,), 35, 28)
    assert [layer.kind for layer in pool.layers] == ["AdaptiveAvgPool2d", "Flatten"]
    assert [x.times for x in (first, twice, again, block, pool, last)] == [1] * 6


def test_equal_neighbours_are_one_and_unequal_ones_are_not():
    def conv(stride=1):
        return nn.Conv2d(5, 5, 3, stride, padding=1)

    model = nn.Sequential(conv(), nn.ReLU(), conv(), nn.ReLU(), conv(), conv(2), conv(), conv())
    found = diagram(model, (5, 9, 12))
    assert [(block.times, block.name) for block in found] == [(2, "0"), (1, "4"), (1, "5"), (2, "6")]
    assert parameters(found) == count.parameters(model) == 6 * (5 * 5 * 9 + 5)
    assert macs(found) == 5 * 5 * 9 * (3 * 9 * 12 + 3 * 5 * 6)


@pytest.mark.parametrize("name", zoo.names())
def test_sums_are_the_whole_network(name):
    network = timeline.network(name)
    assert network.parameters == parameters(of(name)) == PARAMETERS[name]
    with torch.device("meta"):
        model = zoo.build(name, network.classes).eval()
    assert network.macs == count.macs(model, network.input)
    assert network.macs == MACS.get(name, network.macs)
    with FlopCounterMode(display=False) as flops, torch.no_grad():
        model(torch.empty(1, *network.input, device="meta"))
    assert flops.get_total_flops() == 2 * network.macs


def test_resnet50_is_3_4_6_3_bottlenecks():
    blocks = [block for block in of("resnet50") if block.kind == "Bottleneck"]
    runs = [(block.times, block.join, *block.output) for block in blocks]
    assert runs == [
        (1, "projection", 256, 56, 56), (2, "identity", 256, 56, 56), (1, "projection", 512, 28, 28),
        (3, "identity", 512, 28, 28), (1, "projection", 1024, 14, 14), (5, "identity", 1024, 14, 14),
        (1, "projection", 2048, 7, 7), (2, "identity", 2048, 7, 7),
    ]  # fmt: skip
    first = blocks[0]
    assert first.parameters == 64 * 64 + 9 * 64 * 64 + 2 * 64 * 256 + 2 * (64 + 64 + 256 + 256)
    assert first.macs == 56 * 56 * (64 * 64 + 9 * 64 * 64 + 2 * 64 * 256)
    assert [(x.name, x.channels) for x in first.layers if x.on_skip and x.channels] == [("shortcut.0", (64, 256))]
    assert title(first) == "bottleneck 1×1 3×3 1×1"
    assert blocks[1].parameters == 256 * 64 + 9 * 64 * 64 + 64 * 256 + 2 * (64 + 64 + 256)
    assert [title(block) for block in of("resnet50") if block not in blocks] == [
        "7×7 convolution, stride 2", "3×3 max pooling, stride 2", "global average pooling", "dense",
    ]  # fmt: skip


def test_mobilenet_v2_is_17_inverted_residuals_of_which_10_skip():
    blocks = [block for block in of("mobilenet_v2") if block.kind == "InvertedResidual"]
    assert sum(block.times for block in blocks) == 17
    assert sum(block.times for block in blocks if block.join == "identity") == 1 + 2 + 3 + 2 + 2
    assert {block.join for block in blocks} == {"", "identity"}
    assert all((block.join == "identity") == (block.input == block.output) for block in blocks)
    assert blocks[0].parameters == 9 * 32 + 2 * 32 + 32 * 16 + 2 * 16, "the first has no expansion"
    assert [layer_title(x) for x in blocks[1].layers if x.channels] == [
        "1×1 convolution", "3×3 depthwise convolution, stride 2", "1×1 convolution",
    ]  # fmt: skip


def test_vgg16_is_13_convolutions_and_3_dense_layers():
    blocks = of("vgg16")
    times = {role: sum(b.times for b in blocks if b.role == role) for role in ("convolution", "dense", "other")}
    assert times == {"convolution": 13, "dense": 3, "other": 6}
    assert [(b.times, b.output) for b in blocks if b.role == "convolution"] == [
        (1, (64, 224, 224)), (1, (64, 224, 224)), (1, (128, 112, 112)), (1, (128, 112, 112)), (1, (256, 56, 56)),
        (2, (256, 56, 56)), (1, (512, 28, 28)), (2, (512, 28, 28)), (3, (512, 14, 14)),
    ]  # fmt: skip
    assert [b.parameters for b in blocks if b.role == "dense"] == [102_764_544, 16_781_312, 4_097_000]


@pytest.mark.parametrize(
    ("name", "joins"),
    [
        ("googlenet", {"concatenation": 9}),
        ("resnet18", {"identity": 5, "projection": 3}),
        ("preact_resnet18", {"identity": 5, "projection": 3}),
        ("cifar_resnet56", {"identity": 25, "padding": 2}),
        ("mobilenet_v1", {}),
        ("efficientnet_b0", {"identity": 9}),
        ("efficientnet_lite0", {"identity": 9}),
        ("convnext_tiny", {"identity": 18}),
        ("lenet5_1998", {"concatenation": 1}),
        ("alexnet_2012", {}),
    ],
)
def test_how_the_ways_through_a_block_meet(name, joins):
    found: dict[str, int] = {}
    for block in of(name):
        if block.join:
            found[block.join] = found.get(block.join, 0) + block.times
    assert found == joins


def test_titles_that_need_care():
    """Squeeze-excite is no part of the branch, ConvNeXt's linear layers work on pixels, the partial C3 has groups."""
    mbconv = next(block for block in of("efficientnet_b0") if title(block) == "MBConv 1×1 5×5 1×1")
    assert [layer_title(layer) for layer in mbconv.layers if layer.channels] == [
        "1×1 convolution", "5×5 depthwise convolution, stride 2", "squeeze-excite 1×1 convolution",
        "squeeze-excite 1×1 convolution", "1×1 convolution",
    ]  # fmt: skip
    block = next(block for block in of("convnext_tiny") if block.join)
    assert [layer_title(layer) for layer in block.layers if layer.parameters] == [
        "7×7 depthwise convolution", "layer norm", "dense on each pixel", "dense on each pixel", "layer scale",
    ]  # fmt: skip
    assert block.parameters == 49 * 96 + 96 + 2 * 96 + (96 * 384 + 384) + (384 * 96 + 96) + 96
    c3 = next(block for block in of("lenet5_1998") if block.join)
    assert (c3.parameters, c3.macs) == (1_516, 100 * 25 * 60)
    assert [title(block) for block in of("alexnet_2012") if block.role == "convolution"][1] == (
        "5×5 convolution, 2 groups"
    )


@pytest.mark.parametrize("name", ["resnet50", "mobilenet_v2", "vgg16", "efficientnet_b0"])
def test_reads_torchvisions_networks_too(name):
    with torch.device("meta"):
        theirs = diagram(models.get_model(name), (3, 224, 224))
    assert (parameters(theirs), macs(theirs)) == (PARAMETERS[name], MACS[name])
    skips = [sum(b.times for b in blocks if b.join in SKIPS) for blocks in (theirs, of(name))]
    assert skips[0] == skips[1]


def test_another_input_size_changes_sizes_and_macs_only():
    with torch.device("meta"):
        wide = diagram(zoo.build("resnet18"), (3, 97, 161))
    assert parameters(wide) == PARAMETERS["resnet18"]
    assert wide[0].output == (64, 49, 81)
    assert wide[-3].output == (512, 4, 6), "97, 49, 25, 25, 13, 7, 4 and 161, 81, 41, 41, 21, 11, 6"


def test_the_model_is_left_as_it_was_even_after_an_error():
    model = Strange().train()
    model.last.eval()
    before = {key: value.clone() for key, value in model.state_dict().items()}
    diagram(model, (4, 15, 21))
    with pytest.raises(RuntimeError, match="channels"):
        diagram(model, (3, 15, 21))
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    assert model.training
    assert model.block.long[1].training
    assert not model.last.training
    assert all(not m._forward_hooks and not m._forward_pre_hooks for m in model.modules())
    assert all(parameter.grad is None for parameter in model.parameters())


def test_frozen_parameters_do_not_count():
    model = nn.Sequential(nn.Conv2d(2, 3, (1, 4)), nn.Conv2d(3, 5, 2))
    model[0].weight.requires_grad_(False)
    assert [block.parameters for block in diagram(model, (2, 6, 9))] == [3, 65]


@pytest.mark.parametrize("size", [224, (224, 224), (1, 3, 224, 224), "abcd"])
def test_a_bad_input_size_is_said_in_words(size):
    with pytest.raises(ValueError, match=r"input_size must be \(channels, height, width\) of one image"):
        diagram(nn.Conv2d(3, 4, 3), size)


def test_a_block_without_a_tensor_is_said_in_words():
    class Pair(nn.Module):
        def forward(self, pair):
            return pair[0] + pair[1]

    class Outer(nn.Module):
        def __init__(self):
            super().__init__()
            self.pair = Pair()

        def forward(self, x):
            return self.pair((x, x))

    with pytest.raises(ValueError, match="pair takes something else"):
        diagram(Outer(), (1, 4, 5))


def test_the_picture_says_what_the_diagram_says():
    blocks = of("resnet50")
    picture = draw(blocks, "ResNet-50")
    texts = re.findall(r"<text[^>]*>([^<]*)</text>", picture.svg)
    assert texts.count("5 × bottleneck 1×1 3×3 1×1") == 1
    assert texts.count("2 × bottleneck 1×1 3×3 1×1") == 2
    shown = [int(text.replace(",", "")) for text in texts if re.fullmatch(r"\d{1,3}(,\d{3})+", text)]
    assert sum(shown) == 25_557_032
    assert [text for text in texts if "×" in text][:3] == ["112×112", "7×7 convolution, stride 2", "56×56"]
    assert picture.alt == (
        "Block diagram of ResNet-50: 20 blocks, 16 with a skip connection, from 3 × 224 × 224 values to 1000, "
        "25,557,032 parameters."
    )
    assert float(re.search(r'width="([\d.]+)pt"', picture.svg).group(1)) < 4.8 * 72 + 8


def test_an_empty_diagram_is_refused():
    with pytest.raises(ValueError, match="no blocks"):
        draw([], "nothing")


# The timeline.


def test_the_timeline_has_every_network_of_the_zoo_once():
    assert [network.name for network in timeline.networks()] == zoo.names()
    with pytest.raises(ValueError, match="the zoo has no 'resnet9'"):
        timeline.network("resnet9")


def test_single_crop_errors_are_torchvisions_metadata():
    found = {network.name: network.single_crop for network in timeline.networks() if network.single_crop}
    assert set(found) == {
        "alexnet", "vgg16", "resnet18", "resnet34", "resnet50", "mobilenet_v2", "efficientnet_b0", "convnext_tiny",
    }  # fmt: skip
    for name, errors in found.items():
        default = models.get_model_weights(name).DEFAULT
        accuracy = default.meta["_metrics"]["ImageNet-1K"]
        assert errors[-1].top1 == pytest.approx(100 - accuracy["acc@1"], abs=1e-9)
        assert errors[-1].top5 == pytest.approx(100 - accuracy["acc@5"], abs=1e-9)
        assert default.meta["num_params"] == PARAMETERS[name], "the weights are of this very network"
        assert all(0 < value < 100 for error in errors for value in error[:2])
    assert [error[:2] for error in found["resnet50"]] == [(23.87, 7.138), (19.142, 4.566)]
    assert [error.protocol for error in found["resnet50"]] == [
        "torchvision V1, centre crop of 224 after resizing to 256, bilinear",
        "torchvision V2, centre crop of 224 after resizing to 232, bilinear",
    ]
    assert found["convnext_tiny"][-1].protocol.endswith("resizing to 236, bilinear")
    assert found["efficientnet_b0"][-1].protocol.endswith("resizing to 256, bicubic")


def test_torchvisions_networks_of_the_same_name_that_are_others_are_left_out():
    for name, theirs in (("googlenet", "googlenet"), ("alexnet_2012", "alexnet")):
        assert timeline.network(name).single_crop == ()
        assert models.get_model_weights(theirs).DEFAULT.meta["num_params"] != PARAMETERS[name]


def test_paper_errors_are_of_one_network_with_a_protocol():
    paper = {network.name: network.paper for network in timeline.networks() if network.paper}
    assert {name: error[:2] for name, error in paper.items()} == {
        "alexnet_2012": (40.7, 18.2), "vgg16": (None, 7.5), "googlenet": (None, 7.89), "resnet18": (27.88, None),
        "resnet34": (25.03, None), "resnet50": (22.85, 6.71), "mobilenet_v1": (29.4, None),
        "mobilenet_v2": (28.0, None), "efficientnet_b0": (22.9, 6.7), "efficientnet_lite0": (24.9, None),
        "convnext_tiny": (17.9, None),
    }  # fmt: skip
    assert all(error.protocol.startswith("1 network") for error in paper.values()), "no ensembles"


def test_another_task_has_no_error_on_imagenet():
    for network in timeline.networks():
        assert (network.task == "ImageNet") == (network.classes == 1000)
        if network.task != "ImageNet":
            assert network.paper is None
            assert network.single_crop == ()
            assert "nother task" in network.note
        assert network.paper or network.single_crop or network.note, "an absent error is explained"


def test_years_do_not_run_backwards_within_a_family():
    years = {network.name: network.year for network in timeline.networks()}
    order = ["lenet5_1998", "alexnet_2012", "vgg16", "resnet50", "preact_resnet18", "mobilenet_v1", "mobilenet_v2"]
    order += ["efficientnet_b0", "efficientnet_lite0", "convnext_tiny"]
    assert [years[name] for name in order] == [1998, 2012, 2014, 2015, 2016, 2017, 2018, 2019, 2020, 2022]
    assert math.prod(timeline.network("googlenet").input) == 150_528
