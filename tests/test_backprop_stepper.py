"""The backprop stepper: its JavaScript against torch.autograd in float64; its Python class."""

import html
import re

import numpy as np
import pytest
import torch
from js import call
from traitlets import TraitError

from cnnbook.figures.backprop_stepper import BackpropStepper

FIGURE = "backprop_stepper"
UPSTREAMS = ("mixed", "ones", "one_hot", "loss", "own")


def random_cases(seed: int, count: int = 250) -> list[dict]:
    """Whole-number cases of all sizes that the figure allows; `dout` has the output's shape."""
    rng, cases = np.random.default_rng(seed), []
    while len(cases) < count:
        image = rng.integers(-9, 10, (rng.integers(3, 6), rng.integers(3, 7)))
        kernel = rng.integers(-9, 10, rng.integers(1, 4, 2))
        stride, padding = int(rng.integers(1, 3)), int(rng.integers(0, 2))
        sides = zip(image.shape, kernel.shape, strict=True)
        shape = [len(range(0, n + 2 * padding - k + 1, stride)) for n, k in sides]
        dout = rng.integers(-9, 10, shape)
        case = {"x": image, "w": kernel, "b": rng.integers(-9, 10), "dout": dout}
        cases.append({name: value.tolist() for name, value in case.items()} | {"stride": stride, "padding": padding})
    return cases


def arguments(cases: list[dict], names: str, *more) -> list[list]:
    return [[case[name] for name in names.split()] + list(more) for case in cases]


def torch_output(case: dict, grad: bool = True):
    """The leaves and conv2d's output, all float64: x (1, 1, H, W), w (1, 1, Kh, Kw), b (1,)."""
    x = torch.tensor(case["x"], dtype=torch.float64)[None, None].requires_grad_(grad)
    w = torch.tensor(case["w"], dtype=torch.float64)[None, None].requires_grad_(grad)
    b = torch.tensor([case["b"]], dtype=torch.float64).requires_grad_(grad)
    return (x, w, b), torch.nn.functional.conv2d(x, w, b, stride=case["stride"], padding=case["padding"])


def torch_gradients(case: dict, dout=None) -> tuple[np.ndarray, np.ndarray, float]:
    leaves, out = torch_output(case)
    upstream = torch.tensor(case["dout"] if dout is None else dout, dtype=torch.float64)[None, None]
    dx, dw, db = torch.autograd.grad(out, leaves, upstream)
    return dx[0, 0].numpy(), dw[0, 0].numpy(), db.item()


def first_positions(case: dict, count: int) -> np.ndarray:
    """dOut with zeros after its first `count` numbers."""
    dout = np.array(case["dout"])
    return np.where(np.arange(dout.size).reshape(dout.shape) < count, dout, 0)


def test_random_cases_are_asymmetric_and_leave_something_over():
    cases = random_cases(0)
    assert sum(len(case["x"]) != len(case["x"][0]) for case in cases) > 120
    assert sum(len(case["w"]) != len(case["w"][0]) for case in cases) > 120
    left = [(len(c["x"]) + 2 * c["padding"] - len(c["w"])) % c["stride"] for c in cases]
    assert sum(left) > 40
    assert sum(case["padding"] for case in cases) > 80


def test_forward_is_torchs_conv2d():
    cases = random_cases(1)
    for case, out in zip(cases, call(FIGURE, "forward", arguments(cases, "x w b stride padding")), strict=True):
        np.testing.assert_array_equal(out, torch_output(case, grad=False)[1][0, 0].numpy())


def test_products_add_up_to_the_output_and_know_what_is_padding():
    cases = random_cases(2)
    last = [[len(case["dout"]) - 1, len(case["dout"][0]) - 1] for case in cases]
    given = [[c["x"], c["w"], *at, c["stride"], c["padding"]] for c, at in zip(cases, last, strict=True)]
    for case, terms in zip(cases, call(FIGURE, "products", given), strict=True):
        ones = torch_output(
            case | {"x": np.ones_like(case["x"]).tolist(), "w": np.ones_like(case["w"]).tolist(), "b": 0}
        )
        assert sum(term["product"] for term in terms) + case["b"] == torch_output(case)[1][0, 0, -1, -1].item()
        assert sum(term["inside"] for term in terms) == ones[1][0, 0, -1, -1].item()
        assert [case["w"][term["u"]][term["v"]] for term in terms] == [term["weight"] for term in terms]


