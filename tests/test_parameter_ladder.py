"""The parameter ladder's arithmetic against torch (layers without memory, "meta") and exact Python integers."""

import math
import re
from decimal import ROUND_HALF_UP, Context, Decimal
from fractions import Fraction

import numpy as np
import pytest
import torch
import traitlets
from js import call, errors
from torch.utils.flop_counter import FlopCounterMode

from cnnbook.figures.parameter_ladder import LIMITS, ParameterLadder
from cnnbook.shapes import conv_params, output_size

FIGURE = "parameter_ladder"
UNITS = ["B", "kB", "MB", "GB", "TB", "PB", "EB"]
WORDS = ["", "thousand", "million", "billion", "trillion", "quadrillion"]


def random_sizes(count: int, seed: int, most_side: int = 512, most_channels: int = 512) -> list[dict]:
    """Sizes over the whole range; the first four are the corners and the figure's start."""
    rng = np.random.default_rng(seed)
    draw = {"side": (8, most_side), "inChannels": (1, most_channels), "outChannels": (1, most_channels)}
    sizes = [{key: int(rng.integers(*ends, endpoint=True)) for key, ends in draw.items()} for _ in range(count - 4)]
    for each in sizes:
        each["kernel"] = int(rng.choice([1, 3, 5, 7, 9, 11]))
    corners = [(8, 1, 1, 1), (8, 1, 512, 11), (most_side, most_channels, most_channels, 11), (224, 3, 64, 3)]
    return [
        dict(zip(("side", "inChannels", "outChannels", "kernel"), corner, strict=True)) for corner in corners
    ] + sizes


