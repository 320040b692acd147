"""The cost explorer's arithmetic against torch: layers on the meta device, its flop counter, and gradients."""

import itertools
import math
import re
from decimal import ROUND_HALF_UP, Context, Decimal

import numpy as np
import pytest
import torch
import traitlets
from js import call, errors
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from cnnbook.figures.cost_explorer import KINDS, LIMITS, QUANTITIES, CostExplorer
from cnnbook.shapes import conv_params

FIGURE = "cost_explorer"
START = dict(inChannels=256, outChannels=256, kernel=3, side=14, groups=32, middle=64)


def random_sizes(count: int, seed: int) -> list[dict]:
    """Sizes over the whole range, channels about even on a log scale, groups always a divisor of both."""
    rng = np.random.default_rng(seed)
    drawn = [START, dict(inChannels=2048, outChannels=2048, kernel=7, side=512, groups=1, middle=2048)]
    while len(drawn) < count:
        wide, out, middle = (int(2 ** rng.uniform(0, 8)) * int(rng.integers(1, 9)) for _ in range(3))
        common = math.gcd(wide, out)
        groups = rng.choice([each for each in range(1, common + 1) if common % each == 0])
        kernel, side = rng.choice([1, 3, 5, 7]), rng.integers(1, 513)
        sizes = (wide, out, int(kernel), int(side), int(groups), middle)
        drawn.append(dict(zip(START, sizes, strict=True)))
    return drawn


def torch_layers(kind: str, sizes: dict, device: str = "meta", conv=nn.Conv2d) -> list[nn.Module]:
    wide, out, kernel, _, groups, middle = sizes.values()
    same = {"bias": False, "padding": "same", "device": device}
    return {
        "standard": lambda: [conv(wide, out, kernel, **same)],
        "bottleneck": lambda: [
            conv(wide, middle, 1, **same),
            conv(middle, middle, kernel, **same),
            conv(middle, out, 1, **same),
        ],
        "grouped": lambda: [conv(wide, out, kernel, groups=groups, **same)],
        "separable": lambda: [conv(wide, wide, kernel, groups=wide, **same), conv(wide, out, 1, **same)],
    }[kind]()


def torch_costs(kind: str, sizes: dict) -> tuple[int, int, int]:
    """Parameters of torch's modules, half its counted flops, and the elements of all tensors that the layers touch."""
    layers = torch_layers(kind, sizes)
    params = sum(weight.numel() for layer in layers for weight in layer.parameters())
    maps, image = 0, torch.empty(1, sizes["inChannels"], sizes["side"], sizes["side"], device="meta")
    with FlopCounterMode(display=False) as flops:
        for layer in layers:
            before, image = image, layer(image)
            maps += before.numel() + image.numel()
    assert flops.get_total_flops() % 2 == 0
    return params, flops.get_total_flops() // 2, maps + params


def digits(text: str) -> int:
    assert re.fullmatch(r"\d{1,3}(,\d{3})*", text), text
    return int(text.replace(",", ""))


def significant(value: float) -> str:
    """Three significant digits, ties away from zero; whole numbers and those from 1,000 on without decimals."""
    if value == int(value) or value >= 1000:
        return f"{int(Decimal(value).quantize(Decimal(1), ROUND_HALF_UP)):,}"
    rounded = Context(prec=3, rounding=ROUND_HALF_UP).create_decimal(value)
    return f"{rounded.quantize(Decimal(10) ** (rounded.adjusted() - 2)):,f}"


def value_of(expression: str) -> float:
    """A written product, sum or quotient, evaluated by Python."""
    written = expression.replace(",", "").replace("²", "**2").translate(str.maketrans("×÷−", "*/-"))
    assert re.fullmatch(r"[\d.+*/() -]+", written), expression
    return eval(written)


def test_costs_are_what_torch_counts():
    cases = random_sizes(250, seed=1)
    for case, found in zip(cases, call(FIGURE, "costs", [[case] for case in cases]), strict=True):
        standard = torch_costs("standard", case)
        for kind in KINDS:
            want = params, macs, values = torch_costs(kind, case)
            assert tuple(found[kind][key] for key in ("params", "macs", "values")) == want, (kind, case)
            assert found[kind]["bytes"] == 4 * values
            assert found[kind]["intensity"] == pytest.approx(macs / (4 * values))
            assert found[kind]["fraction"] == pytest.approx(params / standard[0]) == pytest.approx(macs / standard[1])
            assert found[kind]["reduction"] == pytest.approx(1 / found[kind]["fraction"])
            assert max(macs, 4 * values) < 2**53


