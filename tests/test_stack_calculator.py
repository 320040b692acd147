"""The stack calculator against torch: shapes, parameters, MACs, and what torch refuses, on random stacks."""

import html
import itertools
import json
import math
import re
import warnings

import numpy as np
import pytest
import torch
import torchvision
import traitlets
from js import call, errors
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from cnnbook.figures.stack_calculator import LIMITS, MOST_LAYERS, SETTINGS, START, StackCalculator, complete
from cnnbook.shapes import output_size

pytestmark = pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel lengths")

FIGURE = "stack_calculator"
PAIRED = ("kernel", "stride", "padding", "dilation")
KINDS = ["conv"] * 4 + ["max_pool", "avg_pool"] * 2 + ["global_avg_pool", "flatten", "flatten", "linear", "linear"]


def conv(out: int, kernel, **more) -> dict:
    return {"kind": "conv", "out": out, "kernel": kernel, **more}


def linear(out: int, **more) -> dict:
    return {"kind": "linear", "out": out, **more}


POOL, FLATTEN = {"kind": "max_pool", "kernel": 2}, {"kind": "flatten"}
CIFAR = [conv(64, 3, padding=1), POOL, conv(128, 3, padding=1), POOL, FLATTEN, linear(10)]
LENET = [conv(6, 5), POOL, conv(16, 5), POOL, conv(120, 5), FLATTEN, linear(84), linear(10)]
BROKEN = [conv(16, 5), POOL, conv(32, 5), POOL, FLATTEN, linear(10, in_features=800)]


def random_layer(rng: np.random.Generator, shape: tuple[int, ...]) -> dict:
    """A layer of any kind; most fit what they get, some do not. Settings are numbers, pairs or left out."""
    kind = str(rng.choice(KINDS))
    if rng.random() < 0.85 and (kind == "linear") != (len(shape) == 1):
        kind = "linear" if len(shape) == 1 else "conv"
    zeros = (0, 4) if kind == "conv" else (0, 2)
    draw = {"kernel": (1, 6), "stride": (1, 4), "padding": zeros, "dilation": (1, 4), "out": (1, 12)}
    layer = {"kind": kind}
    for key in SETTINGS[kind]:
        if key in ("out", "kernel") or rng.random() < 0.5 and key in draw:
            least, below = draw[key]
            pair = key in PAIRED and rng.random() < 0.4
            layer[key] = [int(x) for x in rng.integers(least, below, 2)] if pair else int(rng.integers(least, below))
    if kind == "conv":
        layer["groups"] = int(rng.choice([1, 2, shape[0]], p=[0.7, 0.1, 0.2]))
        layer["out"] *= int(rng.choice([1, layer["groups"]], p=[0.2, 0.8]))
        layer["bias"] = bool(rng.random() < 0.7)
        if rng.random() < 0.3:
            layer["padding"] = "same"
            layer["stride"] = int(rng.choice([1, 1, 1, 1, 2]))
    if kind == "linear":
        layer["in_features"] = [None, math.prod(shape), math.prod(shape) + 1][rng.choice(3, p=[0.6, 0.25, 0.15])]
    return layer


def torch_layer(layer: dict, shape: tuple[int, ...]) -> nn.Module:
    """The torch layer that a description means, built without any code of the figure."""
    given = {k: tuple(v) if isinstance(v, list) else v for k, v in layer.items() if k != "kind"}
    if "kernel" in given:
        given["kernel_size"] = given.pop("kernel")
    kind = layer["kind"]
    if kind == "conv":
        return nn.Conv2d(shape[0], given.pop("out"), device="meta", **given)
    if kind == "linear":
        return nn.Linear(
            given.get("in_features") or math.prod(shape), given["out"], given.get("bias", True), device="meta"
        )
    plain = {"flatten": nn.Flatten, "global_avg_pool": lambda: nn.AdaptiveAvgPool2d(1)}
    return plain[kind]() if kind in plain else {"max_pool": nn.MaxPool2d, "avg_pool": nn.AvgPool2d}[kind](**given)


def run(module: nn.Module, shape: tuple[int, ...]) -> tuple[tuple[int, ...], int, int]:
    with FlopCounterMode(display=False) as flops:
        output = tuple(module(torch.empty(1, *shape, device="meta")).shape[1:])
    return output, sum(p.numel() for p in module.parameters()), flops.get_total_flops() // 2