def torch_weights(side: int, inputs: int, outputs: int, kernel: int) -> dict[str, int]:
    """Weights of real torch layers on the meta device; locally connected: one weight a tap of unfold, an output map."""
    conv = torch.nn.Conv2d(inputs, outputs, kernel, padding="same", bias=False, device="meta")
    image = torch.empty(1, inputs, side, side, device="meta")
    dense = torch.nn.Linear(image.numel(), conv(image).numel(), bias=False, device="meta")
    patches = torch.nn.functional.unfold(image, kernel, padding=kernel // 2)
    return {
        "dense": math.prod(dense.weight.shape),
        "local": patches.numel() * outputs,
        "shared": conv.weight.numel(),
    }


def digits(text: str) -> int:
    assert re.fullmatch(r"\d{1,3}(,\d{3})*", text), text
    return int(text.replace(",", ""))


def short(count: int, units: list[str]) -> str:
    """Three significant digits, ties away from zero, then the unit of a thousand's power."""
    rounded = Context(prec=3, rounding=ROUND_HALF_UP).create_decimal(count)
    power = max(0, rounded.adjusted() // 3)
    return f"{(rounded / Decimal(1000) ** power).normalize():f} {units[power]}".strip()


def result(line: list[str]) -> int:
    """The number behind the last equals sign of an opened line."""
    return digits(line[1].split(" = ")[-1])


def test_weights_and_multiplications_are_torchs():
    cases = random_sizes(300, seed=1)
    found = call(FIGURE, "ladder", [[case] for case in cases])
    for case, view in zip(cases, found, strict=True):
        want = torch_weights(*case.values())
        assert {layer: digits(view[layer]["weights"]) for layer in want} == want, case
        macs = {"dense": want["dense"], "local": want["local"], "shared": want["shared"] * case["side"] ** 2}
        assert {layer: digits(view[layer]["macs"]) for layer in macs} == macs, case
        for layer, weights in want.items():
            assert view[layer]["memory"] == short(4 * weights, UNITS)
            assert view[layer]["training"] == short(16 * weights, UNITS)
            assert view[layer]["short"] == (f"{weights:,}" if weights < 10**6 else short(weights, WORDS))


def test_multiplications_are_what_torch_counts():
    for side, inputs, outputs, kernel in [(224, 3, 64, 3), (14, 256, 256, 3), (9, 5, 7, 11)]:
        view = call(FIGURE, "ladder", [[dict(side=side, inChannels=inputs, outChannels=outputs, kernel=kernel)]])[0]
        conv = torch.nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2, bias=False, device="meta")
        with FlopCounterMode(display=False) as flops:
            conv(torch.empty(1, inputs, side, side, device="meta"))
        assert 2 * digits(view["shared"]["macs"]) == flops.get_total_flops()
        assert view["shared"]["macs"] == view["local"]["macs"] == view["local"]["weights"]


def test_the_far_end_is_exact_beyond_two_to_the_53():
    size = dict(side=511, inChannels=511, outChannels=509, kernel=11)
    view = call(FIGURE, "ladder", [[size]])[0]
    exact = 511**4 * 511 * 509
    assert exact > 2**53
    assert int(float(exact)) != exact
    assert view["dense"]["weights"] == view["dense"]["macs"] == f"{exact:,}"
    assert any(f"{4 * exact:,} = {16 * exact:,} bytes" in line for _, line in view["dense"]["lines"])


def test_every_opened_product_multiplies_out():
    cases = random_sizes(200, seed=2)
    for view in call(FIGURE, "ladder", [[case] for case in cases]):
        for layer in ("dense", "local", "shared"):
            factors = [int(each) for each in re.findall(r"\d+", view[layer]["product"].replace(",", ""))]
            assert math.prod(factors) == digits(view[layer]["weights"])
            for _, line in view[layer]["lines"]:
                exact = [
                    part
                    for part in line.replace(" bytes", "").split(" ≈ ")[0].split(" = ")
                    if not re.search("[A-Z]", part)
                ]
                values = {
                    eval(part.replace(",", "").replace("×", "*").replace("²", "**2").replace("−", "-"))
                    for part in exact
                }
                assert len(values) == 1, line


def test_taps_on_padding_are_those_that_torch_loses():
    rng = np.random.default_rng(3)
    cases = [[int(rng.integers(8, 60)), int(rng.choice([1, 3, 5, 7, 9, 11]))] for _ in range(200)]
    for (side, kernel), taps in zip(cases, call(FIGURE, "inside", cases), strict=True):
        ones, filters = torch.ones(1, 1, side), torch.ones(1, 1, kernel)
        assert taps == torch.nn.functional.conv1d(ones, filters, padding=kernel // 2).sum()
    ones, filters = torch.ones(1, 3, 8, 8), torch.ones(2, 3, 11, 11)
    on_pixels = int(torch.nn.functional.conv2d(ones, filters, padding=5).sum())
    view = call(FIGURE, "ladder", [[dict(side=8, inChannels=3, outChannels=2, kernel=11)]])[0]
    padded = next(line for line in view["local"]["lines"] if "padding" in line[0])
    assert result(padded) == digits(view["local"]["weights"]) - on_pixels


def test_short_forms():
    rng = np.random.default_rng(4)
    counts = [int(10 ** rng.uniform(0, 15.9)) for _ in range(300)]
    counts += [1, 999, 1000, 1001, 12345, 999_499, 999_500, 999_999, 1_000_000, 9_995_000, 999_499_999, 999_500_000]
    assert call(FIGURE, "bytes", [[count] for count in counts]) == [short(count, UNITS) for count in counts]
    want = [f"{count:,}" if count < 10**6 else short(count, WORDS) for count in counts]
    assert call(FIGURE, "big", [[count] for count in counts]) == want


def test_compare_says_the_ratio():
    rng = np.random.default_rng(5)
    cases = [[int(10 ** rng.uniform(0, 12)), int(10 ** rng.uniform(0, 12))] for _ in range(250)]
    for (before, after), said in zip(cases, call(FIGURE, "compare", cases), strict=True):
        ratio = max(Fraction(before, after), Fraction(after, before))
        shown, unit = re.fullmatch(r"(?:about )?([\d,.]+) ?(million|billion)? times (?:fewer|more)", said).groups()
        value = float(shown.replace(",", "")) * {None: 1, "million": 1e6, "billion": 1e9}.get(unit, 1)
        assert value == pytest.approx(float(ratio), rel=0.0051)
        assert said.endswith("fewer" if before > after else "more")
        assert said.startswith("about") == (ratio.denominator > 1 or ratio >= 10**6)
    known = call(FIGURE, "compare", [[7, 7], [86704128, 1728], [64, 121], [10, 4]])
    assert known == ["as many", "50,176 times fewer", "about 1.89 times more", "about 2.5 times fewer"]


def test_axis_is_log10_over_17_decades():
    counts = [int(10 ** np.random.default_rng(6).uniform(0, 15)) for _ in range(200)]
    places = call(FIGURE, "along", [[count] for count in counts])
    assert places == pytest.approx([100 * math.log10(count) / 17 for count in counts])
    assert 512**6 < 10**17


def test_small_drawing_is_a_same_convolution_of_five():
    """The weight numbers as a matrix: dense all different, local a band, shared the matrix of torch's own conv1d."""
    cases = [[layer, unit] for layer in ("dense", "local", "shared") for unit in range(1, 6)]
    matrices = {layer: np.zeros((5, 7), int) for layer in ("dense", "local", "shared")}
    for (layer, unit), wires in zip(cases, call(FIGURE, "wires", cases), strict=True):
        for wire in wires:
            matrices[layer][unit - 1, wire["from"]] = wire["weight"]
    kernel = torch.tensor([[[1.0, 2.0, 3.0]]])
    columns = torch.nn.functional.conv1d(torch.eye(7)[:, None], kernel)[:, 0].numpy()
    assert (matrices["shared"] == columns.T).all()
    assert output_size(5, 3, padding=1) == 5
    assert (matrices["dense"] == np.pad(np.arange(1, 26).reshape(5, 5), ((0, 0), (1, 1)))).all()
    assert ((matrices["local"] > 0) == (columns.T > 0)).all()
    assert sorted(matrices["local"][matrices["local"] > 0]) == list(range(1, 16))


def test_the_start_and_its_steps():
    view = call(FIGURE, "ladder", [[dict(side=224, inChannels=3, outChannels=64, kernel=3)]])[0]
    rows = [
        [view[layer][key] for key in ("weights", "macs", "memory", "training")]
        for layer in ("dense", "local", "shared")
    ]
    assert rows == [
        ["483,385,147,392", "483,385,147,392", "1.93 TB", "7.73 TB"],
        ["86,704,128", "86,704,128", "347 MB", "1.39 GB"],
        ["1,728", "86,704,128", "6.91 kB", "27.6 kB"],
    ]
    assert view["steps"]["local"][1:3] == ["Weights: about 5,575 times fewer", "H·W ÷ K² = 50,176 ÷ 9"]
    assert view["steps"]["shared"][1:] == [
        "Weights: 50,176 times fewer",
        "H·W = 224 × 224",
        "Multiplications: as many as before",
    ]
    assert view["whole"] == "about 280 million times fewer"


def test_a_patch_larger_than_the_image_is_said():
    for kernel, ratio in [(9, "1.27"), (11, "1.89")]:
        view = call(FIGURE, "ladder", [[dict(side=8, inChannels=3, outChannels=2, kernel=kernel)]])[0]
        on_pixels = torch.nn.functional.conv2d(torch.ones(1, 1, 8, 8), torch.ones(1, 1, kernel, kernel), padding="same")
        share = round(100 - 100 * float(on_pixels.sum()) / (8 * kernel) ** 2)
        assert view["steps"]["local"][1] == f"Weights: about {ratio} times more"
        assert f"larger than the image: {share} % of its weights lie on padding." in view["steps"]["local"][3]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"kernel": 4}, "kernel must be odd, not 4"),
        ({"kernel": 13}, "kernel must be a whole number from 1 to 11, not 13"),
        ({"side": 7}, "image side must be a whole number from 8 to 512, not 7"),
        ({"inChannels": 0}, "input channels must be"),
        ({"outChannels": 1.5}, "output channels must be a whole number from 1 to 512, not 1.5"),
        ({"side": -3}, "not −3."),
        ({"side": None}, "image side must be"),
        ({"side": "224"}, "image side must be"),
    ],
)
def test_bad_sizes_are_said_in_words(change, words):
    sizes = dict(side=224, inChannels=3, outChannels=64, kernel=3) | change
    assert words in errors(FIGURE, "ladder", [[sizes]])[0]
    assert words in errors(FIGURE, "counts", [[sizes]])[0]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"kernel": 4}, "kernel must be odd"),
        ({"kernel": 0}, "kernel must be a whole number from 1 to 11, got 0"),
        ({"side": 513}, "side must be a whole number from 8 to 512, got 513"),
        ({"in_channels": 0}, "in_channels must be"),
        ({"out_channels": True}, "out_channels must be a whole number"),
        ({"side": 22.5}, "side"),
        ({"side": "224"}, "side"),
    ],
)
def test_python_refuses_bad_sizes(arguments, words):
    with pytest.raises(traitlets.TraitError, match=words):
        ParameterLadder(**arguments)


