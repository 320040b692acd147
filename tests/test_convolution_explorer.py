"""The convolution explorer: its JavaScript against torch, NumPy and cnnbook.shapes; its Python class."""

import html
import re
from fractions import Fraction

import numpy as np
import pytest
import torch
from js import call, errors
from traitlets import TraitError

from cnnbook import shapes
from cnnbook.figures.convolution_explorer import ConvolutionExplorer

FIGURE = "convolution_explorer"
SOBEL_X = [[-1, 0, 1], [-2, 0, 2], [-1, 0, 1]]
STEP = [[0, 0, 0, 1, 1]] * 5


def random_cases(seed: int, count: int = 250) -> list[list]:
    """(image, kernel, stride, padding, dilation) that fit, of all sizes the figure allows, negative values included."""
    rng, cases = np.random.default_rng(seed), []
    while len(cases) < count:
        height, width = rng.integers(4, 9, 2).tolist()
        taps = rng.integers(1, 5, 2).tolist()
        stride, padding, dilation = (int(rng.integers(*ends)) for ends in ((1, 4), (0, 3), (1, 4)))
        if any(dilation * (k - 1) + 1 > n + 2 * padding for n, k in zip((height, width), taps, strict=True)):
            continue
        image = rng.uniform(-99, 99, (height, width)).round(1).tolist()
        cases.append([image, rng.uniform(-9, 9, taps).round(2).tolist(), stride, padding, dilation])
    return cases


def conv2d(image, kernel, stride, padding, dilation) -> np.ndarray:
    tensors = (torch.tensor(rows, dtype=torch.float64)[None, None] for rows in (image, kernel))
    return torch.nn.functional.conv2d(*tensors, stride=stride, padding=padding, dilation=dilation)[0, 0].numpy()


def reading(case) -> np.ndarray:
    """(rows, cols, padded height, padded width): 1 where torch's gradient says that an output reads a pixel."""
    image, kernel, stride, padding, dilation = case
    padded = torch.nn.functional.pad(torch.zeros(len(image), len(image[0])), [padding] * 4)[None, None].requires_grad_()
    weight = torch.ones(1, 1, len(kernel), len(kernel[0]))
    output = torch.nn.functional.conv2d(padded, weight, stride=stride, dilation=dilation)[0, 0]
    grads = [torch.autograd.grad(value, padded, retain_graph=True)[0][0, 0].numpy() for value in output.flatten()]
    return np.array(grads).reshape(*output.shape, *padded.shape[2:])


def test_random_cases_are_asymmetric_and_leave_something_over():
    cases = random_cases(0)
    assert sum(len(image) != len(image[0]) for image, *_ in cases) > 100
    assert sum(len(kernel) != len(kernel[0]) for _, kernel, *_ in cases) > 100
    left = [(len(i) + 2 * p - d * (len(k) - 1) - 1) % s for i, k, s, p, d in cases]
    assert sum(rest > 0 for rest in left) > 40
    assert sum(dilation > 1 for *_, dilation in cases) > 80


def test_output_size_is_that_of_the_library_and_so_are_its_words():
    rng = np.random.default_rng(1)
    cases = [[int(rng.integers(*ends)) for ends in ((0, 9), (0, 5), (0, 4), (-1, 3), (0, 4))] for _ in range(900)]
    good, bad = [], []
    for case in cases:
        try:
            good.append((case, shapes.output_size(*case)))
        except ValueError as error:
            bad.append((case, str(error)))
    assert min(len(good), len(bad)) >= 200
    assert call(FIGURE, "outputSize", [case for case, _ in good]) == [size for _, size in good]
    said = errors(FIGURE, "outputSize", [case for case, _ in bad])
    assert [message.replace("·", "*") for message in said] == [message for _, message in bad]
    assert "must be an integer" in errors(FIGURE, "outputSize", [[5, 2.5]])[0]


def test_correlate_is_torchs_conv2d():
    cases = random_cases(2)
    for case, rows in zip(cases, call(FIGURE, "correlate", cases), strict=True):
        np.testing.assert_allclose(rows, conv2d(*case), rtol=1e-12, atol=1e-9)


