"""The receptive-field explorer: its JavaScript against torch's gradients and cnnbook.shapes; its Python class."""

import html
import math
import re

import numpy as np
import pytest
import torch
from js import call, errors
from torchvision import models
from traitlets import TraitError

from cnnbook import shapes
from cnnbook.figures.receptive_field_explorer import LIMITS, NETS, ReceptiveFieldExplorer, path_weights

FIGURE = "receptive_field_explorer"
ELEVEN = list(zip([7] + [3] * 10, [2, 2, 1, 1, 2, 1, 2, 1, 2, 1, 2], strict=True))


def random_layers(rng, most: int = 4, padded: bool = True) -> list[list[int]]:
    """(kernel, stride, dilation, padding) a layer: even kernels, gaps, strides wider than the kernel included."""
    ends = (1, 6), (1, 4), (1, 4), (0, 4 if padded else 1)
    return [[int(rng.integers(*end)) for end in ends] for _ in range(rng.integers(1, most + 1))]


def random_stacks(seed: int, count: int = 240, **options) -> list[tuple[list, int]]:
    """(layers, size) that fit; the input is often wider than the last kernel needs, so that strides leave some over."""
    rng, found = np.random.default_rng(seed), []
    while len(found) < count:
        layers, size = random_layers(rng, **options), int(rng.integers(8, 80))
        if units(layers, size)[-1]:
            found.append((layers, size))
    return found


def units(layers, size: int) -> list[int]:
    """Units of every layer by cnnbook.shapes; 0 from where a kernel does not fit."""
    counts = [size]
    for kernel, stride, dilation, padding in layers:
        try:
            counts.append(shapes.output_size(counts[-1], kernel, stride, padding, dilation))
        except ValueError:
            return counts + [0] * (len(layers) + 1 - len(counts))
    return counts


def forward(layers, size: int) -> list[torch.Tensor]:
    """Every layer's values for convolutions with all weights 1, the input first; gradients count paths."""
    values = [torch.zeros(1, 1, size, dtype=torch.float64, requires_grad=True)]
    for kernel, stride, dilation, padding in layers:
        ones = torch.ones(1, 1, kernel, dtype=torch.float64)
        values.append(torch.nn.functional.conv1d(values[-1], ones, None, stride, padding, dilation))
    return values


def gradients(layers, size: int, layer: int, unit: int) -> list[np.ndarray]:
    """d(unit) / d(every value of every layer up to `layer`): how many paths lead from the unit to each."""
    values = forward(layers, size)
    top = values[layer][0, 0, unit]
    return [torch.autograd.grad(top, value, retain_graph=True)[0][0, 0].numpy() for value in values[:layer]]


def chosen(seed: int, **options) -> list[list]:
    """[layers, size, layer, unit] with layer and unit at random, border units included."""
    rng, cases = np.random.default_rng(seed), []
    for layers, size in random_stacks(seed + 100, **options):
        layer = int(rng.integers(1, len(layers) + 1))
        cases.append([layers, size, layer, int(rng.integers(units(layers, size)[layer]))])
    return cases


def test_random_stacks_cover_what_can_go_wrong():
    stacks = random_stacks(0)
    flat = [layer for layers, _ in stacks for layer in layers]
    assert sum(kernel % 2 == 0 for kernel, *_ in flat) > 100
    assert sum(stride > kernel for kernel, stride, *_ in flat) > 30
    assert sum(dilation > 1 and kernel > 1 for kernel, _, dilation, _ in flat) > 100
    assert sum(padding > 0 for *_, padding in flat) > 100
    left = [
        (n + 2 * p - d * (k - 1) - 1) % s
        for layers, size in stacks
        for n, (k, s, d, p) in zip(units(layers, size), layers, strict=False)
    ]
    assert sum(rest > 0 for rest in left) > 60


def test_receptive_field_is_the_librarys():
    rng = np.random.default_rng(1)
    stacks = [random_layers(rng, most=12) for _ in range(300)]
    found = call(FIGURE, "receptiveField", [[layers] for layers in stacks])
    for layers, grown in zip(stacks, found, strict=True):
        assert [tuple(each) for each in grown] == shapes.receptive_field([tuple(layer[:3]) for layer in layers])
    bare = [[[layer[:2] for layer in layers]] for layers in stacks]
    for (layers,), grown in zip(bare, call(FIGURE, "receptiveField", bare), strict=True):
        assert [tuple(each) for each in grown] == shapes.receptive_field([tuple(layer) for layer in layers])