@pytest.mark.parametrize(
    ("change", "kind", "params", "reduction"),
    [
        ({"inChannels": 64, "outChannels": 128}, "standard", 73728, "1"),
        ({"inChannels": 64, "outChannels": 128}, "separable", 8768, "8.41"),
        ({}, "standard", 589824, "1"),
        ({}, "bottleneck", 69632, "8.47"),
        ({}, "grouped", 18432, "32"),
        ({}, "separable", 67840, "8.69"),
    ],
)
def test_known_costs(change, kind, params, reduction):
    found = call(FIGURE, "costs", [[START | change]])[0][kind]
    assert found["params"] == params
    assert call(FIGURE, "factor", [[found["reduction"]]]) == [reduction]


def test_known_reductions_of_separable_layers():
    known = {3: {64: "7.89", 128: "8.41", 256: "8.69", 512: "8.84"}, 5: {64: "18.0", 256: "22.8", 512: "23.8"}}
    cases = [(kernel, out, text) for kernel, row in known.items() for out, text in row.items()]
    found = call(FIGURE, "separableReduction", [[out, kernel] for kernel, out, _ in cases])
    assert call(FIGURE, "factor", [[value] for value in found]) == [text for _, _, text in cases]
    rng = np.random.default_rng(2)
    drawn = [[int(rng.integers(1, 2049)), int(rng.choice([1, 3, 5, 7]))] for _ in range(200)]
    for (out, kernel), value in zip(drawn, call(FIGURE, "separableReduction", drawn), strict=True):
        wide = int(rng.integers(1, 2049))
        separable = conv_params(wide, wide, kernel, False, wide) + conv_params(wide, out, 1, False)
        assert value == pytest.approx(conv_params(wide, out, kernel, False) / separable)
        assert value < kernel**2


def test_fewer_macs_can_move_more_bytes():
    """64 -> 128 at 112 x 112: 8.41 times fewer MACs, and 4,022,848 values moved instead of 2,482,176."""
    cost = call(FIGURE, "costs", [[START | {"inChannels": 64, "outChannels": 128, "side": 112}]])[0]
    assert [cost[kind]["values"] for kind in ("standard", "separable")] == [2482176, 4022848]
    said = call(FIGURE, "timeWords", [[cost, "separable"]])[0]
    assert "8.41 times fewer MACs, yet 1.62 times more bytes" in said


def test_time_words_say_the_ratios():
    found = call(FIGURE, "costs", [[case] for case in random_sizes(200, seed=3)])
    cases = [[cost, kind] for cost in found for kind in KINDS if kind != "standard"]
    for (cost, kind), said in zip(cases, call(FIGURE, "timeWords", cases), strict=True):
        own, standard = cost[kind], cost["standard"]
        ratios = re.findall(r"(as many|[\d,.]+ times (?:fewer|more)) (?:MACs|bytes)", said)
        for key, words in zip(("macs", "bytes"), ratios, strict=True):
            low, high = sorted((own[key], standard[key]))
            side = "fewer" if own[key] < standard[key] else "more"
            assert words == ("as many" if low == high else f"{significant(high / low)} times {side}")
        saves_less = own["bytes"] / standard["bytes"] > own["macs"] / standard["macs"]
        both_fall = own["bytes"] < standard["bytes"] and own["macs"] < standard["macs"]
        assert (", but only " in said) == (saves_less and both_fall), said
        assert f"so {significant(own['intensity'])} MACs a byte against {significant(standard['intensity'])}." in said