def test_correlate_refuses_a_kernel_that_does_not_fit():
    tall, wide = (
        [np.ones((4, 8)).tolist(), np.ones((3, 1)).tolist()],
        [np.ones((8, 4)).tolist(), np.ones((1, 3)).tolist()],
    )
    for message in errors(FIGURE, "correlate", [[*tall, 1, 0, 2], [*wide, 1, 0, 2]]):
        assert "spans 5, but the padded input has only 4" in message


def test_products_are_the_patch_times_the_kernel():
    rng, cases, wanted = np.random.default_rng(3), [], []
    for image, kernel, stride, padding, dilation in random_cases(3):
        output = conv2d(image, kernel, stride, padding, dilation)
        row, col = (int(rng.integers(side)) for side in output.shape)
        cases.append([image, kernel, row, col, stride, padding, dilation])
        mask = np.pad(np.ones((len(image), len(image[0]))), padding)
        tapped = tuple(slice(at * stride, at * stride + dilation * (side - 1) + 1, dilation)
                       for at, side in zip((row, col), np.shape(kernel), strict=True))  # fmt: skip
        wanted.append((np.pad(image, padding)[tapped], mask[tapped], np.array(kernel), output[row, col]))
    totals = 0
    for terms, (values, inside, weights, total) in zip(call(FIGURE, "products", cases), wanted, strict=True):
        assert [term["value"] for term in terms] == values.ravel().tolist()
        assert [term["weight"] for term in terms] == weights.ravel().tolist()
        assert [term["inside"] for term in terms] == inside.astype(bool).ravel().tolist()
        np.testing.assert_allclose([term["product"] for term in terms], (values * weights).ravel(), atol=1e-12)
        assert sum(term["product"] for term in terms) == pytest.approx(total, abs=1e-9)
        totals += not inside.all()
    assert totals > 40  # the padding was read often enough to be tested


def test_total_is_the_sum():
    rng = np.random.default_rng(4)
    lists = [rng.normal(size=rng.integers(1, 17)).tolist() for _ in range(200)]
    totals = call(FIGURE, "total", [[[{"product": value} for value in values]] for values in lists])
    np.testing.assert_allclose(totals, [sum(values) for values in lists], atol=1e-12)


def test_readers_are_the_outputs_with_a_gradient():
    rng, cases, wanted = np.random.default_rng(5), [], []
    for case in random_cases(5):
        read = reading(case)
        y, x = (int(rng.integers(side)) for side in read.shape[2:])
        cases.append([*case[:2], y - case[3], x - case[3], *case[2:]])
        wanted.append(np.argwhere(read[:, :, y, x] > 0).tolist())
    assert call(FIGURE, "readers", cases) == wanted
    assert sum(not found for found in wanted) > 10


def test_leftover_is_what_no_position_reaches():
    cases = random_cases(6)
    sizes = [[len(image), len(kernel), *rest] for image, kernel, *rest in cases]
    lasts = [int(np.argwhere(reading(case).any(axis=(0, 1, 3)))[-1, 0]) for case in cases]
    wanted = [size + 2 * padding - 1 - last for (size, _, _, padding, _), last in zip(sizes, lasts, strict=True)]
    assert call(FIGURE, "leftover", sizes) == wanted
    assert sum(rest > 0 for rest in wanted) > 40
    assert call(FIGURE, "span", [[4, 3], [1, 3], [3, 1]]) == [10, 1, 3]


def test_leftover_in_words():
    image, ones = np.zeros((6, 7)).tolist(), np.ones((2, 2)).tolist()
    said = call(FIGURE, "leftoverText", [[image, ones, 3, 0, 1], [image, ones, 1, 0, 1], [image, ones, 2, 1, 1]])
    assert said[0] == "Stride 3 does not come out even: the last row and the last 2 columns of the image are left over."
    assert said[1] == ""
    assert said[2] == "Stride 2 does not come out even: the last column of the padded image is left over."


def test_size_in_words():
    cases = [[len(image), len(kernel), *rest] for image, kernel, *rest in random_cases(7, 200)]
    for case, text in zip(cases, call(FIGURE, "sizeText", cases), strict=True):
        left, right = text.split(" = ")
        formula = left.translate(str.maketrans({"⌊": "(", "⌋": ")", "·": "*", "−": "-"})).replace("/", "//")
        assert eval(formula) == int(right) == shapes.output_size(*case)
    assert call(FIGURE, "sizeText", [[5, 3, 1, 0, 1]]) == ["⌊(5 + 2·0 − 1·(3−1) − 1)/1⌋ + 1 = 3"]