def test_the_eleven_layer_table():
    grown = call(FIGURE, "receptiveField", [[ELEVEN]])[0]
    assert [rf for rf, _ in grown] == [7, 11, 19, 27, 35, 51, 67, 99, 131, 195, 259]
    assert [jump for _, jump in grown] == [2, 4, 4, 4, 8, 8, 16, 16, 32, 32, 64]
    said = call(FIGURE, "recursion", [[ELEVEN, 4]])[0]
    assert said["rf"] == "rf = 19 + 1·(3−1)·4 = 27"
    assert said["jump"] == "jump = 4·1 = 4"
    assert said["sum"] == "rf = 1 + 1·6·1 + 1·2·2 + 1·2·4 + 1·2·4 = 27"
    assert call(FIGURE, "recursion", [[[[3, 1]] * 6, 6]])[0]["sum"] == "rf = 1 + 6 × (1·2·1) = 13"


@pytest.mark.parametrize(
    ("net", "layer", "reach"),
    [
        ("vgg16", "conv5_3", [196, 16]),
        ("vgg16", "pool5", [212, 32]),
        ("alexnet", "conv5", [163, 16]),
        ("alexnet", "pool5", [195, 32]),
        ("resnet18", "conv5_4", [435, 32]),
        ("resnet50", "conv5_3", [427, 32]),
        ("mobilenet", "dw13", [315, 32]),
        ("threes10", "10", [21, 1]),
        ("dilated", "4", [31, 1]),
    ],
)
def test_known_nets(net, layer, reach):
    known = call(FIGURE, "nets", [[]])[0][net]
    grown = call(FIGURE, "receptiveField", [[known["layers"]]])[0]
    assert grown[known["names"].index(layer)] == reach
    assert call(FIGURE, "netName", [[known["layers"]]]) == [net]


def test_torchvisions_own_nets_have_these_layers():
    """Kernel, stride, dilation and padding of torchvision's modules, 1×1 layers left out."""

    def listed(net: torch.nn.Module) -> list[list[int]]:
        found = []
        for module in net.modules():
            if isinstance(module, (torch.nn.Conv2d, torch.nn.MaxPool2d)):
                each = [module.kernel_size, module.stride, module.dilation, module.padding]
                found.append([part if isinstance(part, int) else part[0] for part in each])
        return [layer for layer in found if layer[0] > 1]

    for name in ("alexnet", "vgg16", "resnet18", "resnet50"):
        with torch.device("meta"):
            net = getattr(models, name)()
        assert [list(layer) for _, layer in NETS[name][1]] == listed(net), name


def test_known_nets_are_the_same_in_python():
    for name, known in call(FIGURE, "nets", [[]])[0].items():
        size, rows = NETS[name]
        assert (size, [list(layer) for _, layer in rows]) == (known["size"], known["layers"])
        assert [each for each, _ in rows] == known["names"]
        figure = ReceptiveFieldExplorer(net=name)
        assert figure.state() == {"layers": known["layers"], "size": size, "zoom": False} | view_of(figure)
    assert set(NETS) == set(call(FIGURE, "nets", [[]])[0])


def view_of(figure: ReceptiveFieldExplorer) -> dict:
    return call(FIGURE, "middle", [[figure.layers, figure.size, len(figure.layers)]])[0]


def test_field_is_where_torchs_gradient_reaches():
    """On an input so wide that no unit meets padding, the first and last nonzero gradient are the field's ends."""
    rng = np.random.default_rng(2)
    for _ in range(2):
        cases, wanted = [], []
        while len(cases) < 120:
            layers = random_layers(rng, most=4)
            pads = [0] + [layer[3] for layer in layers]
            wide = shapes.receptive_field([tuple(layer[:3]) for layer in layers])[-1]
            size = 3 * sum(wide) + 2 * sum(pads) * wide[1] + 60
            layer = int(rng.integers(1, len(layers) + 1))
            unit = units(layers, size)[layer] // 2
            support = np.flatnonzero(gradients(layers, size, layer, unit)[0])
            cases.append([layers, layer, unit])
            wanted.append([int(support[0]), int(support[-1])])
        assert call(FIGURE, "field", cases) == wanted


