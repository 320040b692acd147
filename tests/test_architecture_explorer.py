"""The architecture explorer's arithmetic against NumPy and torch; its counts opened and multiplied out again."""

import itertools
import json
import math
import re
import subprocess
import sys
from decimal import ROUND_HALF_UP, Context, Decimal

import numpy as np
import pytest
import torch
import traitlets
from js import call
from torch import nn

from cnnbook.figures.architecture_explorer import ArchitectureExplorer, _packed_layer
from cnnbook.zoo import diagram, timeline

FIGURE = "architecture_explorer"
STATE = ArchitectureExplorer().state()
NETWORKS, TITLES = STATE["networks"], STATE["titles"]
VIEWS = list(itertools.product(("macs", "parameters", "year"), ("single_crop", "paper"), ("top1", "top5")))
MANTISSAS = ((1, 2, 5), (1, 3), (1,))
MARGIN = {"left": 40, "right": 12, "top": 20, "bottom": 42}


def value_of(text: str) -> int:
    """What a product or sum, as the figure writes it, comes to."""
    assert re.fullmatch(r"[\d,×+÷() ]+", text), text
    found = eval(text.replace(",", "").replace("×", "*").replace("÷", "/"))
    assert found == int(found)
    return int(found)


def sides(equation: str) -> tuple[int, int]:
    """Both sides of an equation's last equals sign; a bare number is both."""
    left, _, right = equation.rpartition(" = ")
    return value_of(left or right), value_of(right)


def shown_value(network: timeline.Network, y: str, error: str) -> float | None:
    found = network.paper if y == "paper" else (network.single_crop or (None,))[-1]
    return found and getattr(found, error)


def test_every_opened_count_multiplies_out_to_what_the_model_has():
    """Every layer of every block of every network: 3 × 3 × 64 × 64 = 36,864, and the sums of the block's counts."""
    for network, packed in zip(timeline.networks(), NETWORKS, strict=True):
        views = call(FIGURE, "blockOf", [[block, TITLES] for block in packed["blocks"]])
        for block, view in zip(network.blocks, views, strict=True):
            assert [part["title"] for part in view["parts"]] == [diagram.layer_title(x) for x in block.layers]
            for layer, part in zip(block.layers, view["parts"], strict=True):
                assert (part["parameters"], part["macs"], part["skip"]) == (layer.parameters, layer.macs, layer.on_skip)
                assert not part["count"] or sides(part["count"]) == (layer.parameters,) * 2
                assert not part["work"] or sides(part["work"]) == (layer.macs,) * 2
                assert bool(part["count"]) == bool(layer.parameters)
            for what in ("parameters", "macs"):
                one, _, all_of_them = view["sums"][what].partition("; ")
                assert sides(one) == (getattr(block, what),) * 2
                if all_of_them:
                    times, product = all_of_them.split(" such blocks: ")
                    assert int(times) == block.times
                    assert sides(product) == (block.times * getattr(block, what),) * 2
        assert sum(view["times"] * view["parameters"] for view in views) == network.parameters
        assert sum(view["times"] * view["macs"] for view in views) == network.macs


def random_layers(count: int, seed: int) -> list[tuple[nn.Module, tuple[int, ...]]]:
    """Convolutions and dense layers of all kinds with the shape of their input; sides and kernels asymmetric."""
    rng, found = np.random.default_rng(seed), []
    for _ in range(count):
        groups = int(rng.choice([1, 1, 2, 3, 8]))
        inputs, outputs = groups * int(rng.integers(1, 40)), groups * int(rng.integers(1, 40))
        kernel, bias = tuple(int(side) for side in rng.integers(1, 8, 2)), bool(rng.integers(2))
        stride = tuple(int(side) for side in rng.integers(1, 4, 2))
        if rng.random() < 0.2:
            found.append((nn.Linear(inputs, outputs, bias=bias, device="meta"), (inputs,)))
        else:
            conv = nn.Conv2d(inputs, outputs, kernel, stride, groups=groups, bias=bias, device="meta")
            found.append((conv, (inputs, *(int(side) for side in rng.integers(8, 60, 2)))))
    return found


def test_random_layers_open_to_torchs_own_counts():
    cases, wanted = [], []
    for module, shape in random_layers(300, seed=1):
        output = module(torch.empty(1, *shape, device="meta"))
        layer = diagram._layer("x", module, output, sum(p.numel() for p in module.parameters()))
        cases.append([_packed_layer(layer, {diagram.layer_title(layer): 0}), ["a layer"]])
        wanted.append((layer.parameters, output.numel() * module.weight[0].numel()))
    for part, (parameters, macs) in zip(call(FIGURE, "opened", cases), wanted, strict=True):
        assert sides(part["count"]) == (parameters, parameters)
        assert sides(part["work"]) == (macs, macs)
        assert part["macs"] == macs


