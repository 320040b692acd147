"""The gradient-flow explorer's arithmetic against torch's autograd, NumPy's linear algebra, and mpmath's digits."""

import math
import re
from decimal import ROUND_HALF_UP, Context, Decimal

import mpmath
import numpy as np
import pytest
import torch
import traitlets
from js import call

from cnnbook.figures.gradient_flow_explorer import (
    DEEPEST,
    KINDS,
    LIMITS,
    NETS,
    PRESETS,
    SIZE,
    GradientFlowExplorer,
    gradient_logs,
    jacobians,
)
from cnnbook.figures.gradient_flow_explorer import normals as numpy_normals

FIGURE = "gradient_flow_explorer"
NUMBER = r"0|[\d,.]+(?:\u00a0×\u00a010[⁻⁰¹²³⁴⁵⁶⁷⁸⁹]+)?|10[⁻⁰¹²³⁴⁵⁶⁷⁸⁹]+"


def as_array(found) -> np.ndarray:
    """A typed array as JSON gives it, {"0": …}, or a list; null stands for minus infinity."""
    values = found.values() if isinstance(found, dict) else found
    return np.array([-math.inf if value is None else value for value in values], dtype=float)


def mulberry32(seed: int, start: int, count: int) -> list[float]:
    """The generator in plain whole numbers: its state is a counter, so it can start anywhere."""
    found, mask = [], 0xFFFFFFFF
    for place in range(start + 1, start + count + 1):
        state = (seed + place * 0x6D2B79F5) & mask
        mixed = ((state ^ (state >> 15)) * (state | 1)) & mask
        mixed = ((mixed + (((mixed ^ (mixed >> 7)) * (mixed | 61)) & mask)) & mask) ^ mixed
        found.append((mixed ^ (mixed >> 14)) / 2**32)
    return found


def box_muller(seed: int, start: int, count: int) -> list[float]:
    uniform, found = iter(mulberry32(seed, start, count)), []
    for first, second in zip(uniform, uniform, strict=True):
        radius = math.sqrt(-2 * math.log(1 - first))
        found += [radius * math.cos(2 * math.pi * second), radius * math.sin(2 * math.pi * second)]
    return found


def random_settings(count: int, seed: int, deepest: int = 30) -> list[tuple[dict, int]]:
    """Settings and a network (from 0), over all kinds, with and without the skip."""
    rng = np.random.default_rng(seed)
    drawn = []
    for _ in range(count):
        settings = {
            "depth": int(rng.integers(1, deepest + 1)),
            "scale": float(rng.choice([rng.uniform(0.05, 1.5), 0.1, 0.5, 1.0])),
            "skip": bool(rng.integers(2)),
            "kind": str(rng.choice(list(KINDS))),
            "seed": int(rng.integers(10000)),
        }
        drawn.append((settings, int(rng.integers(NETS))))
    return drawn


def torch_chain(settings: dict, net: int) -> tuple[list, torch.Tensor]:
    """A network's activations x_0 … x_L with a graph behind them, and the loss; weights as the figure draws them."""

    def matrix(block: int, which: int) -> torch.Tensor:
        start = ((net * DEEPEST + block) * 2 + which) * SIZE**2
        return torch.tensor(box_muller(settings["seed"], start, SIZE**2), dtype=torch.float64).reshape(SIZE, SIZE)

    def end(which: int) -> torch.Tensor:
        start = NETS * DEEPEST * 2 * SIZE**2 + (net * 2 + which) * SIZE
        values = torch.tensor(box_muller(settings["seed"], start, SIZE), dtype=torch.float64)
        return values / values.norm()

    scale, kind, activations = settings["scale"], settings["kind"], [end(0).requires_grad_()]
    for block in range(settings["depth"]):
        x = activations[-1]
        branch = {
            "minus": lambda x, _: -scale * x,
            "linear": lambda x, at: scale * matrix(at, 0) @ x / 4,
            "relu": lambda x, at: scale * (2**0.5 / 16) * matrix(at, 0) @ torch.relu(matrix(at, 1) @ x),
        }["relu" if kind == "post" else kind](x, block)
        y = x + branch if settings["skip"] else branch
        activations.append(torch.relu(y) if kind == "post" else y)
    return activations, end(1) @ activations[-1]