def value_of(text: str) -> Fraction:
    return Fraction(text.replace("−", "-").replace(",", ""))


def test_numbers_are_written_without_loss_or_said_to_be_rounded():
    rng = np.random.default_rng(8)
    fractions = [Fraction(int(rng.integers(-900, 900)), int(rng.integers(1, 17))) for _ in range(300)]
    for fraction, text in zip(fractions, call(FIGURE, "exact", [[float(value)] for value in fractions]), strict=True):
        assert value_of(text) == fraction
    floats = rng.uniform(-9999, 9999, 300).tolist()
    assert call(FIGURE, "exact", [[value] for value in floats]).count(None) > 250
    for value, text in zip(floats, call(FIGURE, "rounded", [[value] for value in floats]), strict=True):
        assert abs(value_of(text) - Fraction(value)) <= Fraction(5001, 1000000)
    assert call(FIGURE, "rounded", [[-0.0], [-0.001], [-1.5]]) == ["0", "0", "−1.5"]
    assert call(FIGURE, "equals", [[8], [-1 / 3], [2**0.5], [-0.0]]) == ["= 8", "= −1/3 ≈ −0.33", "≈ 1.41", "= 0"]
    terms = [{"value": 1, "weight": -1}, {"value": -2.5, "weight": 0}, {"value": 3, "weight": 1 / 9}]
    assert call(FIGURE, "termText", [[term] for term in terms]) == ["1×(−1)", "(−2.5)×0", "3×(1/9)"]


def test_what_a_reader_types():
    good = {"7": 7, " -3 ": -3, "−3": -3, "2.5": 2.5, "2,5": 2.5, "-99": -99, ".5": 0.5, "+4": 4}
    assert call(FIGURE, "parseCell", [[text, "image"] for text in good]) == list(good.values())
    bad = ["", "-", "a", "100", "-99.5", "1.25", "1/9", "1e1", "1-1", "NaN", "Infinity"]
    assert call(FIGURE, "parseCell", [[text, "image"] for text in bad]) == [None] * len(bad)
    assert call(FIGURE, "parseCell", [["1/9", "kernel"], ["-2/3", "kernel"], ["0.125", "kernel"]]) == [
        1 / 9,
        -2 / 3,
        0.125,
    ]
    assert (
        call(FIGURE, "parseCell", [[text, "kernel"] for text in ("1/0", "0/0", "1/", "0.1234", "999/2")]) == [None] * 5
    )


def test_presets_know_their_own_names_at_every_size():
    names = ["ramp", "step", "pixel", "checker"]
    cases = [[name, rows, cols] for name in names for rows in range(4, 9) for cols in range(4, 9)]
    images = call(FIGURE, "presetImage", cases)
    assert call(FIGURE, "imageName", [[image] for image in images]) == [name for name, *_ in cases]
    assert all(np.shape(image) == (rows, cols) for image, (_, rows, cols) in zip(images, cases, strict=True))
    kernels = ["sobel_x", "sobel_y", "blur", "sharpen", "identity", "two_tap"]
    assert (
        call(FIGURE, "kernelName", [[kernel] for kernel in call(FIGURE, "presetKernel", [[n] for n in kernels])])
        == kernels
    )
    assert call(
        FIGURE, "imageName", [[np.full((4, 5), 7).tolist()], call(FIGURE, "presetImage", [["digit", 5, 5]])]
    ) == ["own", "digit"]
    assert call(FIGURE, "kernelName", [[[[3]]]]) == ["own"]