def test_layers_as_they_are_written():
    titles = ["batch norm", "layer scale", "ReLU", "zeros for new channels"]
    packed = [[0, 128, 1, 0], [1, 96, 0, 0], 2, [3, 0, 0, 1]]
    norm, scale, relu, zeros = call(FIGURE, "opened", [[layer, titles] for layer in packed])
    assert (norm["count"], norm["why"]) == ("64 + 64 = 128", "a factor and a shift for each channel")
    assert (scale["count"], scale["why"]) == ("96", "a factor for each channel")
    assert (relu["title"], relu["count"], relu["work"], relu["macs"], relu["skip"]) == ("ReLU", "", "", 0, False)
    assert (zeros["count"], zeros["skip"]) == ("", True)
    packed = [[0, 1296, 0, 0, 144, 144, 144, 7, 5, 3, 3], [0, 307456, 1, 0, 96, 256, 2, 27, 27, 5, 5]]
    depthwise, grouped = call(FIGURE, "opened", [[layer, titles] for layer in packed])
    assert depthwise["count"] == "3 × 3 × 1 × 144 = 1,296"
    assert grouped["count"] == "5 × 5 × (96 ÷ 2) × 256 + 256 = 307,456"


def test_points_stand_where_numpy_puts_them():
    rng = np.random.default_rng(2)
    sizes = [(int(rng.integers(290, 720)), int(rng.integers(360, 420))) for _ in range(20)]
    cases = [[NETWORKS, *view, *size] for view in VIEWS for size in sizes]
    found = call(FIGURE, "points", cases)
    ends = dict(zip(VIEWS, call(FIGURE, "axes", [[NETWORKS, x, error] for x, _, error in VIEWS]), strict=True))
    imagenet = [network for network in timeline.networks() if network.task == "ImageNet"]
    for (_, x, y, error, width, height), spots in zip(cases, found, strict=True):
        axis, scale = ends[x, y, error], np.log if x != "year" else np.asarray
        wanted = [network for network in imagenet if shown_value(network, y, error) is not None]
        assert [spot["name"] for spot in spots] == [network.name for network in wanted]
        size = "macs" if x == "parameters" else "parameters"
        most = max(getattr(network, size) for network in imagenet)
        for spot, network in zip(spots, wanted, strict=True):
            value = shown_value(network, y, error)
            assert spot["value"] == value
            left = np.interp(scale(getattr(network, x)), scale(axis["x"]), [MARGIN["left"], width - MARGIN["right"]])
            top = np.interp(value, axis["y"], [height - MARGIN["bottom"], MARGIN["top"]])
            assert (spot["x"], spot["y"]) == pytest.approx((left, top))
            assert spot["r"] == pytest.approx(max(3, 19 * math.sqrt(getattr(network, size) / most)))
            assert len(spot["older"]) == (len(network.single_crop) - 1 if y == "single_crop" else 0)


def test_axes_hold_for_both_protocols_and_leave_nothing_outside():
    for x, error in {(x, error) for x, _, error in VIEWS}:
        axis = call(FIGURE, "axes", [[NETWORKS, x, error]])[0]
        imagenet = [network for network in timeline.networks() if network.task == "ImageNet"]
        values = [getattr(e, error) for n in imagenet for e in (*n.single_crop, n.paper) if e and getattr(e, error)]
        assert axis["y"][0] <= min(values) - (axis["y"][0] > 0)
        assert max(values) < axis["y"][1] <= max(values) + 7
        assert axis["x"][0] < min(getattr(n, x) for n in imagenet)
        assert max(getattr(n, x) for n in imagenet) < axis["x"][1]


def test_along_is_linear_or_logarithmic():
    rng = np.random.default_rng(3)
    ends = [sorted(10 ** rng.uniform(0, 11, 2)) for _ in range(200)]
    values = [float(10 ** rng.uniform(0, 11)) for _ in ends]
    for log, scale in ((True, np.log10), (False, np.asarray)):
        found = call(FIGURE, "along", [[v, list(map(float, e)), log] for v, e in zip(values, ends, strict=True)])
        wanted = [(scale(v) - scale(e[0])) / (scale(e[1]) - scale(e[0])) for v, e in zip(values, ends, strict=True)]
        assert found == pytest.approx(wanted, rel=1e-9, abs=1e-12)


