"""Sizes, parameter counts and receptive fields against torch's own layers and gradients."""

import itertools

import numpy as np
import pytest
import torch

from cnnbook.shapes import conv_params, output_size, receptive_field

GRID = list(itertools.product(range(1, 13), range(1, 6), range(1, 5), range(4), range(1, 4)))


def torch_size(size: int, kernel: int, stride: int, padding: int, dilation: int) -> int | None:
    """Positions that torch's convolution gives along one axis; None where it refuses a kernel that is too large."""
    image, weight = torch.empty(1, 1, size, device="meta"), torch.empty(1, 1, kernel, device="meta")
    try:
        return torch.nn.functional.conv1d(image, weight, None, stride, padding, dilation).shape[2]
    except RuntimeError as error:
        if "greater than actual input size" not in str(error):
            raise
        return None


def library_size(*case: int) -> int | None:
    try:
        return output_size(*case)
    except ValueError:
        return None


def test_output_size_is_torchs_over_the_whole_grid():
    want = [torch_size(*case) for case in GRID]
    assert [library_size(*case) for case in GRID] == want
    left = [(n + 2 * p - d * (k - 1) - 1) % s for n, k, s, p, d in GRID]
    assert sum(rest > 0 and found is not None for rest, found in zip(left, want, strict=True)) > 800
    assert want.count(None) > 400


def test_defaults_are_stride_1_no_padding_no_dilation():
    assert [output_size(n, k) for n in range(3, 9) for k in (1, 2, 3)] == [
        torch_size(n, k, 1, 0, 1) for n in range(3, 9) for k in (1, 2, 3)
    ]
    assert (output_size(227, 11, 4), output_size(224, 7, 2, 3), output_size(32, 3, dilation=5)) == (55, 112, 22)


def test_a_kernel_that_does_not_fit_is_said_with_its_numbers_and_the_way_out():
    with pytest.raises(ValueError) as caught:
        output_size(2, 3, padding=1, dilation=2)
    for words in (
        "a kernel of 3 with dilation 2 spans 5",
        "has only 4 (2 + 2*1)",
        "enlarge the input or padding, or shrink",
    ):
        assert words in str(caught.value)
    assert output_size(3, 3, padding=1, dilation=2) == 1


@pytest.mark.parametrize(
    "value",
    [
        3.0,
        True,
        False,
        "3",
        None,
        [3],
        np.float64(3),
        np.bool_(True),
        np.array(3.0),
        np.array([3, 4]),
        torch.tensor(3.0),
    ],
)
def test_output_size_refuses_what_is_no_integer(value):
    fitting = dict(size=9, kernel=3, stride=2, padding=1, dilation=1)
    for name in fitting:
        with pytest.raises(ValueError, match=f"{name} must be an integer, got"):
            output_size(**fitting | {name: value})


@pytest.mark.parametrize(
    ("name", "value", "least"),
    [
        ("size", 0, 1),
        ("kernel", 0, 1),
        ("kernel", -3, 1),
        ("stride", 0, 1),
        ("stride", -1, 1),
        ("dilation", 0, 1),
        ("padding", -1, 0),
    ],
)
def test_output_size_refuses_what_is_out_of_range(name, value, least):
    with pytest.raises(ValueError, match=f"{name} must be at least {least}, got {value}"):
        output_size(**dict(size=9, kernel=3, stride=2, padding=1, dilation=1) | {name: value})


@pytest.mark.parametrize("integer", [np.int64, np.int32, np.int16, np.uint8])
def test_integers_of_numpy_give_pythons_own_and_never_overflow(integer):
    assert output_size(integer(120), integer(3), integer(1), integer(100)) == 318
    assert conv_params(integer(100), integer(100), integer(3)) == 90_100
    assert receptive_field([(integer(3), integer(2))] * 12)[-1] == (8191, 4096)
    found = output_size(integer(9), 3), conv_params(integer(9), 3, 3), *receptive_field([(integer(3), integer(2))])[0]
    assert {type(value) for value in found} == {int}