def test_presets_against_hand_counts():
    image = {
        name: call(FIGURE, "presetImage", [[name, 5, 5]])[0] for name in ("ramp", "step", "pixel", "checker", "digit")
    }
    kernels = ["sobel_x", "sobel_y", "blur", "sharpen", "identity", "two_tap"]
    kernel = dict(zip(kernels, call(FIGURE, "presetKernel", [[name] for name in kernels]), strict=True))
    assert image["ramp"] == ConvolutionExplorer().image
    assert kernel["sobel_x"] == SOBEL_X
    assert image["step"] == STEP
    assert np.shape(image["digit"]) == (8, 8)
    pairs = [
        ("ramp", "sobel_x"),
        ("step", "sobel_x"),
        ("ramp", "sobel_y"),
        ("pixel", "sobel_x"),
        ("checker", "two_tap"),
    ]
    found = call(FIGURE, "correlate", [[image[one], kernel[other]] for one, other in pairs])
    assert found[:3] == [[[8] * 3] * 3, [[0, 4, 4]] * 3, [[40] * 3] * 3]
    assert found[3] == np.flip(SOBEL_X).tolist()  # no flip of the kernel, so a single pixel shows it flipped
    assert found[4][0] == [1, -1, 1, -1]
    for name, gain in zip(kernels, (0, 0, 1, 1, 1, 0), strict=True):
        assert np.sum(kernel[name]) == pytest.approx(gain)
    six_wide = call(FIGURE, "presetImage", [["step", 3, 6]])[0]
    assert call(FIGURE, "correlate", [[six_wide, SOBEL_X]])[0] == [[0, 4, 4, 0]]


def test_resizing():
    rng = np.random.default_rng(9)
    images = [rng.integers(-99, 99, rng.integers(4, 9, 2)) for _ in range(200)]
    sizes = rng.integers(4, 9, (200, 2)).tolist()
    resized = call(FIGURE, "resizeImage", [[image.tolist(), *size] for image, size in zip(images, sizes, strict=True)])
    for image, (rows, cols), found in zip(images, sizes, resized, strict=True):
        wanted = np.zeros((8, 8), int)
        wanted[: image.shape[0], : image.shape[1]] = image
        assert found == wanted[:rows, :cols].tolist()
    ramp, wide = call(FIGURE, "presetImage", [["ramp", 5, 5], ["ramp", 4, 8]])
    assert call(FIGURE, "resizeImage", [[ramp, 4, 8]]) == [wide]
    assert call(FIGURE, "resizeKernel", [[SOBEL_X, 1, 3], [SOBEL_X, 3, 1], [[[5]], 3, 3], [SOBEL_X, 4, 2]]) == [
        [[-2, 0, 2]],
        [[0], [0], [0]],
        [[0, 0, 0], [0, 5, 0], [0, 0, 0]],
        [[-1, 0], [-2, 0], [-1, 0], [0, 0]],
    ]


BAD_TABLES = [
    None,
    3,
    "x",
    [],
    [[1, 2], [3]],
    [["a"] * 4] * 4,
    [[100] * 4] * 4,
    [[1] * 9] * 9,
    [[None] * 4] * 4,
    [[]] * 4,
]


def test_a_state_from_a_bad_link_is_refused_in_words():
    start = ConvolutionExplorer().state()
    good = [{**start, "stride": 3, "padding": 2}, {**start, "kernel": [[0.5]]}, start]
    assert call(FIGURE, "fault", [[state] for state in good]) == [None] * 3
    bad = [{**start, name: value} for name in ("image", "kernel") for value in BAD_TABLES]
    bad += [{**start, name: value} for name in ("stride", "padding", "dilation") for value in (-1, 4, 1.5, "2", None)]
    for state, text in zip(bad, call(FIGURE, "fault", [[state] for state in bad]), strict=True):
        assert re.search(r"(image|kernel|stride|padding|dilation) must|Every number of the (image|kernel)", text), state


@pytest.mark.parametrize("value", BAD_TABLES)
def test_python_refuses_bad_tables_in_words(value):
    figure = ConvolutionExplorer()
    for name in ("image", "kernel"):
        with pytest.raises(TraitError, match=name):
            setattr(figure, name, value)
    assert figure.image[0] == [1, 2, 3, 4, 5]


@pytest.mark.parametrize("given", [{"stride": 0}, {"stride": 4}, {"padding": -1}, {"padding": 3}, {"dilation": 1.5}])
def test_python_refuses_settings_out_of_range(given):
    with pytest.raises(TraitError, match=next(iter(given))):
        ConvolutionExplorer(**given)