def test_ticks_are_round_inside_and_few():
    rng = np.random.default_rng(4)
    linear = [[float(end) for end in sorted(rng.uniform(-50, 100, 2))] for _ in range(200)]
    for (low, high), marks in zip(linear, call(FIGURE, "ticks", linear), strict=True):
        assert 2 <= len(marks) <= 9
        steps = np.diff(marks)
        assert steps == pytest.approx(steps[0])
        mantissa = steps[0] / 10 ** math.floor(math.log10(steps[0] * 1.0001))
        assert min(abs(mantissa - each) for each in (1, 2, 5)) < 1e-6
        assert np.asarray(marks) / steps[0] == pytest.approx(np.round(np.asarray(marks) / steps[0]), abs=1e-6)
        assert marks[0] - steps[0] < low - 1e-9 < marks[0] + 1e-6, "none outside, none missing"
        assert marks[-1] - 1e-6 < high + 1e-9 < marks[-1] + steps[0]
    logs = [[10**a, 10 ** (a + b)] for a, b in zip(rng.uniform(3, 8, 200), rng.uniform(1, 4, 200), strict=True)]
    for most in (5, 7):
        for (low, high), marks in zip(logs, call(FIGURE, "logTicks", [[*e, most] for e in logs]), strict=True):
            by_hand = {m: [k * 10**p for p in range(16) for k in m if low <= k * 10**p <= high] for m in MANTISSAS}
            assert marks == next((found for found in by_hand.values() if len(found) <= most), by_hand[1,])


def crosses(mark: dict, box: dict, other: dict) -> bool:
    """Whether the line from a point to its label runs through another label, looked at every half pixel."""
    if box["near"]:
        return False
    x = np.clip(mark["x"], box["left"], box["right"])
    y = np.clip(mark["y"], box["top"] + 2, box["bottom"] - 2)
    along = np.linspace(0, 1, 2 * int(np.hypot(x - mark["x"], y - mark["y"])) + 2)
    xs, ys = mark["x"] + along * (x - mark["x"]), mark["y"] + along * (y - mark["y"])
    inner = (xs > other["left"] + 2) & (xs < other["right"] - 2) & (ys > other["top"] + 2) & (ys < other["bottom"] - 2)
    return bool(inner.any())


def near(mark: dict, dot: dict) -> bool:
    """Whether the point itself lies within the dot."""
    return dot["left"] - 0.1 < mark["x"] < dot["right"] + 0.1 and dot["top"] - 0.1 < mark["y"] < dot["bottom"] + 0.1


def test_every_label_finds_a_place_of_its_own_at_every_width():
    cases = [[NETWORKS, *view, width, 400 if width < 480 else 380] for view in VIEWS for width in range(294, 721, 16)]
    spots = call(FIGURE, "points", cases)
    places = call(FIGURE, "labels", [[s, *case[-2:]] for s, case in zip(spots, cases, strict=True)])
    for case, marks, found in zip(cases, spots, places, strict=True):
        width, height = case[-2:]
        assert all(found), f"a label without a place: {case[1:]}"
        for box, mark in zip(found, marks, strict=True):
            assert box["right"] - box["left"] >= 7 * len(mark["label"])
            assert MARGIN["left"] <= box["left"] < box["right"] <= width
            assert 0 <= box["top"] < box["bottom"] <= height - MARGIN["bottom"]
        dots = [
            {"left": m["x"] - r, "right": m["x"] + r, "top": y - r, "bottom": y + r}
            for m in marks
            for y, r in [(m["y"], m["r"]), *((top, 4) for top in m["older"])]
        ]
        for mark, box in zip(marks, found, strict=True):
            others = [b for b in found if b is not box] + [d for d in dots if not near(mark, d)]
            assert not any(crosses(mark, box, other) for other in others), case[1:]
        for one, other in [*itertools.combinations(found, 2), *itertools.product(found, dots)]:
            apart = one["left"] >= other["right"] or other["left"] >= one["right"]
            assert apart or one["top"] >= other["bottom"] or other["top"] >= one["bottom"], case[1:]


def test_no_network_is_dropped_silently():
    for _, y, error in VIEWS:
        reasons = call(FIGURE, "missing", [[network, y, error] for network in NETWORKS])
        for network, reason in zip(timeline.networks(), reasons, strict=True):
            value = shown_value(network, y, error)
            assert (reason is None) == (value is not None and network.task == "ImageNet")
            assert reason is None or len(reason) > 20
    vgg = next(network for network in NETWORKS if network["name"] == "vgg16")
    assert call(FIGURE, "missing", [[vgg, "paper", "top1"]]) == ["Only a top-5 error is reported: 7.5 %."]
    mobile = next(network for network in NETWORKS if network["name"] == "mobilenet_v1")
    assert call(FIGURE, "missing", [[mobile, "single_crop", "top5"]]) == [
        "torchvision has no weights for this very network."
    ]
    lenet = call(FIGURE, "missing", [[NETWORKS[0], "paper", "top1"]])[0]
    assert lenet == "Another task: 0.95 % error on the 10,000 test digits of MNIST."


