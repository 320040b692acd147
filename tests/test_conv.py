"""cnnbook.conv against torch on random settings, and every error it promises."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from cnnbook import conv
from cnnbook.shapes import conv_macs, same_padding

TOLERANCE = {np.float32: 1e-4, np.float64: 1e-12}


def settings(rng: np.random.Generator) -> dict:
    """One random convolution that fits: H != W, Kh != Kw, uneven strides, dilation, groups, N > 1."""
    kernel = rng.integers(1, 5, 2)
    dilation, stride, padding = rng.integers(1, 4, 2), rng.integers(1, 4, 2), rng.integers(0, 4, 2)
    least = np.maximum(dilation * (kernel - 1) + 1 - 2 * padding, 1)
    groups = int(rng.choice([1, 1, 2, 3]))
    return {
        "shape": (int(rng.integers(2, 4)), groups * int(rng.integers(1, 4)), *map(int, least + rng.integers(0, 7, 2))),
        "out": groups * int(rng.integers(1, 4)),
        "kernel": tuple(map(int, kernel)),
        "groups": groups,
        "stride": tuple(map(int, stride)),
        "padding": tuple(map(int, padding)),
        "dilation": tuple(map(int, dilation)),
    }


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_conv2d_equals_torch(dtype):
    rng = np.random.default_rng(5)
    for _ in range(300):
        s = settings(rng)
        x = rng.standard_normal(s["shape"]).astype(dtype)
        w = rng.standard_normal((s["out"], s["shape"][1] // s["groups"], *s["kernel"])).astype(dtype)
        b = rng.standard_normal(s["out"]).astype(dtype) if rng.random() < 0.5 else None
        options = {name: s[name] for name in ("stride", "padding", "dilation", "groups")}
        expected = F.conv2d(torch.tensor(x), torch.tensor(w), None if b is None else torch.tensor(b), **options).numpy()
        found = conv.conv2d(x, w, b, **options)
        assert found.dtype == dtype
        np.testing.assert_allclose(found, expected, atol=TOLERANCE[dtype], rtol=TOLERANCE[dtype], err_msg=str(s))


@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel:UserWarning")
@pytest.mark.parametrize("kernel", [(1, 2), (2, 3), (4, 1), (3, 5), (4, 4)])
@pytest.mark.parametrize("dilation", [(1, 1), (2, 3)])
def test_words_for_padding(kernel, dilation):
    rng = np.random.default_rng(6)
    x, w = rng.standard_normal((2, 3, 14, 17)), rng.standard_normal((4, 3, *kernel))
    same = F.conv2d(torch.tensor(x), torch.tensor(w), padding="same", dilation=dilation).numpy()
    np.testing.assert_allclose(conv.conv2d(x, w, padding="same", dilation=dilation), same, atol=1e-12)
    valid = F.conv2d(torch.tensor(x), torch.tensor(w), dilation=dilation).numpy()
    np.testing.assert_allclose(conv.conv2d(x, w, padding="valid", dilation=dilation), valid, atol=1e-12)
    zeros = tuple(d * (k - 1) for k, d in zip(kernel, dilation, strict=True))
    full = F.conv2d(torch.tensor(x), torch.tensor(w), padding=zeros, dilation=dilation).numpy()
    np.testing.assert_allclose(conv.conv2d(x, w, padding="full", dilation=dilation), full, atol=1e-12)
    assert full.shape[2:] == tuple(s + z for s, z in zip(x.shape[2:], zeros, strict=True))


def test_pooling_equals_torch():
    rng = np.random.default_rng(7)
    for _ in range(200):
        kernel, stride = tuple(map(int, rng.integers(1, 5, 2))), tuple(map(int, rng.integers(1, 4, 2)))
        padding = tuple(int(rng.integers(0, k // 2 + 1)) for k in kernel)
        x = rng.standard_normal((2, 3, *map(int, rng.integers(5, 12, 2)))) - 1
        t, options = torch.tensor(x), {"stride": stride, "padding": padding}
        np.testing.assert_array_equal(conv.max_pool2d(x, kernel, **options), F.max_pool2d(t, kernel, **options).numpy())
        expected = F.avg_pool2d(t, kernel, **options).numpy()
        np.testing.assert_allclose(conv.avg_pool2d(x, kernel, **options), expected, atol=1e-14)


def test_pooling_strides_by_its_kernel_unless_told():
    x = np.arange(2 * 3 * 5 * 7, dtype=np.float32).reshape(2, 3, 5, 7)
    np.testing.assert_array_equal(conv.max_pool2d(x, (2, 3)), F.max_pool2d(torch.tensor(x), (2, 3)).numpy())
    np.testing.assert_allclose(conv.global_avg_pool2d(x), x.reshape(2, 3, -1).mean(2))


@pytest.mark.parametrize("stride", [1, 2, 3])
def test_blur_pool_equals_torch(stride):
    x = np.random.default_rng(8).standard_normal((2, 3, 9, 6))
    t = F.pad(torch.tensor(x), (1, 1, 1, 1), mode="reflect")
    binomial = torch.tensor([[1.0, 2, 1], [2, 4, 2], [1, 2, 1]], dtype=torch.float64) / 16
    expected = F.conv2d(t, binomial.expand(3, 1, 3, 3), stride=stride, groups=3).numpy()
    np.testing.assert_allclose(conv.blur_pool2d(x, stride), expected, atol=1e-14)


@pytest.mark.filterwarnings("ignore:invalid value encountered in matmul:RuntimeWarning")
def test_non_finite_values_spread_as_in_torch():
    x = np.ones((1, 1, 4, 5))
    x[0, 0, 0, 0], x[0, 0, 3, 4] = np.nan, np.inf
    w = np.array([[[[0.0, 1.0], [1.0, 0.0]]]])
    expected = F.conv2d(torch.tensor(x), torch.tensor(w)).numpy()
    np.testing.assert_array_equal(conv.conv2d(x, w), expected)
    assert np.isnan(conv.max_pool2d(x, 2)[0, 0, 0, 0])


GOOD = {"x": np.zeros((2, 4, 5, 6)), "weight": np.zeros((6, 4, 3, 2))}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"x": np.zeros((4, 5, 6))}, r"x must be \(N, C, H, W\), got shape \(4, 5, 6\)"),
        ({"x": np.zeros((2, 4, 5, 6), dtype=int)}, "integers would overflow"),
        ({"weight": np.zeros((6, 3, 2))}, r"weight must be \(C_out, C_in/groups, Kh, Kw\)"),
        ({"weight": np.zeros((6, 3, 3, 2))}, "so weight needs 4 input channels, got 3"),
        ({"groups": 4}, "groups=4 must divide C_in=4 and C_out=6"),
        ({"groups": 0}, "groups=0 must divide"),
        ({"bias": np.zeros(4)}, r"bias must be \(6,\)"),
        ({"weight": np.zeros((6, 4, 6, 2))}, "a kernel of 6 with dilation 1 spans 6, but the padded input has only 5"),
        ({"dilation": (1, 6)}, "spans 7, but the padded input has only 6"),
        ({"stride": 0}, "stride must be an integer of at least 1"),
        ({"stride": 1.5}, "stride must be an integer"),
        ({"padding": -1}, "padding must be an integer of at least 0"),
        ({"padding": "reflect"}, "padding must be a number, a pair, 'valid', 'same' or 'full'"),
        ({"padding": "same", "stride": 2}, "padding='same' is not defined for strided convolutions"),
        ({"dilation": (1, 2, 3)}, "dilation must be an integer of at least 1, or two of them"),
    ],
)
def test_errors_say_what_is_wrong(changes, message):
    conv.conv2d(**GOOD)
    with pytest.raises(ValueError, match=message):
        conv.conv2d(**{**GOOD, **changes})


def test_pooling_errors():
    x = np.zeros((1, 1, 4, 4))
    with pytest.raises(ValueError, match="more than half the kernel"):
        conv.max_pool2d(x, 2, padding=2)
    with pytest.raises(ValueError, match="spans 5, but the padded input has only 4"):
        conv.avg_pool2d(x, 5)
    with pytest.raises(ValueError, match="sides of at least 2"):
        conv.blur_pool2d(np.zeros((1, 1, 1, 4)))


def test_same_padding_and_macs():
    assert [same_padding(k) for k in (1, 2, 3, 4, 7)] == [(0, 0), (0, 1), (1, 1), (1, 2), (3, 3)]
    assert same_padding(3, dilation=4) == (4, 4)
    layer = torch.nn.Conv2d(6, 9, (3, 5), groups=3, device="meta")
    from torch.utils.flop_counter import FlopCounterMode

    with FlopCounterMode(display=False) as counter:
        out = layer(torch.zeros(1, 6, 11, 13, device="meta"))
    assert conv_macs(6, 9, (3, 5), tuple(out.shape[2:]), groups=3) == counter.get_total_flops() // 2
    with pytest.raises(ValueError, match="out_h must be at least 1"):
        conv_macs(3, 4, 3, (0, 5))