def test_gradients_are_those_of_autograd():
    cases = random_cases(3)
    for case, found in zip(cases, call(FIGURE, "gradients", arguments(cases, "x w dout stride padding")), strict=True):
        for name, wanted in zip(("dx", "dw", "db"), torch_gradients(case), strict=True):
            np.testing.assert_array_equal(found[name], wanted)


def test_running_totals_are_those_of_autograd_with_the_rest_of_dout_zero():
    cases, rng = random_cases(4), np.random.default_rng(40)
    counts = [int(rng.integers(0, np.size(case["dout"]) + 1)) for case in cases]
    given = [[c["x"], c["w"], c["dout"], n, c["stride"], c["padding"]] for c, n in zip(cases, counts, strict=True)]
    assert 0 in counts
    for case, count, found in zip(cases, counts, call(FIGURE, "gradientsAfter", given), strict=True):
        for name, wanted in zip(("dx", "dw", "db"), torch_gradients(case, first_positions(case, count)), strict=True):
            np.testing.assert_array_equal(found[name], wanted)


def test_padding_receives_the_gradient_that_is_thrown_away():
    cases = random_cases(5)
    given = [[c["x"], c["w"], c["dout"], np.size(c["dout"]), c["stride"], c["padding"]] for c in cases]
    for case, found in zip(cases, call(FIGURE, "gradientsAfter", given), strict=True):
        padded = np.pad(case["x"], case["padding"]).tolist()
        wanted = torch_gradients(case | {"x": padded, "padding": 0})[0]
        np.testing.assert_array_equal(found["padded"], wanted)


def test_one_position_changes_what_autograd_says_for_that_output_alone():
    cases, rng = random_cases(6), np.random.default_rng(60)
    spots = [[int(rng.integers(n)) for n in np.shape(case["dout"])] for case in cases]
    given = [[c["x"], c["w"], c["dout"], *at, c["stride"], c["padding"]] for c, at in zip(cases, spots, strict=True)]
    for case, (row, col), found in zip(cases, spots, call(FIGURE, "contributions", given), strict=True):
        alone = np.zeros_like(case["dout"])
        alone[row, col] = case["dout"][row][col]
        dx, dw, db = torch_gradients(case, alone)
        assert found["toBias"] == db == found["g"]
        got = np.zeros_like(dx)
        for cell in found["cells"]:
            assert cell["toWeight"] == dw[cell["u"], cell["v"]]
            assert cell["inside"] == (0 <= cell["y"] < len(got) and 0 <= cell["x"] < len(got[0]))
            if cell["inside"]:
                got[cell["y"], cell["x"]] += cell["toPixel"]
        np.testing.assert_array_equal(got, dx)


def test_terms_of_a_weight_are_every_output_times_its_jacobian():
    cases, rng = random_cases(7), np.random.default_rng(70)
    spots = [[int(rng.integers(n)) for n in np.shape(case["w"])] for case in cases]
    given = [[c["x"], c["dout"], *at, c["stride"], c["padding"]] for c, at in zip(cases, spots, strict=True)]
    for case, at, terms in zip(cases, spots, call(FIGURE, "weightTerms", given), strict=True):
        (_, w, _), out = torch_output(case)
        jacobian = [torch.autograd.grad(y, w, retain_graph=True)[0][0, 0][tuple(at)].item() for y in out.flatten()]
        assert [term["factor"] for term in terms] == jacobian
        assert [term["g"] for term in terms] == np.ravel(case["dout"]).tolist()
        assert sum(term["product"] for term in terms) == torch_gradients(case)[1][tuple(at)]
        inside = torch_output(case | {"x": np.ones_like(case["x"]).tolist()})
        reads = [
            torch.autograd.grad(y, inside[0][1], retain_graph=True)[0][0, 0][tuple(at)] for y in inside[1].flatten()
        ]
        assert [term["inside"] for term in terms] == [bool(value) for value in reads]