def stricter(layer: dict, shape: tuple[int, ...]) -> bool:
    """What torch computes and the figure refuses: a linear layer along the width, a global pool over a vector."""
    return (layer["kind"] == "linear") == (len(shape) == 3) and layer["kind"] in ("linear", "global_avg_pool")


def torch_row(layer: dict, shape: tuple[int, ...]) -> tuple | None:
    """(shape, parameters, MACs) of a layer, or None where torch raises."""
    if stricter(layer, shape):
        return None
    try:
        return run(torch_layer(layer, shape), shape)
    except (RuntimeError, ValueError, IndexError):
        return None


def random_stacks(count: int, seed: int) -> list[tuple[list, list[dict], list]]:
    """(input, layers, torch's rows); rows end with None at the first layer that torch refuses, layers may go on."""
    rng = np.random.default_rng(seed)
    stacks = []
    for _ in range(count):
        shape = tuple(int(x) for x in (rng.integers(1, 9), *rng.integers(3, 40, 2)))
        start, layers, rows = list(shape), [], []
        for _ in range(rng.integers(1, 8)):
            layers.append(random_layer(rng, shape))
            if None not in rows:
                rows.append(torch_row(layers[-1], shape))
                shape = rows[-1][0] if rows[-1] else shape
        stacks.append((start, layers, rows))
    return stacks


with warnings.catch_warnings():
    warnings.filterwarnings("ignore", "Using padding='same' with even kernel lengths")  # the point of some cases
    STACKS = random_stacks(400, seed=1)


def found_rows(trace: list[dict]) -> list:
    return [
        (tuple(row["output"]), row["params"], row["macs"]) if "output" in row else None
        for row in trace
        if "waiting" not in row
    ]


@pytest.fixture(scope="module")
def traces() -> list[list[dict]]:
    return call(FIGURE, "trace", [[start, layers] for start, layers, _ in STACKS])


def test_stacks_are_torchs(traces):
    """Shape, parameters and MACs of every row; an error exactly where torch raises; rows below it wait."""
    for (start, layers, want), trace in zip(STACKS, traces, strict=True):
        assert found_rows(trace) == want, (start, layers)
        assert len(trace) == len(layers)
        assert all(row == {"waiting": True} for row in trace[len(want) :])
    refused = sum(None in rows for _, _, rows in STACKS)
    assert 80 < refused < 320, "both kinds of stacks are among the cases"
    lengths = [len(rows) for _, _, rows in STACKS if None not in rows]
    assert sum(length > 2 for length in lengths) > 50


def test_the_cases_cover_what_must_be_covered():
    fitting = [row for _, layers, rows in STACKS for row in zip(layers, rows, strict=False) if row[1]]
    convs = [layer for layer, _ in fitting if layer["kind"] == "conv"]
    for key in PAIRED:
        assert sum(isinstance(layer.get(key), list) and layer[key][0] != layer[key][1] for layer in convs) > 10, key
    assert sum(layer.get("padding") == "same" for layer in convs) > 30
    assert sum(layer["groups"] > 1 for layer in convs) > 20
    assert {layer["kind"] for layer, _ in fitting} == set(SETTINGS)
    assert {rows[-1] is None and layers[len(rows) - 1]["kind"] for _, layers, rows in STACKS} >= {
        "conv", "max_pool", "avg_pool", "linear", "global_avg_pool"
    }  # fmt: skip


def test_running_totals_add_up(traces):
    for trace in traces:
        rows = [row for row in trace if "output" in row]
        for key, total in (("params", "totalParams"), ("macs", "totalMacs")):
            assert [row[total] for row in rows] == list(itertools.accumulate(row[key] for row in rows))
        for row, after in itertools.pairwise(trace):
            if "output" in row and "waiting" not in after:
                assert after["input"] == row["output"]


def test_single_layers_are_the_rows_of_the_stack(traces):
    rows = [
        (row, layer)
        for (_, layers, _), trace in zip(STACKS, traces, strict=True)
        for row, layer in zip(trace, layers, strict=True)
    ]
    fitting = [(row, layer) for row, layer in rows if "output" in row]
    for function, key in (("layerOutput", "output"), ("layerParams", "params"), ("layerMacs", "macs")):
        assert call(FIGURE, function, [[row["input"], layer] for row, layer in fitting]) == [
            row[key] for row, _ in fitting
        ]
    refused = [(row, layer) for row, layer in rows if "error" in row]
    assert errors(FIGURE, "layerOutput", [[row["input"], layer] for row, layer in refused]) == [
        row["error"] for row, _ in refused
    ]


