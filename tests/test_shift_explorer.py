"""The shift explorer: its JavaScript against torch and NumPy; its Python class."""

import re

import numpy as np
import pytest
import torch
from js import call, errors
from torch.nn import functional as F
from traitlets import TraitError

from cnnbook.data.mnist import COMMITTED
from cnnbook.figures import shift_explorer
from cnnbook.figures.shift_explorer import KERNELS, ShiftExplorer, draw_picture

FIGURE = "shift_explorer"
MODES = ("zero", "circular")
BINOMIAL = np.outer([1, 2, 1], [1, 2, 1]) / 16


def some_map(rng, least: int = 4, most: int = 12) -> np.ndarray:
    """Odd and even sides, mostly unequal, negative values."""
    return rng.normal(size=rng.integers(least, most + 1, 2)).round(2)


def tensor(array) -> torch.Tensor:
    return torch.tensor(np.asarray(array), dtype=torch.float64)[None, None]


def pad(image: torch.Tensor, top: int, left: int, mode: str) -> torch.Tensor:
    return F.pad(image, (left, left, top, top), mode="circular" if mode == "circular" else "constant")


def torch_shift(image, dy: int, dx: int, mode: str) -> np.ndarray:
    if mode == "circular":
        return torch.roll(tensor(image)[0, 0], (dy, dx), (0, 1)).numpy()
    (rows, cols), up, left = np.shape(image), abs(dy), abs(dx)
    padded = F.pad(tensor(image), (left, left, up, up))[0, 0].numpy()
    return padded[up - dy :, left - dx :][:rows, :cols]