def test_python_refuses_what_is_no_finite_real_number():
    for bad in (
        np.full((5, 5), np.nan),
        np.full((5, 5), np.inf),
        np.full((5, 5), 1j),
        np.ones((5, 5, 1)),
        np.ones((3, 5)),
    ):
        with pytest.raises(TraitError, match="image"):
            ConvolutionExplorer(image=bad)


def test_python_takes_arrays_and_lists_alike():
    array = np.arange(20, dtype=np.float32).reshape(4, 5)
    figure = ConvolutionExplorer(array, kernel=np.ones((2, 1), dtype=np.uint8), stride=2)
    assert figure.image == array.astype(int).tolist()
    assert figure.kernel == [[1], [1]]
    figure.image = torch.ones(4, 4).numpy()
    assert figure.state() == {"image": [[1] * 4] * 4, "kernel": [[1], [1]], "stride": 2, "padding": 0, "dilation": 1,
                              "row": 0, "col": 0, "walk": False}  # fmt: skip


def test_python_output_is_torchs():
    for case in random_cases(10, 60):
        np.testing.assert_allclose(ConvolutionExplorer(*case).output(), conv2d(*case), atol=1e-9)


def test_repr_is_stable():
    figure = ConvolutionExplorer(np.ones((4, 6)), kernel=[[-1, 1]], dilation=2)
    assert repr(figure) == "ConvolutionExplorer(4×6 image, 1×2 kernel, stride=1, padding=0, dilation=2)"


def cells(text: str) -> list[list[list[str]]]:
    """The tables of a fallback."""
    tables = re.findall(r"<table>.*?</table>", text, re.S)
    return [[re.findall(r"<td>(.*?)</td>", row) for row in re.findall(r"<tr>(.*?)</tr>", table)] for table in tables]


def test_fallback_says_what_the_figure_says():
    text = ConvolutionExplorer().fallback()
    image, kernel, output = cells(text)
    assert image[4] == ["21", "22", "23", "24", "25"]
    assert kernel[1] == ["−2", "0", "2"]
    assert output == [["8"] * 3] * 3
    assert "1×(−1) + 2×0 + 3×1 + 6×(−2) + 7×0 + 8×2 + 11×(−1) + 12×0 + 13×1 = 8" in text
    assert cells(ConvolutionExplorer(image=STEP).fallback())[2] == [["0", "4", "4"]] * 3


def test_fallback_numbers_are_those_of_the_javascript():
    figures = [ConvolutionExplorer(*case) for case in random_cases(11, 60)]
    figures += [ConvolutionExplorer(figure.image, kernel=np.ones((3, 3)) / 9) for figure in figures]
    texts = [figure.fallback() for figure in figures]
    tables = [(figure.image, figure.kernel) for figure in figures]
    settings = [[figure.stride, figure.padding, figure.dilation] for figure in figures]
    first = call(FIGURE, "products", [[*pair, 0, 0, *given] for pair, given in zip(tables, settings, strict=True)])
    spelt = iter(call(FIGURE, "termText", [[term] for terms in first for term in terms]))
    totals = call(FIGURE, "equals", [[sum(term["product"] for term in terms)] for terms in first])
    for text, terms, total in zip(texts, first, totals, strict=True):
        assert f"output[0, 0]: {' + '.join(next(spelt) for _ in terms)} {total}</p>" in text
    outputs = call(FIGURE, "correlate", [[*pair, *given] for pair, given in zip(tables, settings, strict=True)])
    shown = iter(call(FIGURE, "rounded", [[value] for output in outputs for row in output for value in row]))
    for text, output in zip(texts, outputs, strict=True):
        for row, line in zip(cells(text)[2], output, strict=True):
            for said in row[: len(line)]:
                assert abs(value_of(said) - value_of(next(shown))) <= Fraction(1, 100)  # halves may round either way


def test_fallback_where_the_kernel_does_not_fit():
    text = ConvolutionExplorer(np.ones((4, 6)), dilation=3).fallback()
    assert "No output: a kernel of 3 with dilation 3 spans 7" in text
    assert len(cells(text)) == 2


def test_page_carries_the_state():
    page = ConvolutionExplorer()._repr_mimebundle_()[0]["text/html"]
    assert page.startswith('<div data-figure="convolution_explorer" data-state="')
    assert '"stride": 1' in html.unescape(page)