def test_terms_of_a_pixel_are_the_outputs_that_read_it():
    cases, rng = random_cases(8), np.random.default_rng(80)
    spots = [[int(rng.integers(n)) for n in np.shape(case["x"])] for case in cases]
    given = [[c["w"], c["dout"], *at, c["stride"], c["padding"]] for c, at in zip(cases, spots, strict=True)]
    unread = 0
    for case, at, terms in zip(cases, spots, call(FIGURE, "pixelTerms", given), strict=True):
        numbered = (1 + np.arange(np.size(case["w"]))).reshape(np.shape(case["w"])).tolist()  # no weight is 0
        (x, _, _), out = torch_output(case | {"w": numbered})
        reads = [torch.autograd.grad(y, x, retain_graph=True)[0][0, 0][tuple(at)].item() for y in out.flatten()]
        wanted = [
            (divmod(place, len(out[0, 0][0])), divmod(int(tap) - 1, len(numbered[0])))
            for place, tap in enumerate(reads)
            if tap
        ]
        assert [((term["row"], term["col"]), (term["u"], term["v"])) for term in terms] == wanted
        assert sum(term["product"] for term in terms) == torch_gradients(case)[0][tuple(at)]
        unread += not terms
    assert unread > 5  # left over by the stride


def test_terms_of_the_bias_are_all_of_dout():
    cases = random_cases(9)
    for case, terms in zip(cases, call(FIGURE, "biasTerms", arguments(cases, "dout")), strict=True):
        assert [term["product"] for term in terms] == np.ravel(case["dout"]).tolist()
        assert sum(term["product"] for term in terms) == torch_gradients(case)[2]


def test_the_two_convolutions_are_the_gradients():
    cases = random_cases(10)
    for_dw = [[c["x"], c["dout"], *np.shape(c["w"]), c["stride"], c["padding"]] for c in cases]
    for_dx = [[c["w"], c["dout"], *np.shape(c["x"]), c["stride"], c["padding"]] for c in cases]
    by_correlation = call(FIGURE, "weightGradientAsCorrelation", for_dw)
    by_convolution = call(FIGURE, "pixelGradientAsConvolution", for_dx)
    for case, dw, dx in zip(cases, by_correlation, by_convolution, strict=True):
        np.testing.assert_array_equal(dx, torch_gradients(case)[0])
        np.testing.assert_array_equal(dw, torch_gradients(case)[1])


@pytest.mark.parametrize("target", [None, 2])
def test_numeric_gradient_is_that_of_autograd(target):
    cases, rng = random_cases(11), np.random.default_rng(110)
    given, wanted = [], []
    for case in cases:
        index = int(rng.integers(3))
        leaves, out = torch_output(case)
        upstream = torch.tensor(case["dout"], dtype=torch.float64)
        loss = (out[0, 0] * upstream).sum() if target is None else ((out - target) ** 2).sum() / 2
        grad = np.atleast_2d(torch.autograd.grad(loss, leaves[index])[0].numpy().squeeze((0, 1) if index < 2 else ()))
        at = [int(rng.integers(n)) for n in grad.shape]
        toward = {"dout": case["dout"], "target": target}
        settings = [toward, case["stride"], case["padding"], ("dX", "dW", "db")[index], *at]
        given.append([case["x"], case["w"], case["b"], *settings])
        wanted.append(grad[tuple(at)])
    np.testing.assert_allclose(call(FIGURE, "numericGradient", given), wanted, rtol=1e-8, atol=1e-7)