def test_field_at_the_border_counts_padding():
    same = [[7, 2, 1, 3], [3, 2, 1, 1]]
    assert call(FIGURE, "field", [[same, 0, 5], [same, 1, 0], [same, 2, 0], [same, 2, 3]]) == [
        [5, 5],
        [-3, 3],
        [-5, 5],
        [7, 17],
    ]
    figure = ReceptiveFieldExplorer(net="eleven")
    cases = [(layer, unit) for layer in range(1, 12) for unit in (0, 1, 3)]
    found = call(FIGURE, "field", [[figure.layers, *case] for case in cases])
    assert [tuple(each) for each in found] == [figure.field(*case) for case in cases]


def test_paths_are_torchs_normalised_gradient():
    stacks = [layers for layers, _ in random_stacks(3, padded=False)]
    for layers, weights in zip(stacks, call(FIGURE, "paths", [[layers] for layers in stacks]), strict=True):
        rf, _ = shapes.receptive_field([tuple(layer[:3]) for layer in layers])[-1]
        gradient = gradients(layers, rf, len(layers), 0)[0]
        np.testing.assert_allclose(weights, gradient / gradient.sum(), rtol=1e-12, atol=1e-15)
        np.testing.assert_allclose(weights, path_weights(layers), rtol=1e-12, atol=1e-15)
        assert math.fsum(weights) == pytest.approx(1)


def test_spread_and_within_are_numpys():
    rng = np.random.default_rng(4)
    cases = [rng.dirichlet(np.ones(int(rng.integers(1, 60)))) for _ in range(250)]
    found = call(FIGURE, "spread", [[case.tolist()] for case in cases])
    held = call(FIGURE, "within", [[case.tolist()] for case in cases])
    for weights, sigma, share in zip(cases, found, held, strict=True):
        places = np.arange(len(weights))
        middle = np.average(places, weights=weights)
        assert sigma == pytest.approx(np.sqrt(np.cov(places, aweights=weights, ddof=0)) if len(weights) > 1 else 0)
        assert share == pytest.approx(weights[np.abs(places - middle) <= 2 * sigma + 1e-9].sum())


@pytest.mark.parametrize(("count", "share"), [(5, 66), (10, 49), (20, 36), (40, 26)])
def test_effective_share_of_box_layers(count, share):
    layers = [[3, 1]] * count
    sigma = call(FIGURE, "spread", [[call(FIGURE, "paths", [[layers]])[0]]])[0]
    assert sigma == pytest.approx(math.sqrt(2 * count / 3))
    assert round(100 * 4 * sigma / (2 * count + 1)) == share
    said = call(FIGURE, "words", [[[[3, 1, 1, 0]] * count, 101, count, 5, 20]])[0]["effective"]
    assert f", {share} % of rf {2 * count + 1}," in plain(said)


def plain(text: str) -> str:
    return text.replace("\u00a0", " ")


def test_sizes_are_the_librarys_and_misfits_are_said():
    rng = np.random.default_rng(5)
    good, bad = [], []
    while min(len(good), len(bad)) < 200:
        case = [random_layers(rng), int(rng.integers(8, 60))]
        (good if units(*case)[-1] else bad).append(case)
    assert call(FIGURE, "sizes", good) == [units(*case) for case in good]
    for case, said in zip(bad, errors(FIGURE, "sizes", bad), strict=True):
        layer = units(*case).index(0)
        kernel, _, dilation, padding = case[0][layer - 1]
        count = units(*case)[layer - 1]
        before = f"layer {layer - 1}" if layer > 1 else "the input"
        assert said == (
            f"Layer {layer} does not fit: its kernel spans {dilation * (kernel - 1) + 1}, "
            f"but {before} has only {count} + 2·{padding} = {count + 2 * padding}."
        )


def test_smallest_is_the_smallest_that_fits():
    rng = np.random.default_rng(6)
    cases = [[random_layers(rng), int(rng.integers(1, 5))] for _ in range(250)]
    for (layers, wanted), size in zip(cases, call(FIGURE, "smallest", cases), strict=True):
        assert units(layers, size)[-1] >= wanted
        assert size == 1 or units(layers, size - 1)[-1] < wanted


def test_cone_counts_the_paths_to_every_value_of_every_layer():
    cases = chosen(7)
    for case, rows in zip(cases, call(FIGURE, "cone", cases), strict=True):
        layers, size, layer, unit = case
        assert rows[layer] == [[unit, 1]]
        for row, gradient in zip(rows, gradients(*case), strict=False):
            counted = np.zeros(len(gradient))
            for place, count in row:
                if 0 <= place < len(gradient):
                    counted[place] = count
            np.testing.assert_array_equal(counted, gradient)
            assert [place for place, _ in row] == sorted({place for place, _ in row})
    assert sum(place < 0 for rows in call(FIGURE, "cone", cases) for row in rows for place, _ in row) > 40