def test_the_random_numbers_are_mulberry32_and_box_muller():
    rng = np.random.default_rng(1)
    cases = [
        [int(rng.integers(10000)), 2 * int(rng.integers(1_100_000)), 2 * int(rng.integers(1, 20))] for _ in range(200)
    ]
    for case, found in zip(cases, call(FIGURE, "normals", cases), strict=True):
        assert as_array(found) == pytest.approx(box_muller(*case), rel=1e-12, abs=1e-14)
        assert numpy_normals(*case) == pytest.approx(box_muller(*case), rel=1e-12, abs=1e-14)


def test_the_random_numbers_are_normal_and_their_start_matters():
    many = as_array(call(FIGURE, "normals", [[3, 0, 200_000]])[0])
    assert abs(many.mean()) < 0.01
    assert abs(many.std() - 1) < 0.01
    for threshold in (-2, -1, -0.3, 0.5, 1.5):  # against the normal distribution function
        assert abs((many < threshold).mean() - 0.5 * (1 + math.erf(threshold / 2**0.5))) < 0.004
    assert abs(np.corrcoef(many[:-1], many[1:])[0, 1]) < 0.01
    later = as_array(call(FIGURE, "normals", [[3, 1000, 50]])[0])
    assert np.array_equal(later, many[1000:1050])


def test_vectors_and_matrices():
    rng = np.random.default_rng(2)
    sizes = [int(rng.integers(1, 17)) for _ in range(200)]
    matrices = [(rng.normal(size=(size, size)), rng.normal(size=(size, size)), rng.normal(size=size)) for size in sizes]
    flat = [(a.ravel().tolist(), b.ravel().tolist(), x.tolist()) for a, b, x in matrices]
    forward = call(FIGURE, "apply", [[a, x] for a, _, x in flat])
    back = call(FIGURE, "applyTransposed", [[a, x] for a, _, x in flat])
    product = call(FIGURE, "multiply", [[a, b, size] for (a, b, _), size in zip(flat, sizes, strict=True)])
    length = call(FIGURE, "norm", [[x] for *_, x in flat])
    for (a, b, x), *found in zip(matrices, forward, back, product, length, strict=True):
        for one, want in zip(found[:3], (a @ x, a.T @ x, (a @ b).ravel()), strict=True):
            assert as_array(one) == pytest.approx(want, rel=1e-12, abs=1e-12)
        assert found[3] == pytest.approx(np.linalg.norm(x))


def test_singular_values_norms_and_inverses():
    """Against LAPACK; among them matrices of low rank, with equal singular values, and 0."""
    rng = np.random.default_rng(3)
    matrices = []
    for _ in range(200):
        size = int(rng.integers(1, 17))
        matrices.append(rng.normal(size=(size, size)) * 10.0 ** rng.integers(-6, 7))
    low = [rng.normal(size=(7, 3)) @ rng.normal(size=(3, 7)) for _ in range(10)]
    turns = [np.linalg.qr(rng.normal(size=(6, 6)))[0] * 0.3 for _ in range(10)]
    rolled = [np.roll(np.diag(rng.normal(size=6)), 1 + at % 5, axis=0) for at in range(10)]  # 0 on the diagonal
    every = [*matrices, *low, *turns, *rolled, np.zeros((4, 4)), -np.eye(5), np.diag([1.0, 3.0, 2.0])]
    cases = [[each.ravel().tolist(), len(each)] for each in every]
    largest, values = call(FIGURE, "spectralNorm", cases), call(FIGURE, "singularValues", cases)
    for each, norm, found in zip(every, largest, values, strict=True):
        want = np.linalg.svd(each, compute_uv=False)
        assert norm == pytest.approx(np.linalg.norm(each, 2), rel=1e-8)
        assert found == pytest.approx(want, rel=1e-9, abs=1e-12 * max(want[0], 1e-300))
    for each, found in zip(
        [*matrices, *turns, *rolled], call(FIGURE, "inverse", cases[:200] + cases[210:230]), strict=True
    ):
        condition = np.linalg.cond(each)
        want = np.linalg.inv(each).ravel()
        assert as_array(found) == pytest.approx(want, rel=1e-6, abs=1e-14 * condition * abs(want).max())
    assert call(FIGURE, "inverse", cases[200:210] + [cases[230]]) == [None] * 11