def test_python_says_the_same_to_the_word(traces):
    for (start, layers, _), trace in zip(STACKS, traces, strict=True):
        rows = StackCalculator(start, layers).rows()
        shown = [str(row) if isinstance(row, ValueError) else row for row in rows]
        want = [
            row.get("error") or (tuple(row["output"]), row["params"], row["macs"])
            for row in trace
            if "waiting" not in row
        ]
        assert shown == want


def test_the_code_shown_builds_the_layer_in_torch(traces):
    """Constructor calls of single rows, refused ones included, and the whole stack as nn.Sequential."""
    cases = [
        [row["input"], layer]
        for (_, layers, _), trace in zip(STACKS, traces, strict=True)
        for row, layer in zip(trace, layers, strict=True)
        if "output" in row
    ]
    for (shape, layer), code in zip(cases, call(FIGURE, "torchCode", cases), strict=True):
        assert repr(eval(code)) == repr(torch_layer(layer, shape)), code
    whole = [[start, layers] for start, layers, rows in STACKS if None not in rows]
    for (start, layers), code in zip(whole, call(FIGURE, "sequentialCode", whole), strict=True):
        names = {"nn": nn}
        with torch.device("meta"):
            exec(code, names)
        parts = StackCalculator(start, layers).rows()
        assert sum(p.numel() for p in names["net"].parameters()) == sum(part[1] for part in parts)
        assert names["net"](torch.empty(1, *start, device="meta")).shape[1:] == parts[-1][0]


def test_one_axis_is_the_librarys():
    rng = np.random.default_rng(2)
    cases = [[int(rng.integers(1, 40)), *(int(rng.integers(least, 7)) for least in (1, 1, 0, 1))] for _ in range(400)]
    fits = [case for case in cases if case[4] * (case[1] - 1) + 1 <= case[0] + 2 * case[3]]
    assert 200 < len(fits) < 400
    sizes = call(FIGURE, "outputSize", fits)
    assert sizes == [output_size(*case) for case in fits]
    bad = [case for case in cases if case not in fits]
    for (size, kernel, _, padding, dilation), words in zip(bad, errors(FIGURE, "outputSize", bad), strict=True):
        assert f"but the padded input has only {size + 2 * padding} ({size} + 2·{padding})." in words
        assert str(dilation * (kernel - 1) + 1) in words


def test_same_padding_is_torchs():
    rng = np.random.default_rng(3)
    cases = [[int(rng.integers(1, 9)), "same", int(rng.integers(1, 5))] for _ in range(200)]
    for (kernel, _, dilation), sides in zip(cases, call(FIGURE, "paddingSides", cases), strict=True):
        layer = nn.Conv1d(1, 1, kernel, padding="same", dilation=dilation, device="meta")
        assert sides == list(layer._reversed_padding_repeated_twice)


def test_where_the_zeros_of_same_go_is_said():
    """As torch pads: its list is left, right, above, below."""
    rng = np.random.default_rng(7)
    cases = [
        [conv(1, rng.integers(1, 7, 2).tolist(), padding="same", dilation=int(rng.integers(1, 4)))] for _ in range(200)
    ]
    cases += [[conv(1, 4, padding="same")]]
    for (layer,), said in zip(cases, call(FIGURE, "sameText", cases), strict=True):
        left, right, above, below = torch_layer(layer, (1,))._reversed_padding_repeated_twice
        apart = f"{above} above, {below} below, {left} left, {right} right"
        assert said == (
            apart if (left, right) != (above, below) else f"{above} above and left, {below} below and right"
        )


def test_same_keeps_the_size_of_any_input():
    rng = np.random.default_rng(4)
    cases = [
        [int(rng.integers(1, 30)), int(rng.integers(1, 9)), 1, "same", int(rng.integers(1, 5))] for _ in range(200)
    ]
    assert call(FIGURE, "outputSize", cases) == [case[0] for case in cases]
    assert call(FIGURE, "leftover", cases) == [0] * len(cases)
    assert "stride 1 only, not with 2" in errors(FIGURE, "outputSize", [[9, 3, 2, "same"]])[0]