def test_a_pixels_paths_are_the_sum_of_those_into_the_units_that_read_it():
    rng = np.random.default_rng(8)
    cases = [[*case, int(rng.integers(case[1]))] for case in chosen(8)]
    for (layers, size, layer, unit, pixel), found in zip(cases, call(FIGURE, "sources", cases), strict=True):
        below = gradients(layers, size, layer, unit)
        first = forward(layers[:1], size)
        into = {}
        for at in range(first[1].shape[-1]):
            read = torch.autograd.grad(first[1][0, 0, at], first[0], retain_graph=True)[0][0, 0, pixel]
            paths = 1.0 * (at == unit) if layer == 1 else below[1][at]
            if read and paths:
                into[at] = paths
        assert dict(map(tuple, found)) == into
        assert sum(into.values()) == below[0][pixel]


def test_what_is_said_about_a_unit_is_what_the_gradient_counts():
    rng = np.random.default_rng(9)
    cases = [[*case, int(rng.integers(case[1]))] for case in chosen(9)]
    said_padding = said_holes = 0
    for (layers, size, layer, unit, pixel), said in zip(cases, call(FIGURE, "words", cases), strict=True):
        counts, total = gradients(layers, size, layer, unit)[0], math.prod(kernel for kernel, *_ in layers[:layer])
        first, last = ends(layers, layer, unit)
        inside = range(max(first, 0), min(last, size - 1) + 1)
        outside, unread = last - first + 1 - len(inside), len(inside) - np.count_nonzero(counts)
        numbers = [int(each) for each in re.findall(r"(\d+) of them", said["sees"])]
        assert numbers == [each for each in (outside, unread) if each], said
        said_padding, said_holes = said_padding + (outside > 0), said_holes + (unread > 0)
        shown = f"{first} to {last}" if first < last else f"{first}"
        assert f" {shown}: rf {last - first + 1}.".replace("-", "−") in said["sees"]
        assert f"= {total:,} path" in said["paths"] or total == 1
        ended = re.search(r"Of these, ([\d,]+) end", said["paths"])
        assert (int(ended[1].replace(",", "")) if ended else 0) == total - counts.sum()
        if counts[pixel]:
            assert f"{int(counts[pixel]):,} ÷ {total:,} = " in said["pixel"]
        else:
            assert said["pixel"] == f"Pixel {pixel}: no path leads to it."
    assert min(said_padding, said_holes) > 30


def ends(layers, layer: int, unit: int) -> tuple[int, int]:
    """A unit's field from the receptive field's size and the position of unit 0's first pixel (Araujo et al. 2019)."""
    grown = [(1, 1), *shapes.receptive_field([tuple(each[:3]) for each in layers])]
    before = sum(each[3] * grown[index][1] for index, each in enumerate(layers[:layer]))
    rf, jump = grown[layer]
    return unit * jump - before, unit * jump - before + rf - 1


def test_words_of_the_start():
    figure = ReceptiveFieldExplorer()
    said = call(FIGURE, "words", [[figure.layers, 51, 5, 1, 25]])[0]
    assert {key: plain(text) for key, text in said.items()} == {
        "sees": "It sees pixels 8 to 42: rf 35.",
        "next": "Its neighbour, unit 2, sees 16 to 50: 8 pixels further, the jump.",
        "paths": "7 × 3⁴ = 567 paths lead down from it.",
        "pixel": "Pixel 25: 13 + 7 + 13 = 33 paths, over units 10 to 12 of layer 1. 33 ÷ 567 = 5.8 %.",
        "effective": "±2σ is 24.9 pixels wide, 71 % of rf 35, and holds 96 % of the paths.",
    }
    assert gradients(figure.layers, 51, 5, 1)[0][25] == 33