def test_python_refuses_a_bad_change_and_keeps_its_state():
    figure = ParameterLadder()
    for trait, value in [("kernel", 2), ("side", 7), ("unit", 6), ("opened", ["all"])]:
        before = getattr(figure, trait)
        with pytest.raises(traitlets.TraitError):
            setattr(figure, trait, value)
        assert getattr(figure, trait) == before


def test_state_is_every_trait_and_repr_builds_the_same_figure():
    figure = ParameterLadder(28, 1, 32, kernel=5)
    assert figure.state() == dict(side=28, in_channels=1, out_channels=32, kernel=5, unit=3, opened=[])
    assert repr(figure) == "ParameterLadder(side=28, in_channels=1, out_channels=32, kernel=5)"
    assert eval(repr(figure)).state() == figure.state()
    figure.side, figure.opened = 56, ["shared"]
    assert figure.state()["side"] == 56
    assert repr(figure).startswith("ParameterLadder(side=56")


def test_fallback_says_what_the_figure_says():
    cases = random_sizes(20, seed=7)
    for case, view in zip(cases, call(FIGURE, "ladder", [[case] for case in cases]), strict=True):
        figure = ParameterLadder(*case.values())
        page = figure.fallback()
        for layer in ("dense", "local", "shared"):
            row = [f"{view[layer]['product']} = {view[layer]['weights']}"]
            row += [view[layer][key] for key in ("macs", "memory", "training")]
            assert "".join(f"<td>{cell}</td>" for cell in row) in page
        assert figure.counts()["shared"][0] == conv_params(*list(case.values())[1:], bias=False)
    assert "<td>(3 × 224 × 224) × (64 × 224 × 224) = 483,385,147,392</td>" in ParameterLadder().fallback()


def test_limits_are_the_scripts_own():
    for name, key in [
        ("side", "side"),
        ("in_channels", "inChannels"),
        ("out_channels", "outChannels"),
        ("kernel", "kernel"),
    ]:
        sizes = dict(side=224, inChannels=3, outChannels=64, kernel=3)
        least, most = LIMITS[name]
        call(FIGURE, "ladder", [[sizes | {key: least}], [sizes | {key: most}]])
        errors(FIGURE, "ladder", [[sizes | {key: least - 1}], [sizes | {key: most + 1}]])