def test_leftover_is_what_no_window_reaches():
    """The last pixel of the padded line whose change changes torch's output tells how many are left over."""
    rng = np.random.default_rng(5)
    cases = []
    while len(cases) < 250:
        ends = zip((1, 1, 1, 0, 1), (30, 6, 6, 4, 4), strict=True)
        size, kernel, stride, padding, dilation = (int(rng.integers(*each)) for each in ends)
        if dilation * (kernel - 1) + 1 <= size + 2 * padding:
            cases.append([size, kernel, stride, padding, dilation])
    for (size, kernel, stride, padding, dilation), left in zip(cases, call(FIGURE, "leftover", cases), strict=True):
        line = torch.ones(1, 1, size + 2 * padding, requires_grad=True)
        nn.functional.conv1d(line, torch.ones(1, 1, kernel), stride=stride, dilation=dilation).sum().backward()
        assert left == size + 2 * padding - 1 - int(line.grad[0, 0].nonzero().max())


def test_leftover_is_said():
    layer = {"kind": "max_pool", "kernel": 3, "stride": 2}
    cases = [
        [[64, 112, 112], layer],
        [[64, 112, 113], layer],
        [[64, 113, 113], layer],
        [[3, 224, 224], {"kind": "conv", "out": 8, "kernel": 7, "stride": 2, "padding": 3}],
        [[3, 12, 9], {"kind": "conv", "out": 8, "kernel": 3, "stride": 5, "padding": 1}],
    ]
    assert call(FIGURE, "leftoverText", cases) == [
        "1 row and 1 column of the image",
        "1 row of the image",
        "",
        "1 row and 1 column of padding",
        "1 row of padding and 3 columns (2 of the image)",
    ]


def value(text: str) -> int:
    """A side of a shown equation, as a number."""
    text = re.sub(r"⌊([^⌋]*) / (\d+)⌋", r"((\1)//\2)", text.replace(",", ""))
    return eval(text.replace("×", "*").replace("·", "*").replace("−", "-"))


def test_every_opened_formula_adds_up(traces):
    cases = [
        [row, layer]
        for (_, layers, _), trace in zip(STACKS, traces, strict=True)
        for row, layer in zip(trace, layers, strict=True)
        if "output" in row
    ]
    checked = 0
    for (row, layer), lines in zip(cases, call(FIGURE, "explain", cases), strict=True):
        for _, text in lines:
            if " = " in text and " and " not in text:
                assert len({value(part) for part in text.split(" = ")}) == 1, text
                checked += 1
        ends = {what: text.split(" = ")[-1].split(", ")[0].replace(",", "") for what, text in lines}
        texts = " ".join(text for _, text in lines).replace(",", "")
        assert ends["Parameters so far"] == str(row["totalParams"])
        assert ends["MACs so far"] == str(row["totalMacs"])
        assert re.search(rf"\b{row['params']}\b", texts)
        assert re.search(rf"\b{row['macs']}\b", texts)
        if "kernel" in layer:
            sides = [int(end) for what, end in ends.items() if what.startswith("Output ")]
            assert sides in ([row["output"][1]], row["output"][1:])
            assert len(sides) == 2 or row["output"][1] == row["output"][2]
    assert checked > 1000


def test_formulas_in_full():
    """Two rows by hand: AlexNet's first layer, and a grouped even kernel with "same"."""
    rows = call(
        FIGURE,
        "trace",
        [
            [[3, 224, 224], [{"kind": "conv", "out": 64, "kernel": 11, "stride": 4, "padding": 2}]],
            [[8, 6, 9], [{"kind": "conv", "out": 12, "kernel": 4, "padding": "same", "groups": 4, "bias": False}]],
        ],
    )
    layers = [
        {"kind": "conv", "out": 64, "kernel": 11, "stride": 4, "padding": 2},
        {"kind": "conv", "out": 12, "kernel": 4, "padding": "same", "groups": 4, "bias": False},
    ]
    alexnet, grouped = call(FIGURE, "explain", [[row[0], layer] for row, layer in zip(rows, layers, strict=True)])
    assert alexnet == [
        ["Channels, one a filter", "64"],
        ["Rule for a side", "⌊(size + 2·padding − dilation·(kernel − 1) − 1) / stride⌋ + 1"],
        ["Output height and width", "⌊(224 + 2·2 − 1·(11 − 1) − 1) / 4⌋ + 1 = ⌊217 / 4⌋ + 1 = 55"],
        ["Left over at the bottom and right", "1 row and 1 column of padding"],
        ["Parameters: filters × channels × kernel + biases", "64 × 3 × 11 × 11 + 64 = 23,232 + 64 = 23,296"],
        ["MACs: outputs × products in each", "(64 × 55 × 55) × (3 × 11 × 11) = 193,600 × 363 = 70,276,800"],
        ["Parameters so far", "0 + 23,296 = 23,296"],
        ["MACs so far", "0 + 70,276,800 = 70,276,800"],
    ]
    assert grouped[2:6] == [
        ["Zeros that “same” adds: 1 above and left, 2 below and right", "1·(4 − 1) = 3"],
        ["Output height", "⌊(6 + 3 − 1·(4 − 1) − 1) / 1⌋ + 1 = ⌊5 / 1⌋ + 1 = 6"],
        ["Output width", "⌊(9 + 3 − 1·(4 − 1) − 1) / 1⌋ + 1 = ⌊8 / 1⌋ + 1 = 9"],
        ["Parameters: filters × channels a group × kernel", "12 × (8 / 4) × 4 × 4 = 384"],
    ]