def test_conv_params_is_what_torchs_layer_holds():
    kernels = [1, 3, (1, 7), (7, 1), (3, 5), (11, 2)]
    channels = [(1, 1, 1), (3, 64, 1), (12, 20, 4), (12, 6, 6), (32, 32, 32), (5, 15, 5)]
    for kernel, (inputs, outputs, groups), bias in itertools.product(kernels, channels, (True, False)):
        layer = torch.nn.Conv2d(inputs, outputs, kernel, groups=groups, bias=bias, device="meta")
        want = sum(parameter.numel() for parameter in layer.parameters())
        assert conv_params(inputs, outputs, kernel, bias=bias, groups=groups) == want, (kernel, inputs, outputs, groups)
    assert conv_params(3, 64, 7) == 9_472


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((6, 4, 3, True, 4), "groups=4 must divide in_channels=6 and out_channels=4"),
        ((4, 6, 3, True, 4), "groups=4 must divide in_channels=4 and out_channels=6"),
        ((4, 4, 3, True, 0), "groups must be at least 1, got 0"),
        ((0, 4, 3), "in_channels must be at least 1, got 0"),
        ((4, -2, 3), "out_channels must be at least 1, got -2"),
        ((4, 4, (3, 0)), "kernel_w must be at least 1, got 0"),
        ((4, 4, (0, 3)), "kernel_h must be at least 1, got 0"),
        ((4, 4, 3.0), "kernel_h must be an integer, got 3.0 .float."),
        ((True, 4, 3), "in_channels must be an integer, got True .bool."),
        ((4, "4", 3), "out_channels must be an integer, got '4' .str."),
    ],
)
def test_conv_params_says_what_is_wrong(arguments, words):
    with pytest.raises(ValueError, match=words):
        conv_params(*arguments)


def reach(layers: list[tuple[int, int, int]], size: int) -> tuple[int, int]:
    """Width of the input that output 0 of real layers reads, and how far output 1 reads from there, by autograd."""
    image = torch.ones(1, 1, size, dtype=torch.float64, requires_grad=True)
    output = image
    for kernel, stride, dilation in layers:
        weight = torch.ones(1, 1, kernel, dtype=torch.float64)
        output = torch.nn.functional.conv1d(output, weight, stride=stride, dilation=dilation)
    reads = [
        torch.autograd.grad(output[0, 0, i], image, retain_graph=True)[0][0, 0].nonzero().flatten() for i in (0, 1)
    ]
    return int(reads[0].max() - reads[0].min()) + 1, int(reads[1].min() - reads[0].min())


def test_receptive_field_is_where_torchs_gradient_reaches():
    rng, longer = np.random.default_rng(1), 0
    for _ in range(80):
        depth = int(rng.integers(1, 5))
        layers = [tuple(int(rng.integers(1, most)) for most in (5, 4, 4)) for _ in range(depth)]
        want = [reach(layers[: count + 1], size=600) for count in range(depth)]
        assert receptive_field(layers) == want, layers
        longer += want[-1][0] > 30
    assert longer > 10


def test_layers_of_two_have_no_dilation():
    layers = [(3, 1), (2, 2), (5, 3)]
    assert receptive_field(layers) == receptive_field([(*layer, 1) for layer in layers])
    assert receptive_field(layers)[-1] == reach([(*layer, 1) for layer in layers], size=100)
    assert receptive_field([]) == []


def test_the_eleven_layers_of_the_corrected_table():
    kernels, strides = [7] + [3] * 10, [2, 2, 1, 1, 2, 1, 2, 1, 2, 1, 2]
    layers = list(zip(kernels, strides, strict=True))
    fields = [7, 11, 19, 27, 35, 51, 67, 99, 131, 195, 259]
    jumps = [2, 4, 4, 4, 8, 8, 16, 16, 32, 32, 64]
    assert receptive_field(layers) == list(zip(fields, jumps, strict=True))
    assert reach([(*layer, 1) for layer in layers], size=400) == (259, 64)


@pytest.mark.parametrize(
    ("layers", "words"),
    [
        ([(3, 1), (3,)], r"layer 1 must be \(kernel, stride\) or \(kernel, stride, dilation\), got \(3,\)"),
        ([(3, 1, 1, 1)], "layer 0 must be"),
        ([()], "layer 0 must be"),
        ([(0, 1)], "kernel must be at least 1, got 0"),
        ([(3, 0)], "stride must be at least 1, got 0"),
        ([(3, 1), (3, 1, -1)], "dilation must be at least 1, got -1"),
        ([(3.0, 1)], "kernel must be an integer, got 3.0 .float."),
        ([(3, True)], "stride must be an integer, got True .bool."),
    ],
)
def test_receptive_field_says_what_is_wrong(layers, words):
    with pytest.raises(ValueError, match=words):
        receptive_field(layers)