def test_words_of_large_counts_are_shares():
    figure = ReceptiveFieldExplorer(net="vgg16")
    said = call(FIGURE, "words", [[figure.layers, 224, 18, 3, 111]])[0]
    counts = gradients(figure.layers, 224, 18, 3)
    into = [100 * counts[1][unit] / (math.prod(k for k, *_ in figure.layers) / 3) for unit in (110, 111, 112)]
    share = 100 * counts[0][111] / math.prod(k for k, *_ in figure.layers)
    sums = " + ".join(f"{float(f'{each:.3g}')} %" for each in into)
    assert f"({sums}) ÷ 3 = {float(f'{share:.3g}')} % of the paths" in plain(said["pixel"])
    assert plain(said["paths"]).startswith("3² × 2 × 3² × 2 × 3³ × 2 × 3³ × 2 × 3³ × 2 = 51,018,336 paths lead")


def test_numbers_in_words():
    shares = [0.714, 0.0062, 0.00001, 0, 1, 0.0512]
    assert [plain(each) for each in call(FIGURE, "percent", [[share] for share in shares])] == [
        "71 %",
        "0.62 %",
        "under 0.01 %",
        "0 %",
        "100 %",
        "5.1 %",
    ]
    assert call(FIGURE, "big", [[567], [10**11], [3**40]]) == ["567", "100,000,000,000", "1.22 × 10¹⁹"]
    assert call(FIGURE, "product", [[[[7, 1], [3, 1], [3, 2]]], [[[1, 1]]], [[[2, 1]] * 12]]) == ["7 × 3²", "1", "2¹²"]


def test_extent_holds_every_field_or_the_chosen_one_and_its_neighbours():
    cases = chosen(10)
    found = call(FIGURE, "extent", [[*case, zoom] for case in cases for zoom in (False, True)])
    for (layers, size, layer, unit), (first, last), (near, far) in zip(cases, found[::2], found[1::2], strict=True):
        count = units(layers, size)[layer]
        assert first <= 0 <= size - 1 <= last
        assert first <= ends(layers, layer, 0)[0] <= ends(layers, layer, count - 1)[1] <= last
        assert near <= ends(layers, layer, unit - 1)[0] <= ends(layers, layer, unit + 1)[1] <= far


def test_edits():
    layers = [[7, 2, 1, 0], [5, 1, 1, 0], [3, 3, 1, 0]]
    added, removed, earlier, later = call(
        FIGURE, "edited", [[layers, 1, "add"], [layers, 3, "remove"], [layers, 3, "earlier"], [layers, 1, "later"]]
    )
    assert added == [[layers[0], [3, 1, 1, 0], *layers[1:]], 2]
    assert removed == [layers[:2], 2]
    assert earlier == [[layers[0], layers[2], layers[1]], 2]
    assert later == [[layers[1], layers[0], layers[2]], 2]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"size": 7}, "input must be 8 to 512 pixels"),
        ({"size": "51"}, "input must be 8 to 512 pixels"),
        ({"layers": []}, "1 to 40 layers"),
        ({"layers": 3}, "1 to 40 layers"),
        ({"layers": [[3, 1, 1, 0]] * 41}, "1 to 40 layers"),
        ({"layers": [[3, 1]]}, "Layer 1 must be kernel, stride, dilation and padding"),
        ({"layers": [[3, 1, 1, 0], [12, 1, 1, 0]]}, "Layer 2: the kernel must be a whole number from 1 to 11"),
        ({"layers": [[3, 0, 1, 0]]}, "Layer 1: the stride must be"),
        ({"layers": [[3, 1, None, 0]]}, "Layer 1: the dilation must be"),
        ({"layers": [[3, 1, 1, -1]]}, "Layer 1: the padding must be"),
        ({"layers": [[3, 4, 1, 1]] * 7}, "Layer 7 would see 10,923 pixels; the figure goes up to 4,096"),
    ],
)
def test_a_state_that_cannot_be_drawn_is_said_in_words(change, words):
    assert words in call(FIGURE, "fault", [[{"layers": [[3, 1, 1, 0]], "size": 51} | change]])[0]