def totals(start, layers) -> tuple[int, int]:
    last = call(FIGURE, "trace", [[start, layers]])[0][-1]
    return last["totalParams"], last["totalMacs"]


def test_known_nets():
    assert totals([3, 32, 32], CIFAR)[0] == 1_792 + 73_856 + 81_930 == 157_578
    assert totals([1, 32, 32], LENET) == (61_706, 416_520)
    vgg = [
        layer
        for out, times in ((64, 2), (128, 2), (256, 3))
        for layer in [{"kind": "conv", "out": out, "kernel": 3, "padding": 1}] * times
        + [{"kind": "max_pool", "kernel": 2}]
    ]
    with torch.device("meta"):
        features = torchvision.models.vgg16(weights=None).features[:17]
    assert totals([3, 224, 224], vgg) == run(features, (3, 224, 224))[1:]
    names = call(
        FIGURE,
        "presetName",
        [
            [[3, 32, 32], CIFAR],
            [[1, 32, 32], LENET],
            [[3, 224, 224], vgg],
            [[1, 28, 28], BROKEN],
            [[3, 224, 224], list(START)],
            [[3, 32, 33], CIFAR],
            [[3, 32, 32], []],
        ],
    )
    assert names == [
        "The CIFAR net of this book",
        "LeNet-5 (modern copy)",
        "VGG-16, first blocks",
        "BrokenCNN",
        "A 224 photo, three ways to shrink",
        "own",
        "own",
    ]


def test_broken_cnn_says_what_is_broken_and_is_mended():
    trace = call(FIGURE, "trace", [[[1, 28, 28], BROKEN]])[0]
    assert trace[5]["error"] == "The layer gets 512 values, it was built for 800."
    net = nn.Sequential(
        nn.Conv2d(1, 16, 5), nn.MaxPool2d(2), nn.Conv2d(16, 32, 5), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(800, 10)
    )
    with pytest.raises(RuntimeError, match=r"1x512 and 800x10"):
        net(torch.zeros(1, 1, 28, 28))
    assert totals([1, 28, 28], [*BROKEN[:-1], {"kind": "linear", "out": 10, "in_features": 512}])[0] == 18_378


MISFITS = [
    ([3, 4, 9], conv(4, 5), "The kernel has 5 rows, but the padded input has only 4 (4 + 2·0)."),
    (
        [3, 9, 2],
        {"kind": "avg_pool", "kernel": 3},
        "The kernel has 3 columns, but the padded input has only 2 (2 + 2·0).",
    ),
    (
        [3, 9, 6],
        {"kind": "max_pool", "kernel": 3, "dilation": 4, "padding": 1},
        "A kernel of 3 with dilation 4 spans 9 columns, but the padded input has only 8 (6 + 2·1).",
    ),
    ([3, 9, 9], conv(4, 3, groups=2), "2 groups do not divide the 3 input channels."),
    ([4, 9, 9], conv(3, 3, groups=2), "2 groups do not divide the 3 output channels."),
    (
        [3, 9, 9],
        conv(4, 3, padding="same", stride=[1, 2]),
        "“same” padding works with stride 1 only, not with 2. PyTorch refuses it too.",
    ),
    (
        [3, 9, 9],
        {"kind": "max_pool", "kernel": 3, "padding": 2},
        "The padding of a pool is at most half its kernel: 1 for a kernel of 3, not 2.",
    ),
    ([3, 9, 9], linear(4), "A linear layer takes a vector, but it gets 3 × 9 × 9. Put a flatten above it."),
    (
        [243],
        conv(4, 3),
        "Convolution needs channels × height × width, but it gets a vector of 243 values. Move it above the flatten.",
    ),
    ([1500], linear(4, in_features=2000), "The layer gets 1,500 values, it was built for 2,000."),
]