def test_the_products_singular_values_to_all_digits():
    """The smallest can be 1e-60 of the largest: a product in doubles has lost it, so the oracle has 150 digits."""
    rng = np.random.default_rng(4)
    cases = []
    for _ in range(200):
        size, length = int(rng.integers(1, 5)), int(rng.integers(1, 25))
        skip = np.eye(size) * rng.integers(2)
        cases.append([skip + rng.uniform(0.1, 1.5) * rng.normal(size=(size, size)) for _ in range(length)])
    asked = [[[each.ravel().tolist() for each in case], len(case[0])] for case in cases]
    with mpmath.workdps(150):
        for case, found in zip(cases, call(FIGURE, "productRange", asked), strict=True):
            product = mpmath.eye(len(case[0]))
            for each in case:
                product = mpmath.matrix(each.tolist()) * product
            values = mpmath.svd_r(product, compute_uv=False)
            want = [float(mpmath.log10(values[len(values) - 1])), float(mpmath.log10(values[0]))]
            assert found == pytest.approx(want, abs=1e-7)


def test_the_gradients_are_autograds():
    cases = random_settings(220, seed=5, deepest=14) + [
        ({"depth": 100, "scale": 0.5, "skip": skip, "kind": kind, "seed": 7}, 40)
        for kind in KINDS
        for skip in (True, False)
    ]
    for (settings, net), found in zip(cases, call(FIGURE, "flow", [list(case) for case in cases]), strict=True):
        activations, loss = torch_chain(settings, net)
        gradients = torch.autograd.grad(loss, activations)
        want = [float(torch.log10(each.norm())) for each in gradients]
        assert as_array(found) == pytest.approx(want, abs=1e-9), (settings, net)


def test_every_network_of_a_fan_and_its_order_statistics():
    cases = random_settings(16, seed=6) + [({"depth": 100, "scale": 0.02, "skip": False, "kind": "relu", "seed": 9}, 0)]
    for (settings, _), found in zip(cases, call(FIGURE, "fan", [[case] for case, _ in cases]), strict=True):
        want = gradient_logs(**settings)
        lines = np.array([as_array(line) for line in found["lines"]])
        assert lines.shape == (NETS, settings["depth"] + 1)
        assert lines == pytest.approx(want, abs=1e-9), settings
        in_order = np.sort(want, axis=0)
        for key, place in (("median", 10), ("low", 2), ("high", 18)):  # the 11th, the 3rd and the 19th of 21
            assert as_array(found[key]) == pytest.approx(in_order[place], abs=1e-9)
        ends = as_array([found["least"], found["most"]])
        assert ends == pytest.approx([in_order[0, 0], in_order[-1, 0]], abs=1e-9)


def test_quantiles():
    rng = np.random.default_rng(7)
    cases = [
        [np.sort(rng.normal(size=10 * int(rng.integers(1, 9)) + 1)).tolist(), float(rng.choice([0, 0.1, 0.5, 0.9, 1]))]
        for _ in range(200)
    ]
    assert call(FIGURE, "quantile", cases) == pytest.approx([np.quantile(*case) for case in cases], abs=1e-12)