def test_faults_are_those_that_python_refuses():
    rng = np.random.default_rng(11)
    cases = [[[int(rng.integers(-1, most + 2)) for _, most in LIMITS.values()] for _ in range(2)] for _ in range(250)]
    found = call(FIGURE, "fault", [[{"layers": layers, "size": 51}] for layers in cases])
    for layers, said in zip(cases, found, strict=True):
        if said is None:
            ReceptiveFieldExplorer(layers)
        else:
            with pytest.raises(TraitError, match=said.replace("Layer", "layer").replace(" the ", " ").rstrip(".")):
                ReceptiveFieldExplorer(layers)
    assert sum(said is None for said in found) > 20


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ({"layers": []}, TraitError, "list of 1 to 40 layers"),
        ({"layers": [(3,)]}, TraitError, r"layer 1 must be \(kernel, stride"),
        ({"layers": [(3, 1), (3, 1, 1, 0, 0)]}, TraitError, "layer 2 must be"),
        ({"layers": [(3, 1), (0, 1)]}, TraitError, "layer 2: kernel must be a whole number from 1 to 11, got 0"),
        ({"layers": [(3, 1.0)]}, TraitError, "layer 1: stride must be"),
        ({"layers": [(3, True)]}, TraitError, "layer 1: stride must be"),
        ({"layers": [(3, 4, 1, 1)] * 7}, TraitError, "layer 7 would see 10,923 pixels"),
        ({"size": 7}, TraitError, "size must be a whole number from 8 to 512, got 7"),
        ({"size": 51.5}, TraitError, "size"),
        ({"net": "vgg"}, ValueError, "no net 'vgg'; there are: five, eleven"),
        ({"net": "vgg16", "layers": [(3, 1)]}, ValueError, "layers or net, not both"),
    ],
)
def test_python_refuses_bad_arguments(arguments, error, words):
    with pytest.raises(error, match=words):
        ReceptiveFieldExplorer(**arguments)


def test_python_state_follows_changes():
    figure = ReceptiveFieldExplorer([(7, 2), (3, 1, 2), (3, 2, 1, 1)])
    assert figure.layers == [[7, 2, 1, 0], [3, 1, 2, 0], [3, 2, 1, 1]]
    assert figure.counts()[-1] == 3
    assert (figure.layer, figure.unit, figure.net) == (3, 1, None)
    figure.net = "alexnet"
    assert (figure.size, figure.layer, figure.unit, figure.net) == (224, 8, 3, "alexnet")
    before = figure.layers
    with pytest.raises(TraitError):
        figure.layers = [(3, 9)]
    with pytest.raises(TraitError):
        figure.size = 5
    assert (figure.layers, figure.size) == (before, 224)


def test_repr_builds_the_same_figure():
    for figure in (
        ReceptiveFieldExplorer(),
        ReceptiveFieldExplorer(net="vgg16", size=100),
        ReceptiveFieldExplorer([(2, 3, 2, 1)]),
    ):
        assert eval(repr(figure)).state() == figure.state()
    assert repr(ReceptiveFieldExplorer()) == "ReceptiveFieldExplorer(net='five', size=51)"
    assert repr(figure) == "ReceptiveFieldExplorer(layers=[(2, 3, 2, 1)], size=8)"


def test_fallback_says_what_the_figure_says():
    figures = [ReceptiveFieldExplorer(layers, size=size) for layers, size in random_stacks(12, 60)]
    cases = [[each.layers, each.size, each.layer, each.unit, each.pixel] for each in figures]
    for figure, said in zip(figures, call(FIGURE, "words", cases), strict=True):
        page = plain(html.unescape(figure.fallback()))
        grown, counts = (
            shapes.receptive_field([layer[:3] for layer in figure.layers]),
            units(figure.layers, figure.size),
        )
        for number, (layer, reach, count) in enumerate(zip(figure.layers, grown, counts[1:], strict=True), 1):
            cells = "".join(f"<td>{value:,}</td>" for value in (*layer, *reach, count))
            assert f'<th scope="row">{number}</th>{cells}' in page
        pixels = re.match(r"It sees (pixels? [^:]+): rf", said["sees"])[1]
        assert f"sees {pixels}: rf {grown[-1][0]}, jump {grown[-1][1]}." in page
        if grown[-1][0] > 1:
            assert plain(said["effective"]).removeprefix("Away from the edges, ") in page
    page = ReceptiveFieldExplorer(net="vgg16").fallback()
    assert '<th scope="row">conv5_3</th><td>3</td><td>1</td><td>1</td><td>1</td><td>196</td><td>16</td>' in page
    assert "pool5, unit 3 sees pixels 6 to 217: rf 212, jump 32." in page


def test_fallback_says_what_does_not_fit():
    figure = ReceptiveFieldExplorer([(7, 2), (7, 2)], size=12)
    assert (figure.unit, figure.pixel) == (0, 0)
    assert "A kernel of 7 with dilation 1 spans 7, but the padded input has only 3 (3 + 2·0)" in figure.fallback()
    assert "<td>19</td><td>4</td><td>–</td>" in figure.fallback()