@pytest.mark.parametrize(("shape", "layer", "words"), MISFITS)
def test_what_does_not_fit_is_said_in_words(shape, layer, words):
    assert errors(FIGURE, "layerOutput", [[shape, layer]]) == [words]
    with pytest.raises((RuntimeError, ValueError)):
        run(torch_layer(layer, tuple(shape)), tuple(shape))


def test_torch_allows_two_things_that_are_refused_here():
    assert run(nn.Linear(9, 4, device="meta"), (3, 5, 9))[0] == (3, 5, 4)
    assert run(nn.AdaptiveAvgPool2d(1), (12,))[0] == (1,)
    pool = {"kind": "global_avg_pool"}
    assert len(errors(FIGURE, "layerOutput", [[[3, 5, 9], linear(4, in_features=9)], [[12], pool]])) == 2


def test_counts_too_large_to_be_exact_are_refused():
    """A count within the limits may pass 2**53, where a JavaScript number is no longer exact: said, never rounded."""
    wide = conv(100_000, 3, padding=1)
    fits, too_many = 100_000**2 * 9 * 300 * 333, 100_000**2 * 9 * 300 * 334
    assert fits < 2**53 < too_many
    at_the_end, past_it = (call(FIGURE, "trace", [[[100_000, 300, width], [wide]]])[0][0] for width in (333, 334))
    assert at_the_end["macs"] == fits
    assert past_it["error"] == "The counts pass 9,007,199,254,740,991, up to which this calculator is exact."
    total = [call(FIGURE, "trace", [[[100_000, 200, 200], [wide] * 3]])[0][-1]["error"]]
    assert total == [past_it["error"]], "each layer fits, their sum does not"
    assert [str(row) for row in StackCalculator((100_000, 300, 334), [wide]).rows()] == total


def test_a_layer_is_completed_alike_in_both_languages():
    layers = [layer for _, stack, _ in STACKS for layer in stack]
    for layer, full in zip(layers, call(FIGURE, "complete", [[layer] for layer in layers]), strict=True):
        want = complete(layer)
        assert list(full) == list(want)
        assert all(both(full[key]) == both(want[key]) for key in want)


def both(setting):
    return [setting, setting] if isinstance(setting, int) else setting


def test_rows_move_are_copied_and_removed_with_what_is_open():
    rng = np.random.default_rng(6)
    for function in ("move", "insert", "remove"):
        cases, want = [], []
        for _ in range(200):
            count = int(rng.integers(1, 9))
            names = [f"layer {place}" for place in range(count)]
            opened = [place for place in range(count) if rng.random() < 0.4]
            marked = [(name, place in opened) for place, name in enumerate(names)]
            at = int(rng.integers(0, count + (function == "insert")))
            extra = {"move": [int(rng.choice([-1, 1]))], "insert": ["new"], "remove": []}[function]
            cases.append([{"layers": names, "opened": opened}, at, *extra])
            if function == "insert":
                marked.insert(at, ("new", False))
            elif function == "remove":
                del marked[at]
            elif 0 <= at + extra[0] < count:
                marked.insert(at + extra[0], marked.pop(at))
            want.append(
                {"layers": [name for name, _ in marked], "opened": [i for i, (_, on) in enumerate(marked) if on]}
            )
        assert call(FIGURE, function, cases) == want