def torch_correlate(image, kernel, stride: int, mode: str) -> np.ndarray:
    rows, cols = np.shape(kernel)
    padded = pad(tensor(image), rows // 2, cols // 2, mode)
    return F.conv2d(padded, tensor(kernel), stride=stride)[0, 0].numpy()


def torch_blur_pool(image, mode: str) -> np.ndarray:
    edged = F.pad(tensor(image), (0, 1, 0, 1), mode="circular") if mode == "circular" else tensor(image)
    largest = F.max_pool2d(edged, 2, stride=1)
    return F.conv2d(pad(largest, 1, 1, mode), tensor(BINOMIAL), stride=2)[0, 0].numpy()


def torch_pool(image, pooling: str, mode: str) -> np.ndarray:
    pools = {
        "none": lambda: np.asarray(image),
        "max": lambda: F.max_pool2d(tensor(image), 2)[0, 0].numpy(),
        "avg": lambda: F.avg_pool2d(tensor(image), 2)[0, 0].numpy(),
        "blur": lambda: torch_blur_pool(image, mode),
    }
    return pools[pooling]()


def agree(found: list, wanted: list, exactly: bool = False) -> None:
    for one, other in zip(found, wanted, strict=True):
        assert np.shape(one) == np.shape(other)
        np.testing.assert_allclose(one, other, rtol=0, atol=0 if exactly else 1e-12)


def test_shift_is_torchs_roll_or_pad():
    rng, cases = np.random.default_rng(0), []
    for index in range(300):
        image = some_map(rng)
        dy, dx = (int(rng.integers(-side, side + 1)) for side in image.shape)
        cases.append([image.tolist(), dy, dx, MODES[index % 2]])
    agree(call(FIGURE, "shift", cases), [torch_shift(*case) for case in cases], exactly=True)
    assert sum(len(image) != len(image[0]) for image, *_ in cases) > 200
    assert "zero or circular" in errors(FIGURE, "shift", [[[[1]], 0, 0, "reflect"]])[0]


def test_correlate_is_torchs_conv2d():
    rng, cases = np.random.default_rng(1), []
    for index in range(300):
        kernel = rng.normal(size=rng.choice([1, 3, 5], 2)).round(2)
        cases.append([some_map(rng).tolist(), kernel.tolist(), int(rng.integers(1, 4)), MODES[index % 2]])
    agree(call(FIGURE, "correlate", cases), [torch_correlate(*case) for case in cases])
    assert sum(len(kernel) != len(kernel[0]) for _, kernel, *_ in cases) > 100
    assert sum((len(image) - 1) % stride > 0 for image, _, stride, _ in cases) > 50
    assert "odd sides, got 2 × 3" in errors(FIGURE, "correlate", [[[[1]], np.ones((2, 3)).tolist()]])[0]


def test_products_add_up_to_the_convolution():
    rng, cases, wanted = np.random.default_rng(2), [], []
    for index in range(240):
        image, kernel = some_map(rng), rng.normal(size=rng.choice([1, 3, 5], 2)).round(2)
        stride, mode = int(rng.integers(1, 4)), MODES[index % 2]
        output = torch_correlate(image, kernel, stride, mode)
        row, col = (int(rng.integers(side)) for side in output.shape)
        cases.append([image.tolist(), kernel.tolist(), row, col, stride, mode])
        real = pad(torch.ones_like(tensor(image)), len(kernel) // 2, len(kernel[0]) // 2, mode)[0, 0].numpy()
        inside = real[row * stride :, col * stride :][: len(kernel), : len(kernel[0])] > 0
        wanted.append((output[row, col], kernel.ravel().tolist(), inside.ravel().tolist()))
    for terms, (total, weights, inside) in zip(call(FIGURE, "products", cases), wanted, strict=True):
        assert sum(term["product"] for term in terms) == pytest.approx(total, abs=1e-12)
        assert [term["weight"] for term in terms] == weights
        assert [term["inside"] for term in terms] == inside
        assert all(term["product"] == term["value"] * term["weight"] for term in terms)


def test_relu():
    maps = [some_map(np.random.default_rng(seed)) for seed in range(200)]
    agree(call(FIGURE, "relu", [[each.tolist()] for each in maps]), [F.relu(tensor(each))[0, 0] for each in maps], True)


def test_pools_are_torchs():
    rng = np.random.default_rng(3)
    cases = [[some_map(rng).tolist(), *rng.integers(1, 5, 2).tolist()] for _ in range(250)]
    for name, pool in (("maxPool", F.max_pool2d), ("avgPool", F.avg_pool2d)):
        wanted = [pool(tensor(image), size, stride=stride)[0, 0].numpy() for image, size, stride in cases]
        agree(call(FIGURE, name, cases), wanted)
        agree(
            call(FIGURE, name, [[image] for image, *_ in cases]), [pool(tensor(c[0]), 2)[0, 0].numpy() for c in cases]
        )
        assert "2 × 2 window does not fit into a map of 1 × 3" in errors(FIGURE, name, [[[[1, 2, 3]]]])[0]
    assert sum((len(image) - size) % stride > 0 for image, size, stride in cases) > 50


def test_blur_pool_is_zhangs():
    rng = np.random.default_rng(4)
    cases = [[some_map(rng).tolist(), MODES[index % 2]] for index in range(300)]
    agree(call(FIGURE, "blurPool", cases), [torch_blur_pool(*case) for case in cases])


def test_pool_terms_add_up_to_the_pooled_value():
    rng, cases, wanted = np.random.default_rng(5), [], []
    for index in range(320):
        image, mode = np.maximum(0, some_map(rng)), MODES[index % 2]
        pooling = ("none", "max", "avg", "blur")[index // 2 % 4]
        pooled = torch_pool(image, pooling, mode)
        row, col = (int(rng.integers(side)) for side in pooled.shape)
        cases.append([image.tolist(), row, col, pooling, mode])
        wanted.append(pooled[row, col])
    for case, terms, total in zip(cases, call(FIGURE, "poolTerms", cases), wanted, strict=True):
        assert sum(term["weight"] * term["value"] for term in terms) == pytest.approx(total, abs=1e-12)
        assert all(term["row"] is None or case[0][term["row"]][term["col"]] == term["value"] for term in terms)


def test_global_average_is_the_mean():
    maps = [some_map(np.random.default_rng(seed), 1) for seed in range(200)]
    found = call(FIGURE, "globalAverage", [[each.tolist()] for each in maps])
    np.testing.assert_allclose(found, [tensor(each).mean() for each in maps], atol=1e-12)


def test_survivors():
    rng, cases, wanted = np.random.default_rng(6), [], []
    for _ in range(250):
        one = np.maximum(0, some_map(rng))
        other = np.where(rng.random(one.shape) < 0.5, one, one + rng.normal(size=one.shape))
        other = other + rng.choice([0, 1e-10, 1e-6], one.shape)
        same = np.isclose(one, other, rtol=0, atol=1e-9)
        zeros = int((np.maximum(abs(one), abs(other)) <= 1e-9).sum())
        cases.append([one.tolist(), other.tolist()])
        wanted.append({"same": int(same.sum()), "zeros": zeros, "total": one.size, "share": same.mean()})
    assert call(FIGURE, "survivors", cases) == wanted
    assert sum(found["zeros"] for found in wanted) > 500


def test_a_max_pool_keeps_a_third_of_noise():
    """The max of 2 × 2 stays if the largest of all 6 values is one of the 2 shared: 1/3 (33.4 % seen)."""
    noise = np.random.default_rng(7).normal(size=(80, 28, 28))
    images = [[image.tolist()] for image in noise]
    moved = [[image] for image in call(FIGURE, "shift", [[*image, 0, 1, "circular"] for image in images])]
    pairs = zip(call(FIGURE, "maxPool", images), call(FIGURE, "maxPool", moved), strict=True)
    kept = np.mean([found["share"] for found in call(FIGURE, "survivors", [list(pair) for pair in pairs])])
    assert kept == pytest.approx(1 / 3, abs=0.01)


def test_equivariance_is_exact_where_it_must_be():
    """Circular and stride 1, any move: 0. Stride 2 and an even move of an even side: 0, with the map moved by half."""
    rng = np.random.default_rng(8)
    for stride, count in ((1, 200), (2, 200)):
        images = [rng.normal(size=2 * rng.integers(2, 7, 2) // (3 - stride) * (3 - stride)) for _ in range(count)]
        moves = [[int(move) * stride for move in rng.integers(-4, 5, 2)] for _ in range(count)]
        kernels = [rng.normal(size=rng.choice([1, 3], 2)).tolist() for _ in range(count)]
        moved = call(FIGURE, "shift", [[x.tolist(), *m, "circular"] for x, m in zip(images, moves, strict=True)])
        after = call(FIGURE, "correlate", [[x, k, stride, "circular"] for x, k in zip(moved, kernels, strict=True)])
        before = call(
            FIGURE, "correlate", [[x.tolist(), k, stride, "circular"] for x, k in zip(images, kernels, strict=True)]
        )
        cases = [[a, b, *m, stride, "circular"] for a, b, m in zip(after, before, moves, strict=True)]
        for found, (dy, dx) in zip(call(FIGURE, "equivarianceError", cases), moves, strict=True):
            assert found["error"] <= 1e-12
            assert found["differ"] == 0
            assert found["whole"]
            assert (found["dy"], found["dx"]) == (dy // stride, dx // stride)


def test_equivariance_error_is_that_of_the_best_whole_shift():
    rng, cases, wanted = np.random.default_rng(9), [], []
    for index in range(300):
        before = some_map(rng, 3, 8)
        after = rng.normal(size=before.shape).round(2)
        dy, dx, step, mode = *rng.integers(-8, 9, 2).tolist(), int(rng.choice([1, 2, 4])), MODES[index % 2]
        downs, rights = ([int(np.floor(move / step)), int(np.ceil(move / step))] for move in (dy, dx))
        tries = [(np.abs(after - torch_shift(before, y, x, mode)).max(), y, x) for y in downs for x in rights]
        cases.append([after.tolist(), before.tolist(), dy, dx, step, mode])
        wanted.append((min(tries, key=lambda each: each[0]), dy % step == 0 and dx % step == 0))
    for case, found, (best, whole) in zip(cases, call(FIGURE, "equivarianceError", cases), wanted, strict=True):
        assert (found["error"], found["dy"], found["dx"]) == pytest.approx(best, abs=1e-12)
        assert found["whole"] == whole
        gap = np.abs(np.array(case[0]) - torch_shift(case[1], found["dy"], found["dx"], case[5]))
        assert gap[found["row"], found["col"]] == gap.max()
        assert found["differ"] == (gap > 1e-9).sum()


def random_figures(seed: int, count: int) -> list[ShiftExplorer]:
    """Every setting, drawn pictures and own images, sides odd and even."""
    rng, figures = np.random.default_rng(seed), []
    for _ in range(count):
        own = rng.random(rng.integers(8, 20, 2)).round(2)
        figure = ShiftExplorer(
            own,
            kernel=str(rng.choice(list(KERNELS))),
            padding=str(rng.choice(MODES)),
            stride=int(rng.integers(1, 3)),
            pooling=str(rng.choice(["none", "max", "avg", "blur"])),
            dx=int(rng.integers(-8, 9)),
            dy=int(rng.integers(-8, 9)),
        )
        figure.picture = str(rng.choice(["given", "given", "scratch", "checker", "noise"]))
        figures.append(figure)
    return figures


def test_measure_is_that_of_the_python_class_and_of_torch():
    figures = random_figures(10, 220)
    for figure, found in zip(figures, call(FIGURE, "measure", [[f.state()] for f in figures]), strict=True):
        settings = figure.pooling, figure.padding
        kernel, image = KERNELS[figure.kernel], torch_shift(figure.shown(), figure.dy, figure.dx, figure.padding)
        feature = np.maximum(0, torch_correlate(image, kernel, figure.stride, figure.padding))
        agree([found["after"][level] for level in ("image", "feature")], [image, feature])
        agree([found["after"]["pooled"]], [torch_pool(feature, *settings)])
        wanted = figure.measure()
        kept, wrong = found["kept"]["pooled"], found["errors"]
        assert (kept["same"], kept["zeros"], kept["total"]) == (wanted["same"], wanted["zeros"], wanted["total"])
        assert wrong["feature"]["error"] == pytest.approx(wanted["feature_error"], abs=1e-9)
        assert wrong["pooled"]["error"] == pytest.approx(wanted["pooled_error"], abs=1e-9)
        assert found["after"]["average"] == pytest.approx(wanted["average"], abs=1e-12)
        assert found["before"]["average"] == pytest.approx(wanted["average_before"], abs=1e-12)


def test_the_strip_is_the_figure_at_nine_moves():
    figures = random_figures(11, 30)
    for figure, found in zip(figures, call(FIGURE, "measure", [[f.state()] for f in figures]), strict=True):
        direction = -1 if figure.dx < 0 else 1
        assert [each["dx"] for each in found["strip"]] == [direction * size for size in range(9)]
        for each in found["strip"]:
            wanted = figure.measure(each["dx"])
            assert each["share"] == wanted["same"] / wanted["total"]
            assert each["alive"] == pytest.approx((wanted["same"] - wanted["zeros"]) / wanted["total"])
            assert each["error"] == pytest.approx(wanted["pooled_error"], abs=1e-9)


def test_what_the_figure_teaches():
    start = ShiftExplorer().state()
    states = [{**start, "padding": "circular", "dx": dx, "stride": stride} for dx in (1, 2, 3, 4) for stride in (1, 2)]
    found = call(FIGURE, "measure", [[state] for state in states])
    exact = [(s["dx"], s["stride"]) for s, f in zip(states, found, strict=True) if f["errors"]["feature"]["error"] == 0]
    assert exact == [(1, 1), (2, 1), (2, 2), (3, 1), (4, 1), (4, 2)]
    pooled = [(s["dx"], s["stride"]) for s, f in zip(states, found, strict=True) if f["errors"]["pooled"]["error"] == 0]
    assert pooled == [(2, 1), (4, 1), (4, 2)]
    moved = {**start, "picture": "noise", "padding": "circular", "kernel": "identity"}
    sharp, blurred = call(FIGURE, "measure", [[moved], [{**moved, "pooling": "blur"}]])
    assert sharp["kept"]["pooled"]["share"] == pytest.approx(1 / 3, abs=0.1)
    assert blurred["errors"]["pooled"]["error"] < sharp["errors"]["pooled"]["error"]


def test_kernels_and_pictures_are_those_of_the_python_class():
    sizes = [(8, 8), (28, 28), (9, 14), (32, 11)]
    for name in ("scratch", "checker", "noise"):
        agree(call(FIGURE, "drawPicture", [[name, *size] for size in sizes]), [draw_picture(name, *s) for s in sizes])
    noise = draw_picture("noise", 28, 28)
    assert noise.min() >= 0
    assert noise.max() < 1
    assert noise.mean() == pytest.approx(0.5, abs=0.03)
    impulse = {**ShiftExplorer(np.pad([[1.0]], 4)).state(), "dx": 0}
    for name, kernel in KERNELS.items():
        found = call(FIGURE, "measure", [[{**impulse, "kernel": name}]])[0]["after"]["feature"]
        np.testing.assert_allclose(np.array(found)[3:6, 3:6], np.maximum(0, np.flip(kernel)), atol=1e-12)


def test_numbers_in_words():
    assert call(FIGURE, "short", [[0], [1e-12], [1e-5], [-1e-5], [3.59], [-0.0391]]) == [
        *("0", "0", "< 0.001", "> −0.001", "3.59", "−0.039")
    ]
    assert call(FIGURE, "brief", [[0], [1e-12], [0.001], [1.179], [2.6]]) == ["0", "0", "<.01", "1.18", "2.6"]
    assert call(FIGURE, "equals", [[8], [-0.25], [1 / 3], [0.1 + 0.2]]) == ["= 8", "= −0.25", "≈ 0.333", "= 0.3"]
    assert call(FIGURE, "moveText", [[0, 1], [-2, -3], [1, 0]]) == ["1 right", "3 left and 2 up", "1 down"]
    error = {"error": 2, "whole": True, "dy": 0, "dx": 1, "differ": 3}
    said = call(FIGURE, "errorText", [[error, 9], [{**error, "whole": False}, 9], [{**error, "error": 0}, 9]])
    assert said[0] == "Map moved 1 right: 3 of 9 values differ."
    assert said[1] == "No whole shift matches; best: 1 right. 3 of 9 values differ."
    assert said[2] == "Exact: every value agrees with the map moved 1 right."


BAD_IMAGES = [
    None,
    3,
    "x",
    [[0.5] * 7] * 8,
    [[0.5] * 33] * 8,
    [[0.5] * 8] * 7 + [[0.5]],
    [[2] * 8] * 8,
    [["a"] * 8] * 8,
]
BAD_SETTINGS = [
    ("stride", 3),
    ("dx", 9),
    ("dy", -9),
    ("padding", "reflect"),
    ("pooling", "min"),
    ("kernel", "fold"),
]


def test_a_state_from_a_bad_link_is_refused_in_words():
    start = ShiftExplorer().state()
    good = [start, {**start, "stride": 2, "picture": "noise"}, {**start, "image": [[0, 1] * 4] * 9}]
    assert call(FIGURE, "fault", [[state] for state in good]) == [None] * 3
    bad = [{**start, "image": image} for image in BAD_IMAGES] + [{**start, name: value} for name, value in BAD_SETTINGS]
    bad += [
        {**start, "dx": 0.5},
        {**start, "kernel": "toString"},
        {**start, "row": -1},
        {**start, "opened": "x"},
        {**start, "compare": None},
    ]
    for state, text in zip(bad, call(FIGURE, "fault", [[state] for state in bad]), strict=True):
        assert re.search(r"must (be|have|lie)", text), state


@pytest.mark.parametrize("image", [image for image in BAD_IMAGES if image not in (None, "x")])
def test_python_refuses_bad_images_in_words(image):
    with pytest.raises(TraitError, match="image must"):
        ShiftExplorer(image)
    with pytest.raises(TraitError, match="picture"):
        ShiftExplorer("x")
    with pytest.raises(TraitError, match="divide 8-bit values by 255"):
        ShiftExplorer(np.full((28, 28), 255, np.uint8))


@pytest.mark.parametrize(("name", "value"), [*BAD_SETTINGS, ("stride", True), ("stride", 1.5), ("dx", "1")])
def test_python_refuses_bad_settings_and_keeps_its_state(name, value):
    with pytest.raises(TraitError, match=name):
        ShiftExplorer(**{name: value})
    figure = ShiftExplorer()
    before = figure.state()
    with pytest.raises(TraitError, match=name):
        setattr(figure, name, value)
    assert figure.state() == before


def test_python_state_and_repr(capsys):
    figure = ShiftExplorer()
    words = "kernel='sobel_x', padding='zero', stride=1, pooling='max', dx=1, dy=0)"
    assert repr(figure) == f"ShiftExplorer(28×28 image, {words}"
    assert repr(ShiftExplorer("noise")) == f"ShiftExplorer('noise', {words}"
    assert figure.caption == "MNIST digit"
    with np.load(COMMITTED) as archive:
        assert archive["test_labels"][shift_explorer.DIGIT] == 4
        np.testing.assert_allclose(figure.image, archive["test_images"][shift_explorer.DIGIT] / 255, atol=0.005)
    figure.stride, figure.image = 2, np.eye(9)
    assert figure.state()["stride"] == 2
    assert (figure.caption, repr(figure)[:24]) == ("Own image", "ShiftExplorer(9×9 image,")
    assert capsys.readouterr().out == ""


def test_missing_data_is_said_in_words(monkeypatch, tmp_path):
    shift_explorer._test_digits.cache_clear()
    monkeypatch.setattr(shift_explorer, "COMMITTED", tmp_path / "none.npz")
    with pytest.raises(FileNotFoundError, match="give ShiftExplorer an image"):
        ShiftExplorer().state()
    assert ShiftExplorer(np.eye(9)).caption == "Own image"
    shift_explorer._test_digits.cache_clear()


def cells(text: str) -> list[list[str]]:
    rows = re.findall(r"<tr>(.*?)</tr>", text)
    return [re.findall(r"<td>(.*?)</td>", row) for row in rows]


def test_fallback_says_what_the_figure_says():
    text = ShiftExplorer().fallback()
    rows = cells(text)
    assert "MNIST digit, moved by dx = 1, dy = 0: Sobel X and ReLU, zero padding, stride 1, max 2 × 2" in text
    assert [row[0] for row in rows[:6]] == ["0", "3.59", "153 of 196 = 78 %", "143", "0.454", "0.493"]
    assert rows[7] == ["100", "78", "69", "64", "62", "61", "61", "62", "64"]
    assert rows[8] == ["0", "3.59", "0", "3.59", "0", "3.59", "0", "3.59", "1.48"]


def test_fallback_numbers_are_those_of_the_javascript():
    figures = random_figures(12, 60)
    found = call(FIGURE, "measure", [[figure.state()] for figure in figures])
    wrong = [view["errors"][level]["error"] for view in found for level in ("feature", "pooled")]
    said = iter(call(FIGURE, "short", [[error] for error in wrong]))
    for figure, view in zip(figures, found, strict=True):
        rows, kept = cells(figure.fallback()), view["kept"]["pooled"]
        for row in rows[:2]:
            assert value_of(row[0]) == pytest.approx(value_of(next(said)), abs=0.0011)  # halves round either way
        assert rows[2][0].startswith(f"{kept['same']} of {kept['total']} =")
        assert rows[3] == [str(kept["zeros"])]
        assert value_of(rows[5][0]) == pytest.approx(view["after"]["average"], abs=0.00051)


def value_of(text: str) -> float:
    return float(text.replace("−", "-").replace(",", "").lstrip("<> "))


def test_page_carries_the_state():
    page = ShiftExplorer()._repr_mimebundle_()[0]["text/html"]
    assert page.startswith('<div data-figure="shift_explorer" data-state="')
    assert len(page) < 10_000