def test_every_number_opens_into_products_that_give_it():
    sizes = random_sizes(60, seed=4)
    cases = [list(case) for case in itertools.product(sizes, KINDS, QUANTITIES)]
    costs = {
        str(case): cost for case, cost in zip(sizes, call(FIGURE, "costs", [[case] for case in sizes]), strict=True)
    }
    for (case, kind, quantity), lines in zip(cases, call(FIGURE, "opened", cases), strict=True):
        want = costs[str(case)][kind][quantity]
        for what, line in lines:
            parts = [part for part in re.split(" [=≈] ", line) if not re.search("[A-Z]", part)]
            exact = [value_of(part) for part in parts]
            if "≈" in line:
                assert exact[-2] == pytest.approx(want, rel=1e-9) or "÷ bytes" in what, (line, want)
                assert parts[-1] == significant(exact[-2]), line
            assert exact == pytest.approx([exact[0]] * len(exact), rel=0 if "≈" not in line else 0.006), line
        last = next(line for what, line in reversed(lines) if not what.startswith("Limit"))
        assert value_of(re.split(" [=≈] ", last)[-1]) == pytest.approx(want, rel=0.006), (kind, quantity, lines)


def test_opened_layers_are_torchs_layers():
    """The weight lines have one product a layer, in torch's order of sizes, and name each size by its symbol."""
    cases = random_sizes(200, seed=5)
    asked = [[case, kind, "params"] for case in cases for kind in KINDS]
    for (case, kind, _), lines in zip(asked, call(FIGURE, "opened", asked), strict=True):
        layers = torch_layers(kind, case)
        symbols = {"C_in": "inChannels", "C_out": "outChannels", "C_mid": "middle", "K": "kernel", "G": "groups"}
        names = {symbol: case[key] for symbol, key in symbols.items()}
        names |= {f"{end}/G": names[end] // names["G"] for end in ("C_in", "C_out")}
        for layer, (_, line) in zip(layers, lines, strict=False):
            symbolic, numbers, weights = line.split(" = ")
            assert [names[symbol] for symbol in symbolic.split(" × ")] == [
                digits(each) for each in numbers.split(" × ")
            ]
            assert digits(weights) == layer.weight.numel()
        assert len(lines) == len(layers) + (len(layers) > 1)


def test_stages_are_torchs_layers():
    cases = [[kind, case] for case in random_sizes(200, seed=12) for kind in KINDS]
    for (kind, case), found in zip(cases, call(FIGURE, "stages", cases), strict=True):
        for stage, layer in zip(found, torch_layers(kind, case), strict=True):
            assert (stage["from"], stage["to"], stage["groups"]) == (
                layer.in_channels,
                layer.out_channels,
                layer.groups,
            )
            assert (stage["kernel"], stage["kernel"]) == layer.kernel_size


def test_written_numbers():
    rng = np.random.default_rng(6)
    values = [float(10 ** rng.uniform(-6, 5)) for _ in range(300)] + [1, 32, 999.4, 999.6, 17.978, 0.03125, 8.6949]
    assert call(FIGURE, "factor", [[value] for value in values]) == [significant(value) for value in values]
    shown = [["params", 589824], ["macs", 999999], ["macs", 115605504], ["bytes", 2760704], ["intensity", 41.876]]
    shown += [
        ["fraction", 0.11502],
        ["reduction", 8.6943],
        ["reduction", 32],
        ["macs", 999999999],
        ["bytes", 999],
        ["reduction", 2.4e-7],
    ]
    want = [
        "589,824",
        "999,999",
        "116 million",
        "2.76 MB",
        "41.9",
        "0.115",
        "8.69×",
        "32×",
        "1 billion",
        "999 B",
        "<\u00a00.0001×",
    ]
    assert call(FIGURE, "shown", shown) == want


def test_groups_that_do_not_divide_are_said_and_the_others_stay():
    rng = np.random.default_rng(7)
    cases = []
    while len(cases) < 200:
        wide, out, groups = (int(each) for each in rng.integers(1, 300, 3))
        if wide % groups or out % groups:
            cases.append(START | {"inChannels": wide, "outChannels": out, "groups": groups})
    for case, found in zip(cases, call(FIGURE, "costs", [[case] for case in cases]), strict=True):
        with pytest.raises(ValueError, match="divisible by groups"):
            torch_layers("grouped", case)
        said = found["grouped"]["error"]
        assert (f"the {case['inChannels']:,} input" in said) == (case["inChannels"] % case["groups"] > 0)
        assert (f"the {case['outChannels']:,} output" in said) == (case["outChannels"] % case["groups"] > 0)
        good = [int(each) for each in re.findall(r"\d+", said.split("Possible here: ")[1])]
        common = math.gcd(case["inChannels"], case["outChannels"])
        assert good == [each for each in range(1, common + 1) if common % each == 0]
        assert found["separable"]["params"] == torch_costs("separable", case)[0]
    assert call(FIGURE, "opened", [[cases[0], "grouped", "macs"]]) == [[]]
    assert "groups do not divide" in call(FIGURE, "sightWords", [["grouped", cases[0]]])[0]


def test_divisors():
    pairs = [[int(each) for each in pair] for pair in np.random.default_rng(8).integers(1, 2049, (200, 2))]
    for pair, found in zip(pairs, call(FIGURE, "divisors", pairs), strict=True):
        assert found == [each for each in range(1, min(pair) + 1) if math.gcd(*pair) % each == 0]


@pytest.mark.parametrize("kind", KINDS)
def test_the_drawing_marks_what_has_a_gradient(kind):
    """Every output of eight channels and seven places, in every form of the drawing, against torch's own backward."""
    cases = []
    for kernel, groups, middle in itertools.product((1, 3, 5, 7), (1, 4, 8), (2, 8)):
        toy = START | {"inChannels": 8, "outChannels": 8, "kernel": kernel, "groups": groups, "middle": middle}
        cases += [[kind, toy, channel, place] for channel in range(1, 9) for place in range(1, 8)]
    for (_, toy, channel, place), regions in zip(cases, call(FIGURE, "seen", cases), strict=True):
        layers, maps = torch_layers(kind, toy, "cpu", nn.Conv1d), [torch.ones(1, 8, 7, requires_grad=True)]
        for layer in layers:
            nn.init.ones_(layer.weight)
            maps.append(layer(maps[-1]))
        chosen = maps[-1][0, channel - 1, place - 1]
        gradients = torch.autograd.grad(chosen, maps)
        for region, gradient in zip(regions, gradients, strict=True):
            (top, bottom), (left, right) = region["channels"], region["places"]
            marked = torch.zeros(gradient.shape[1:], dtype=bool)
            marked[top - 1 : bottom, left - 1 : right] = True
            assert torch.equal(marked, gradient[0] != 0), (toy, channel, place)


def test_the_drawings_own_sizes():
    known = [
        ({}, (4, 2)),
        ({"groups": 1}, (1, 2)),
        ({"groups": 256}, (8, 2)),
        ({"inChannels": 64, "outChannels": 128, "groups": 64}, (8, 8)),
        ({"middle": 256}, (4, 8)),
    ]
    found = call(FIGURE, "toySizes", [[START | change] for change, _ in known])
    for (_, want), toy in zip(known, found, strict=True):
        assert (toy["groups"], toy["middle"]) == want
        assert (toy["inChannels"], toy["outChannels"], toy["kernel"]) == (8, 8, 3)


def test_sight_words_count_the_inputs():
    cases = [[kind, case] for case in random_sizes(200, seed=9) for kind in KINDS]
    for (kind, case), said in zip(cases, call(FIGURE, "sightWords", cases), strict=True):
        if kind == "grouped" and case["groups"] == 1:
            assert said == "One group is the standard layer."
            continue
        layer = torch_layers("grouped" if kind == "grouped" else "standard", case)[0]
        assert f" {layer.weight[0].numel():,} " in said, (kind, case, said)
        assert not re.search(r"\b1 (channels|values|mixtures)", said), said


def test_steps_through_the_table_stay_inside():
    kinds, quantities = list(KINDS), list(QUANTITIES)
    moves = {
        "ArrowUp": (-1, 0),
        "ArrowDown": (1, 0),
        "ArrowLeft": (0, -1),
        "ArrowRight": (0, 1),
        "Home": (0, -9),
        "End": (0, 9),
    }
    cases = [list(case) for case in itertools.product(kinds, quantities, moves)]
    for (kind, quantity, key), found in zip(cases, call(FIGURE, "step", cases), strict=True):
        row, col = np.clip(np.add((kinds.index(kind), quantities.index(quantity)), moves[key]), 0, (3, 5))
        assert found == {"kind": kinds[row], "quantity": quantities[col]}
    assert call(FIGURE, "step", [["standard", "params", "Tab"]]) == [None]


def test_a_press_on_the_curve_is_the_nearest_stop():
    shares = sorted(np.random.default_rng(10).uniform(0, 1, 300).tolist())
    found = call(FIGURE, "pressed", [[share] for share in shares])
    stops = np.array(sorted(set(found)))
    for share, stop in zip(shares, found, strict=True):
        assert stop == stops[np.abs(np.log2(stops) - 11 * share).argmin()]
    assert {1, 64, 256, 2048} <= set(found)
    assert call(FIGURE, "curveWords", [[256, 3]])[0].startswith("Here it is 8.69, never the full K² = 9")
    assert "no space to separate" in call(FIGURE, "curveWords", [[256, 1]])[0]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"kernel": 4}, "kernel must be odd, not 4"),
        ({"kernel": 9}, "kernel must be a whole number from 1 to 7, not 9"),
        ({"side": 0}, "side must be a whole number from 1 to 512, not 0"),
        ({"inChannels": 2049}, "input channels must be"),
        ({"outChannels": 1.5}, "output channels must be a whole number from 1 to 2048, not 1.5"),
        ({"groups": -2}, "not −2."),
        ({"middle": None}, "bottleneck width must be"),
        ({"side": "14"}, "side must be"),
    ],
)
def test_bad_sizes_are_said_in_words(change, words):
    assert words in errors(FIGURE, "costs", [[START | change]])[0]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"kernel": 4}, "kernel must be odd"),
        ({"kernel": 9}, "kernel must be a whole number from 1 to 7, got 9"),
        ({"side": 513}, "side must be a whole number from 1 to 512, got 513"),
        ({"groups": 0}, "groups must be"),
        ({"middle": True}, "middle must be a whole number"),
        ({"in_channels": 2.5}, "in_channels"),
        ({"out_channels": "64"}, "out_channels"),
    ],
)
def test_python_refuses_bad_sizes(arguments, words):
    with pytest.raises(traitlets.TraitError, match=words):
        CostExplorer(**arguments)