def test_an_inspected_network_and_its_bounds():
    """Spectral norms against NumPy, the product's range against its SVD, and every norm lies within its bounds."""
    cases = random_settings(200, seed=8, deepest=6)
    for (settings, net), found in zip(cases, call(FIGURE, "inspect", [list(case) for case in cases]), strict=True):
        blocks = jacobians(**settings)[net]
        skip, post = settings["skip"], settings["kind"] == "post"
        epsilons = np.array(found["epsilons"])
        branch = blocks - skip * np.eye(SIZE)
        if not post:  # after the addition, the ReLU's D is a factor of all
            assert epsilons == pytest.approx(np.linalg.norm(branch, 2, axis=(1, 2)), rel=1e-7)
        product = np.eye(SIZE)
        for block in blocks:
            product = block @ product
        values = np.linalg.svd(product, compute_uv=False)
        assert 10 ** as_array(found["range"])[1] == pytest.approx(values[0], rel=1e-7)
        assert 10 ** as_array(found["range"])[0] == pytest.approx(values[-1], rel=1e-3, abs=1e-12 * values[0])
        after = epsilons[::-1]
        upper = np.cumprod([1, *(1 + after if skip else after)])[::-1]
        holds = np.cumprod([1, *(np.maximum(0, 1 - after) if skip and not post else 0 * after)])[::-1]
        assert 10 ** as_array(found["upper"]) == pytest.approx(upper, rel=1e-7)
        assert 10 ** as_array(found["lower"]) == pytest.approx(holds, rel=1e-6, abs=1e-300)
        norms = 10 ** as_array(found["logs"])
        assert np.all(holds * (1 - 1e-9) <= norms)
        assert np.all(norms <= upper * (1 + 1e-9))


def test_branch_norms_under_the_last_relu():
    """With a ReLU after the addition ε is still that of the branch: torch's, where x + F(x) and F(x) differ by I."""
    cases = [({"depth": 1, "scale": 0.4, "skip": True, "kind": "post", "seed": seed}, seed) for seed in range(20)]
    for (settings, net), found in zip(cases, call(FIGURE, "inspect", [list(case) for case in cases]), strict=True):
        (x, y), _ = torch_chain({**settings, "kind": "relu"}, net)
        rows = [torch.autograd.grad(each, x, retain_graph=True)[0] for each in y]
        branch = torch.stack(rows).numpy() - np.eye(SIZE)
        assert found["epsilons"] == pytest.approx([np.linalg.norm(branch, 2)], rel=1e-8)


def test_a_block_opens_into_products_that_give_its_factor():
    rng = np.random.default_rng(10)
    cases = random_settings(200, seed=11, deepest=8)
    asked = [
        [settings, net, int(rng.integers(1, settings["depth"] + 1)), int(rng.integers(1, 17))]
        for settings, net in cases
    ]
    for (settings, net, layer, component), found in zip(asked, call(FIGURE, "explain", asked), strict=True):
        if found["before"] is None:  # a gradient that is 0 already
            continue
        activations, loss = torch_chain(settings, net)
        above, below = (each.numpy() for each in torch.autograd.grad(loss, activations[layer - 1 : layer + 1][::-1]))
        length, block = np.linalg.norm(above), jacobians(**settings)[net, layer - 1]
        assert found["leaving"] == pytest.approx(below / length, abs=1e-9)
        assert found["factor"] == pytest.approx(np.linalg.norm(below) / length, abs=1e-9)
        assert found["after"] is None or found["after"] == pytest.approx(np.log10(np.linalg.norm(below)), abs=1e-9)
        values = np.linalg.svd(block, compute_uv=False)
        assert found["range"] == pytest.approx([values[-1], values[0]], abs=1e-9)
        products = [term["product"] for term in found["terms"]]
        assert [term["weight"] * term["value"] for term in found["terms"]] == products
        assert [term["value"] for term in found["terms"]] == found["arriving"]
        assert found["identity"] == (found["arriving"][component - 1] if settings["skip"] else 0)
        assert sum(products) + found["identity"] == pytest.approx(found["leaving"][component - 1], abs=1e-12)