def test_short_forms():
    rng = np.random.default_rng(5)
    counts = [int(10 ** rng.uniform(0, 11.9)) for _ in range(300)]
    counts += [1, 999, 1000, 999_499, 999_500, 1_000_000, 25_557_032, 4_089_184_256, 15_470_264_320]

    def wanted(count: int) -> str:
        if count < 1000:
            return str(count)
        rounded = Context(prec=3, rounding=ROUND_HALF_UP).create_decimal(count)
        power = min(3, rounded.adjusted() // 3)
        return f"{(rounded / Decimal(1000) ** power).normalize():f} {['', 'k', 'M', 'G'][power]}"

    assert call(FIGURE, "short", [[count] for count in counts]) == [wanted(count) for count in counts]
    assert wanted(25_557_032) == "25.6 M"


def test_keys_walk_through_a_list_and_stop_at_its_ends():
    rng = np.random.default_rng(6)
    keys = ["ArrowDown", "ArrowRight", "ArrowUp", "ArrowLeft", "Home", "End", "a", "Tab"]
    counts = [int(count) for count in rng.integers(1, 19, 200)]
    cases = [[str(rng.choice(keys)), int(rng.integers(0, count)), count] for count in counts]
    for (key, now, count), found in zip(cases, call(FIGURE, "walk", cases), strict=True):
        steps = {"ArrowDown": now + 1, "ArrowRight": now + 1, "ArrowUp": now - 1, "ArrowLeft": now - 1}
        wanted = {"Home": 0, "End": count - 1}.get(key, steps.get(key))
        assert found == (None if wanted is None else int(np.clip(wanted, 0, count - 1)))


def test_the_state_is_small_and_complete():
    assert set(STATE) == {"x", "y", "error", "chosen", "block", "networks", "titles"}
    assert len(json.dumps(STATE, ensure_ascii=False)) < 60_000
    assert (STATE["x"], STATE["y"], STATE["error"], STATE["chosen"], STATE["block"]) == (
        "macs",
        "single_crop",
        "top1",
        "resnet50",
        3,
    )
    assert ArchitectureExplorer(chosen="vgg16").block == -1, "no block of VGG-16 has a skip"
    assert ArchitectureExplorer(chosen="mobilenet_v2", block=5).block == 5


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"x": "latency"}, "x"),
        ({"y": "ensemble"}, "y"),
        ({"error": "top10"}, "error"),
        ({"chosen": "resnet9"}, "chosen must be one of lenet5_1998, .*, got 'resnet9'"),
        ({"block": -2}, "block must be a whole number from -1 to 99, got -2"),
        ({"block": 1.5}, "block"),
        ({"block": True}, "block must be a whole number"),
    ],
)
def test_python_refuses_what_is_not_there(arguments, words):
    with pytest.raises(traitlets.TraitError, match=words):
        ArchitectureExplorer(**arguments)


def test_python_refuses_a_bad_change_and_keeps_its_state():
    figure = ArchitectureExplorer(x="year", y="paper", chosen="googlenet", error="top5")
    for trait, value in [("x", "size"), ("y", ""), ("error", "top2"), ("chosen", "vgg"), ("block", 100)]:
        before = getattr(figure, trait)
        with pytest.raises(traitlets.TraitError):
            setattr(figure, trait, value)
        assert getattr(figure, trait) == before


def test_repr_builds_the_same_figure():
    figure = ArchitectureExplorer(x="parameters", y="paper", chosen="mobilenet_v2", error="top5", block=2)
    assert repr(figure) == (
        "ArchitectureExplorer(x='parameters', y='paper', chosen='mobilenet_v2', error='top5', block=2)"
    )
    assert eval(repr(figure)).state() == figure.state()


def test_fallback_has_every_network_and_both_errors():
    page = ArchitectureExplorer().fallback()
    assert page.count("<tr>") == 1 + 18
    row = re.search(r'<tr><th scope="row">ResNet-50</th>(.*?)</tr>', page).group(1)
    cells = re.findall(r"<td>(.*?)</td>", row)
    assert cells[:4] == [
        "2015",
        "25,557,032",
        "4,089,184,256",
        "22.85 % top-1, 6.71 % top-5 (1 network, 10 crops, validation set)",
    ]
    assert cells[4] == (
        "23.87 % top-1, 7.138 % top-5 (torchvision V1, centre crop of 224 after resizing to 256, bilinear); "
        "19.142 % top-1, 4.566 % top-5 (torchvision V2, centre crop of 224 after resizing to 232, bilinear)"
    )
    for network in timeline.networks():
        assert f'<th scope="row">{network.label}</th><td>{network.year}</td><td>{network.parameters:,}</td>' in page


def test_importing_the_figure_waits_for_no_torch():
    code = "import sys, cnnbook.figures.architecture_explorer; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