def test_what_a_reader_types():
    cases = {
        ("3", "kernel", "conv"): 3, (" 7 ", "kernel", "max_pool"): 7, ("3x5", "kernel", "conv"): [3, 5],
        ("3 × 5", "kernel", "conv"): [3, 5], ("3,5", "kernel", "conv"): [3, 5], ("4x4", "stride", "conv"): 4,
        ("1,000", "out", "conv"): 1000, ("Same", "padding", "conv"): "same", ("0", "padding", "conv"): 0,
        ("", "in_features", "linear"): None, ("auto", "in_features", "linear"): None,
        ("512", "in_features", "linear"): 512,
    }  # fmt: skip
    assert call(FIGURE, "parseSetting", [list(case) for case in cases]) == list(cases.values())
    wrong = [
        ("", "kernel", "conv"), ("0", "kernel", "conv"), ("100", "kernel", "conv"), ("-1", "padding", "conv"),
        ("2.5", "stride", "conv"), ("same", "padding", "max_pool"), ("same", "kernel", "conv"),
        ("3x", "kernel", "conv"),
        ("3x0", "kernel", "conv"), ("3x5", "out", "conv"), ("1e3", "out", "conv"), ("x", "out", "linear"),
        ("0x5", "out", "conv"),
    ]  # fmt: skip
    replies = call(FIGURE, "parseSetting", [list(case) for case in wrong])
    assert replies == [None] * len(wrong)
    kinds = {key: "linear" if key == "in_features" else "conv" for key in LIMITS}
    ends = [[str(end), key, kinds[key]] for key, (a, b) in LIMITS.items() for end in (a, b, a - 1, b + 1)]
    assert call(FIGURE, "parseSetting", ends) == [end for a, b in LIMITS.values() for end in (a, b, None, None)]
    steps = [step for key, (a, b) in LIMITS.items() for step in ([a, key, -1], [b, key, 1], [a, key, 1])]
    assert call(FIGURE, "nudge", steps) == [end for a, b in LIMITS.values() for end in (a, b, a + 1)]
    texts = call(FIGURE, "settingText", [[3], [[3, 5]], ["same"], [None]])
    assert texts == ["3", "3×5", "same", ""]
    assert call(FIGURE, "nudge", [[[3, 5], "kernel", 1], ["same", "padding", 1], [None, "in_features", 1]]) == [
        [4, 6],
        "same",
        None,
    ]


def test_another_kind_keeps_what_both_have():
    cases = [
        [{"kind": "max_pool", "kernel": 3, "stride": 2, "padding": 1, "dilation": 2}, "avg_pool"],
        [{"kind": "avg_pool", "kernel": [3, 2], "stride": 1, "padding": 0}, "max_pool"],
        [{"kind": "conv", "out": 24, "kernel": 5, "padding": "same"}, "max_pool"],
        [{"kind": "conv", "out": 24, "kernel": 5}, "linear"],
        [{"kind": "flatten"}, "conv"],
    ]
    assert call(FIGURE, "changeKind", cases) == [
        {"kind": "avg_pool", "kernel": 3, "stride": 2, "padding": 1},
        {"kind": "max_pool", "kernel": [3, 2], "stride": 1, "padding": 0, "dilation": 1},
        {"kind": "max_pool", "kernel": 2, "stride": 2, "padding": 0, "dilation": 1},
        {"kind": "linear", "out": 24, "in_features": None, "bias": True},
        {"kind": "conv", "out": 64, "kernel": 3, "stride": 1, "padding": 1, "dilation": 1, "groups": 1, "bias": True},
    ]


BAD_LAYERS = [
    [{"kind": "dense", "out": 3}],
    [{"kind": "toString"}],
    [{"kind": "conv", "out": 3}],
    [{"kind": "conv", "kernel": 3}],
    [{"kind": "conv", "out": 0, "kernel": 3}],
    [{"kind": "conv", "out": 3, "kernel": 2.5}],
    [{"kind": "conv", "out": 3, "kernel": "3"}],
    [{"kind": "conv", "out": 3, "kernel": 3, "bias": 1}],
    [{"kind": "conv", "out": 3, "kernel": [3, 3, 3]}],
    [{"kind": "max_pool", "kernel": 3, "padding": "same"}],
    [{"kind": "linear", "out": 10, "in_features": 0}],
    [{"kind": "linear", "out": [1, 2]}],
    [3],
    [None],
    [{"kind": "flatten"}] * (MOST_LAYERS + 1),
]


@pytest.mark.parametrize("layers", BAD_LAYERS)
def test_what_is_no_stack_is_refused_in_both_languages(layers):
    assert call(FIGURE, "fault", [[[3, 8, 8], layers]])[0].endswith(".")
    with pytest.raises(traitlets.TraitError):
        StackCalculator((3, 8, 8), layers)


@pytest.mark.parametrize(
    "size", [[3, 8], [3, 8, 8, 8], [0, 8, 8], [3, 8, 10_001], [3, 8.5, 8], [3, "8", 8], "abc", None, 3]
)
def test_what_is_no_input_is_refused_in_both_languages(size):
    assert "three whole numbers" in call(FIGURE, "fault", [[size, []]])[0]
    with pytest.raises(traitlets.TraitError, match="input"):
        StackCalculator(size, [])