@pytest.mark.parametrize(
    ("change", "want"),
    [
        ({"skip": True, "scale": 1}, "0"),  # I + J = 0
        ({"skip": True, "scale": 0.5}, "8.9\u00a0×\u00a010⁻¹⁶"),  # (1 − 0.5)^50
        ({"skip": False, "scale": 0.5}, "8.9\u00a0×\u00a010⁻¹⁶"),
        ({"skip": True, "scale": 0}, "1"),
        ({"skip": False, "scale": 0}, "0"),
        ({"skip": True, "scale": 1.5, "depth": 3}, "0.125"),
    ],
)
def test_known_chains(change, want):
    settings = {"depth": 50, "kind": "minus", "seed": 0} | change
    assert call(FIGURE, "powerText", [[call(FIGURE, "flow", [[settings, 2]])[0][0]]]) == [want]


def test_the_regimes_that_the_presets_name():
    """Medians at the input over 21 networks: what vanishes, stays and explodes does so."""
    median = {
        name: np.median(gradient_logs(state["depth"], state["scale"], state["chain"] == "skip", state["kind"], 0)[:, 0])
        for name, state in PRESETS.items()
        if state["chain"] != "both"
    }
    assert median["vanishes"] < -14
    assert abs(median["stays"]) < 0.3
    assert median["explodes"] > 6
    assert median["zero"] == -math.inf
    assert -2 < median["plain"] < 0
    largest = call(FIGURE, "inspect", [[{"depth": 50, "scale": 0.1, "skip": True, "kind": "linear", "seed": 0}, 0]])
    assert max(largest[0]["epsilons"]) < 1, "the lower bound of the preset that stays holds"


def test_presets_are_the_same_in_both_languages():
    assert call(FIGURE, "presetStates", [[]]) == [PRESETS]