def test_upstream_gradients():
    cases = random_cases(12, 220)
    outs = [torch_output(case)[1][0, 0] for case in cases]
    given = [[name, out.tolist(), case["dout"]] for case, out in zip(cases, outs, strict=True) for name in UPSTREAMS]
    found = iter(call(FIGURE, "upstreamGradient", given))
    for case, out in zip(cases, outs, strict=True):
        mixed, ones, hot, loss, own = (np.array(next(found)) for _ in UPSTREAMS)
        leaf = out.detach().requires_grad_()
        (wanted,) = torch.autograd.grad(((leaf - 2) ** 2).sum() / 2, leaf)
        np.testing.assert_array_equal(loss, wanted.numpy())
        np.testing.assert_array_equal(ones, np.ones(out.shape))
        assert np.flatnonzero(hot).tolist() == [out.shape[0] // 2 * out.shape[1] + out.shape[1] // 2]
        assert hot.sum() == 1
        assert mixed.ravel()[:7].tolist() == [1, -2, 2, 0, -1, 3, -3][: mixed.size]
        np.testing.assert_array_equal(own, case["dout"])
    assert call(FIGURE, "upstreamGradient", [["own", [[0, 0, 0]] * 2, [[5], [6], [7]]]]) == [[[5, 0, 0], [6, 0, 0]]]


def test_words():
    assert call(FIGURE, "timesText", [[3, -2], [-1, 0]]) == ["3×(−2)", "(−1)×0"]
    assert call(FIGURE, "updateText", [[3, -2], [-4, 4]]) == ["3 + (−2) = 1", "−4 + 4 = 0"]
    assert call(FIGURE, "fixed", [[-0.00001], [1234.5], [-2]]) == ["0.0000", "1,234.5000", "−2.0000"]
    assert call(FIGURE, "parseCell", [["-9"], ["−3"], [" 4 "], ["10"], ["1.5"], ["x"], [""]]) == [
        -9,
        -3,
        4,
        *[None] * 4,
    ]
    read = {"row": 0, "col": 1, "inside": True}
    said = call(FIGURE, "sourcesText", [["dX", [read], 9], ["dX", [], 9], ["dW", [read, {**read, "inside": False}], 2]])
    assert said == [
        "1 of 9 outputs contributed: [0, 1]. The other 8 do not read this pixel.",
        "No output reads this pixel, so no gradient reaches it.",
        "1 of 2 outputs contributed: [0, 1]. The other 1 put this weight on padding, where X is 0.",
    ]


BAD_TABLES = [None, 3, "x", [[1, 2], [3]], [["a"] * 3] * 3, [[10] * 3] * 3, [[1.5] * 3] * 3, [[1] * 9] * 9, [[]] * 4]
BAD = [("stride", 0), ("stride", 3), ("padding", 2), ("padding", -1), ("bias", 10), ("bias", 1.5), ("step", -1)]


def test_a_state_from_a_bad_link_is_refused_in_words():
    start = BackpropStepper().state()
    good = [start, start | {"stride": 2, "padding": 1}, start | {"dout": [[-999]], "upstream": "own"}]
    assert call(FIGURE, "fault", [[state] for state in good]) == [None] * 3
    bad = [(name, value) for name in ("image", "kernel") for value in BAD_TABLES] + BAD
    bad += [("upstream", "x"), ("phase", None), ("opened", "dZ"), ("dout", [[1000]]), ("dout", "x")]
    for (name, _), said in zip(
        bad, call(FIGURE, "fault", [[start | {name: value}] for name, value in bad]), strict=True
    ):
        assert re.search(rf"\b{name}\b.*must|must.*\b{name}\b", said or ""), (name, said)


@pytest.mark.parametrize("value", BAD_TABLES[1:])
def test_python_refuses_bad_tables_in_words(value):
    figure = BackpropStepper()
    for name in ("image", "kernel"):
        with pytest.raises(TraitError, match=name):
            setattr(figure, name, value)
    assert figure.kernel == [[1, -1, 2], [0, 3, -2]]


@pytest.mark.parametrize(("name", "value"), [*BAD, ("upstream", "x"), ("phase", "sideways"), ("opened", "dZ")])
def test_python_refuses_bad_settings(name, value):
    with pytest.raises(TraitError, match=name):
        BackpropStepper(**{name: value})


def test_python_refuses_a_dout_of_another_shape():
    with pytest.raises(TraitError, match="dout must have the shape of the output, 3 × 3, got 2 × 3"):
        BackpropStepper(dout=[[1, 2, 3], [4, 5, 6]])
    with pytest.raises(TraitError, match="shape of the output"):
        BackpropStepper(upstream="own")
    figure = BackpropStepper(dout=np.eye(3), stride=1)
    figure.stride = 2  # the output is 2 × 2 now: cut, not refused
    assert figure.upstream_gradient().tolist() == [[1, 0], [0, 1]]


def test_python_gradients_are_those_of_autograd():
    for case in random_cases(13, 120):
        figure = BackpropStepper(case["x"], case["w"], case["b"], case["dout"], case["stride"], case["padding"])
        np.testing.assert_array_equal(figure.output(), torch_output(case)[1][0, 0].detach().numpy())
        for found, wanted in zip(figure.gradients(), torch_gradients(case), strict=True):
            np.testing.assert_array_equal(found, wanted)


@pytest.mark.parametrize("name", UPSTREAMS)
def test_python_upstream_gradients_are_those_of_the_javascript(name):
    cases = random_cases(14, 40)
    given = {"upstream": name}
    figures = [BackpropStepper(c["x"], c["w"], c["b"], c["dout"], c["stride"], c["padding"], **given) for c in cases]
    found = call(FIGURE, "upstreamGradient", [[name, f.output().tolist(), f.dout] for f in figures])
    assert found == [figure.upstream_gradient().tolist() for figure in figures]


def tables(text: str) -> dict[str, list[list[int]]]:
    found = re.findall(r"<table><caption>(.*?)</caption>(.*?)</table>", text)
    rows = {name: [re.findall(r"<td>(.*?)</td>", row) for row in body.split("</tr>")[:-1]] for name, body in found}
    return {name: [[int(cell.replace("−", "-")) for cell in row] for row in body] for name, body in rows.items()}


def test_fallback_says_what_the_figure_says():
    text = BackpropStepper().fallback()
    shown = tables(text)
    case = {"x": shown["Image X"], "w": shown["Kernel W"], "b": 0, "stride": 1, "padding": 0}
    case["dout"] = shown["Upstream gradient dOut"]
    dx, dw, db = torch_gradients(case)
    assert shown["Output"] == [[21, -10, 7], [1, 5, 8], [5, -4, 8]]
    assert case["dout"] == [[1, -2, 2], [0, -1, 3], [-3, 1, -2]]
    np.testing.assert_array_equal(shown["dX"], dx)
    np.testing.assert_array_equal(shown["dW"], dw)
    assert f"<p>db = −{abs(int(db))}</p>" in text
    assert "dW[1, 1] = 1×4 + (−2)×(−2) + 2×0 + 0×3 + (−1)×1 + 3×2 + (−3)×2 + 1×0 + (−2)×5 = −3</p>" in text


def test_fallback_opens_the_chosen_weight():
    text = BackpropStepper(stride=2, padding=1, dout="ones", bias=-3, row=9, col=0).fallback()
    assert "dW[1, 0] = 1×0 + 1×0 + 1×(−1) + 1×0 + 1×3 + 1×2 + 1×0 + 1×0 + 1×0 = 4</p>" in text
    assert "Bias −3, stride 2, zero padding 1." in text


def test_repr_is_stable_and_the_page_carries_the_state():
    figure = BackpropStepper(dout="ones", stride=2)
    assert repr(figure) == "BackpropStepper(4×5 image, 2×3 kernel, dout='ones', stride=2, padding=0)"
    page = figure._repr_mimebundle_()[0]["text/html"]
    assert page.startswith('<div data-figure="backprop_stepper" data-state="')
    assert '"upstream": "ones"' in html.unescape(page)