def test_good_states_have_no_fault():
    assert call(FIGURE, "fault", [[start, layers] for start, layers, _ in STACKS]) == [None] * len(STACKS)
    assert call(FIGURE, "fault", [[[1, 1, 1], []]]) == [None]


@pytest.mark.parametrize(
    ("layer", "words"),
    [
        ({"kind": "dense"}, "layer 2 must be a dict with a 'kind' of conv, max_pool"),
        ({"kind": "conv", "out": 8}, r"layer 2 \(conv\) needs 'kernel'"),
        ({"kind": "flatten", "out": 8}, r"layer 2 \(flatten\) has no setting 'out'"),
        (
            {"kind": "max_pool", "kernel": 2, "padding": "same"},
            "padding of layer 2 must be a whole number from 0 to 99",
        ),
        ({"kind": "linear", "out": True}, "out of layer 2 must be a whole number from 1 to 100,000, got True"),
        ({"kind": "conv", "out": 8, "kernel": (3, 0)}, "kernel of layer 2 must be .* or a pair of them, got 0"),
        ({"kind": "conv", "out": 8, "kernel": 3, "bias": "no"}, "bias of layer 2 must be True or False"),
    ],
)
def test_python_says_what_is_wrong(layer, words):
    with pytest.raises(traitlets.TraitError, match=words):
        StackCalculator(layers=[{"kind": "flatten"}, layer])


def test_python_refuses_a_bad_change_and_keeps_its_state():
    figure = StackCalculator()
    for trait, bad in [
        ("input", [3, 0, 1]),
        ("layers", [{"kind": "conv"}]),
        ("opened", [MOST_LAYERS]),
        ("opened", [-1]),
    ]:
        before = getattr(figure, trait)
        with pytest.raises(traitlets.TraitError):
            setattr(figure, trait, bad)
        assert getattr(figure, trait) == before


def test_state_is_plain_and_repr_is_stable():
    figure = StackCalculator((3, 9, np.int64(7)), [{"kind": "conv", "out": 4, "kernel": (3, 5), "stride": (2, 2)}])
    conv = {
        "kind": "conv",
        "out": 4,
        "kernel": [3, 5],
        "stride": 2,
        "padding": 0,
        "dilation": 1,
        "groups": 1,
        "bias": True,
    }
    assert figure.state() == {"input": [3, 9, 7], "layers": [conv], "opened": [0], "code": False}
    assert json.loads(json.dumps(figure.state())) == figure.state()
    assert repr(figure) == "StackCalculator(input=(3, 9, 7), 1 layer: conv)"
    figure.layers = [*figure.layers, {"kind": "flatten"}]
    assert repr(figure) == "StackCalculator(input=(3, 9, 7), 2 layers: conv, flatten)"
    assert repr(StackCalculator(layers=[])) == "StackCalculator(input=(3, 224, 224), 0 layers: none)"
    assert figure.layers[0] == conv


def text(page: str) -> str:
    return " ".join(html.unescape(re.sub(r"<[^>]*>", " ", page)).split())


def test_fallback_says_what_the_figure_says():
    page = text(StackCalculator().fallback())
    assert "1. Convolution: 64 out, kernel 7, stride 2, padding 3 64 × 112 × 112 9,472 118,013,952" in page
    assert "2. Max pool: kernel 3, stride 2 64 × 55 × 55 0 0" in page
    assert "3. Convolution: 128 out, kernel 3, padding same 128 × 55 × 55 73,856 223,027,200" in page
    assert "6. Linear: 1,000 out 1,000 values 129,000 128,000 Total 212,328 341,169,152" in page
    last = call(FIGURE, "trace", [[[3, 224, 224], list(START)]])[0][-1]
    assert (last["totalParams"], last["totalMacs"]) == (212_328, 341_169_152)


def test_fallback_of_a_stack_that_does_not_fit():
    page = text(StackCalculator((1, 28, 28), [*BROKEN, {"kind": "linear", "out": 2}]).fallback())
    assert "6. Linear: 10 out, built for 800 The layer gets 512 values, it was built for 800. 7. Linear" in page
    assert "7. Linear: 2 out needs the row above Total 13,248 " in page  # 416 + 12,832
    assert "Total 0 0" in text(StackCalculator(layers=[]).fallback())