def power(log: float) -> str:
    """Three digits between 0.001 and 10,000, else a mantissa of two digits; by Decimal."""
    value = Decimal(10) ** Decimal(log)
    if -3 <= log < 4:
        return f"{Context(prec=3, rounding=ROUND_HALF_UP).create_decimal(10**log).normalize():,f}"
    digits = Context(prec=2, rounding=ROUND_HALF_UP).create_decimal(value)
    mantissa, exponent = digits.scaleb(-digits.adjusted()), digits.adjusted()
    raised = str(exponent).translate(str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"))
    return f"10{raised}" if mantissa == 1 else f"{mantissa:.1f}\u00a0×\u00a010{raised}"


def test_written_powers():
    rng = np.random.default_rng(12)
    logs = [float(rng.uniform(-120, 40)) for _ in range(200)] + [float(rng.uniform(-3.5, 4.5)) for _ in range(200)]
    logs += [0, 1, 3, 4, -3, -4, -3.0001, 2.9999, 3.9999, 17, -17, math.log10(9.96e-9), math.log10(9.94e-9)]
    found = call(FIGURE, "powerText", [[log] for log in logs])
    assert found == [power(log) for log in logs]
    assert all(re.fullmatch(NUMBER, text) for text in found)
    assert call(FIGURE, "powerText", [[None]]) == ["0"]


def test_the_axis_covers_what_is_drawn_with_few_ticks():
    rng = np.random.default_rng(13)
    cases = [[[float(rng.uniform(-130, 0)), float(rng.uniform(0, 40))]] for _ in range(200)]
    cases += [[[float(rng.uniform(-1, 0)), float(rng.uniform(0, 1))]] for _ in range(20)]
    for (logs,), axis in zip(cases, call(FIGURE, "axisRange", cases), strict=True):
        assert axis["least"] <= min(logs) <= max(logs) <= axis["most"]
        assert axis["least"] > min(*logs, 0) - 2
        ticks = axis["ticks"]
        assert 0 in ticks
        assert 2 <= len(ticks) <= 8
        assert axis["least"] <= ticks[0] <= ticks[-1] <= axis["most"]
        assert len(set(np.diff(ticks))) == 1


def test_arrow_keys():
    known = [(1, "ArrowLeft", 1), (1, "ArrowRight", 2), (16, "ArrowDown", 16), (9, "ArrowUp", 8), (5, "Home", 1)]
    known += [(5, "End", 16), (5, "Enter", None)]
    assert call(FIGURE, "step", [[at, key] for at, key, _ in known]) == [want for *_, want in known]


def test_a_state_from_a_link_is_refused_in_words():
    good = GradientFlowExplorer().state()
    assert call(FIGURE, "fault", [[good]]) == [None]
    bad = [("depth", 0), ("depth", 101), ("depth", 2.5), ("scale", -0.1), ("scale", 1.6), ("scale", None)]
    bad += [("chain", "none"), ("kind", "toString"), ("opened", "both"), ("net", 42), ("layer", 0), ("component", 17)]
    for (key, _), said in zip(bad, call(FIGURE, "fault", [[good | {key: value}] for key, value in bad]), strict=True):
        assert said.startswith("The branch scale s" if key == "scale" else f"The {key}"), said


@pytest.mark.parametrize(("name", "limits"), LIMITS.items())
def test_traits_keep_their_limits(name, limits):
    figure = GradientFlowExplorer()
    for value in limits:
        setattr(figure, name, value)
        assert figure.state()[name] == value
    for value in (limits[0] - 1, limits[1] + 1, True):
        with pytest.raises(traitlets.TraitError, match=f"{name} must be a whole number"):
            setattr(figure, name, value)


def test_bad_arguments_are_refused_in_words():
    for value in (-0.1, 1.51, math.nan):
        with pytest.raises(traitlets.TraitError, match="scale must be a number from 0 to 1.5"):
            GradientFlowExplorer(scale=value)
    with pytest.raises(ValueError, match="skip must be True, False, or None"):
        GradientFlowExplorer(skip="both")
    with pytest.raises(ValueError, match="preset must be one of against, plain"):
        GradientFlowExplorer(preset="dies")
    with pytest.raises(traitlets.TraitError):
        GradientFlowExplorer(kind="cubic")
    with pytest.raises(ValueError, match='chain must be "plain" or "skip"'):
        GradientFlowExplorer().norms("both")


def test_presets_and_repr():
    assert repr(GradientFlowExplorer()) == "GradientFlowExplorer(depth=50, scale=0.5, skip=None, kind='linear', seed=0)"
    figure = GradientFlowExplorer(preset="zero", seed=4)
    assert repr(figure) == "GradientFlowExplorer(depth=50, scale=1, skip=True, kind='minus', seed=4)"
    assert (
        GradientFlowExplorer(skip=False, depth=7).state() | PRESETS["plain"]
        == GradientFlowExplorer(preset="plain").state()
    )


def test_the_fallback_says_what_the_figure_says():
    for figure in (
        GradientFlowExplorer(),
        GradientFlowExplorer(preset="zero"),
        GradientFlowExplorer(kind="relu", depth=9),
    ):
        names = ("plain", "skip") if figure.chain == "both" else (figure.chain,)
        cells = re.findall(r"<td>([^<]+)</td>", figure.fallback())
        for place, name in enumerate(names):
            state = {key: getattr(figure, key) for key in ("depth", "scale", "kind", "seed")} | {"skip": name == "skip"}
            found = call(FIGURE, "fan", [[state]])[0]
            logs = [found["median"][0], found["low"][0], found["high"][0], found["least"], found["most"]]
            median, low, high, least, most = call(FIGURE, "powerText", [[log] for log in logs])
            assert cells[place :: len(names)] == [median, f"{low} to {high}", f"{least} to {most}"]


def test_the_start_says_what_the_drive_expects():
    cells = re.findall(r"<td>([^<]+)</td>", GradientFlowExplorer().fallback())
    assert cells[:2] == ["2.1\u00a0×\u00a010⁻¹⁶", "151"]