def test_python_refuses_a_bad_change_and_keeps_its_state():
    figure = CostExplorer()
    for trait, value in [("kernel", 2), ("side", 0), ("channel", 9), ("place", 8), ("kind", "dense"), ("quantity", "")]:
        before = getattr(figure, trait)
        with pytest.raises(traitlets.TraitError):
            setattr(figure, trait, value)
        assert getattr(figure, trait) == before


def test_state_is_every_trait_and_repr_builds_the_same_figure():
    figure = CostExplorer(64, 128, side=112, middle=32)
    sizes = dict(in_channels=64, out_channels=128, kernel=3, side=112, groups=32, middle=32)
    assert figure.state() == sizes | dict(kind="separable", quantity="reduction", channel=3, place=4)
    text = "CostExplorer(in_channels=64, out_channels=128, kernel=3, side=112, groups=32, middle=32)"
    assert repr(figure) == text
    assert eval(text).state() == figure.state()
    figure.groups, figure.kind = 7, "grouped"
    assert "groups=7" in repr(figure)


def test_fallback_says_what_the_figure_says():
    cases = random_sizes(30, seed=11)
    for case, cost in zip(cases, call(FIGURE, "costs", [[case] for case in cases]), strict=True):
        page = CostExplorer(*case.values()).fallback()
        for kind, title in KINDS.items():
            counts = [f"{cost[kind][key]:,}" for key in ("params", "macs", "values", "bytes")]
            ratios = [significant(cost[kind][key]) for key in ("intensity", "fraction", "reduction")]
            cells = "".join(f"<td>{cell}</td>" for cell in counts + ratios)
            assert f'<th scope="row">{title}</th>{cells}</tr>' in page, (kind, case)
    assert "<td>67,840</td>" in CostExplorer().fallback()
    assert "<td>8.69</td>" in CostExplorer().fallback()
    assert "groups=7 must divide in_channels=256" in CostExplorer(groups=7).fallback()


def test_limits_and_names_are_the_scripts_own():
    keys = dict(zip(("in_channels", "out_channels", "kernel", "side", "groups", "middle"), START, strict=True))
    for name, key in keys.items():
        least, most = LIMITS[name]
        call(FIGURE, "costs", [[START | {key: least}], [START | {key: most}]])
        errors(FIGURE, "costs", [[START | {key: least - 1}], [START | {key: most + 1}]])
    assert list(call(FIGURE, "costs", [[START]])[0]) == list(KINDS)
