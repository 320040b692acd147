"""Convolution and pooling in NumPy, NCHW, as pages 4 to 6 build them up; the same results as torch.nn.functional."""

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from cnnbook.shapes import output_size, same_padding

Pair = int | tuple[int, int]


def conv2d(
    x: np.ndarray,
    weight: np.ndarray,
    bias: np.ndarray | None = None,
    stride: Pair = 1,
    padding: Pair | str = 0,
    dilation: Pair = 1,
    groups: int = 1,
) -> np.ndarray:
    """Cross-correlation of x (N, C_in, H, W) with weight (C_out, C_in/groups, Kh, Kw), plus bias (C_out,).

    Returns (N, C_out, H_out, W_out) in x's dtype. padding is a number of zeros at each end, one for each axis, or
    'valid' (none), 'same' (stride 1 only; an odd total puts the extra zero at the end) or 'full' (every overlap).
    NaN and infinities spread as in torch. Raises ValueError for a wrong rank, for integers (they would overflow
    without a word), for channels or groups that do not match, and for a kernel larger than the padded input.
    """
    _check_conv(x, weight, bias, groups)
    stride, dilation = pair("stride", stride), pair("dilation", dilation)
    x = np.pad(x, ((0, 0), (0, 0), *pad_amounts(padding, weight.shape[2:], stride, dilation)))
    patches = _patches(x, weight.shape[2:], stride, dilation)  # (N, C_in, H_out, W_out, Kh, Kw)
    n, c_in, rows, columns, kernel_h, kernel_w = patches.shape
    patches = patches.reshape(n, groups, c_in // groups, rows, columns, kernel_h, kernel_w)
    weight = weight.reshape(groups, -1, c_in // groups, kernel_h, kernel_w)
    out = np.einsum("ngcijhw,gochw->ngoij", patches, weight, optimize=True).reshape(n, -1, rows, columns)
    return (out if bias is None else out + bias[:, None, None]).astype(x.dtype, copy=False)


def max_pool2d(x: np.ndarray, kernel: Pair, stride: Pair | None = None, padding: Pair = 0) -> np.ndarray:
    """The largest value of each window of x (N, C, H, W); stride is the kernel's size unless given. NaN wins.

    Padding is with minus infinity, so it never wins. Raises ValueError as `conv2d` does, and for a padding of more
    than half the kernel, where a window could lie in the padding alone.
    """
    return _pool(x, kernel, stride, padding, -np.inf).max((-2, -1))


def avg_pool2d(x: np.ndarray, kernel: Pair, stride: Pair | None = None, padding: Pair = 0) -> np.ndarray:
    """The mean of each window of x (N, C, H, W), padding zeros included, as torch counts by default."""
    return _pool(x, kernel, stride, padding, 0).mean((-2, -1), dtype=x.dtype)


def global_avg_pool2d(x: np.ndarray) -> np.ndarray:
    """The mean of each map: (N, C, H, W) -> (N, C)  (Lin, Chen & Yan 2013, section 3.2)."""
    _check_image(x)
    return x.mean((2, 3), dtype=x.dtype)


def blur_pool2d(x: np.ndarray, stride: int = 2) -> np.ndarray:
    """Each map of x (N, C, H, W) blurred with [1, 2, 1] x [1, 2, 1] / 16, then every `stride`-th value kept.

    Same-size reflection at the border. Low-pass before subsampling: R. Zhang 2019, "Making convolutional networks
    shift-invariant again". Raises ValueError for a map with a side under 2.
    """
    _check_image(x)
    if min(x.shape[2:]) < 2:
        raise ValueError(f"blur_pool2d reflects at the border and needs sides of at least 2, got {x.shape[2:]}")
    binomial = (np.outer([1, 2, 1], [1, 2, 1]) / 16).astype(x.dtype)
    kernel = np.broadcast_to(binomial, (x.shape[1], 1, 3, 3))
    padded = np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1)), mode="reflect")
    return conv2d(padded, kernel, stride=stride, groups=x.shape[1])


def pad_amounts(padding: Pair | str, kernel: Pair, stride: Pair = 1, dilation: Pair = 1) -> tuple:
    """Zeros (before, after) for height and for width; ValueError for an unknown word or 'same' with a stride."""
    kernel, stride, dilation = pair("kernel", kernel), pair("stride", stride), pair("dilation", dilation)
    if padding == "same":
        if stride != (1, 1):
            raise ValueError("padding='same' is not defined for strided convolutions; give the zeros as a number")
        return tuple(same_padding(k, d) for k, d in zip(kernel, dilation, strict=True))
    if padding == "full":
        return tuple((d * (k - 1),) * 2 for k, d in zip(kernel, dilation, strict=True))
    if isinstance(padding, str) and padding != "valid":
        raise ValueError(f"padding must be a number, a pair, 'valid', 'same' or 'full', got {padding!r}")
    rows, columns = (0, 0) if padding == "valid" else pair("padding", padding, least=0)
    return (rows, rows), (columns, columns)


def pair(name: str, value: Pair, least: int = 1) -> tuple[int, int]:
    """(rows, columns) from one number or two; ValueError where one is no integer or below `least`."""
    values = tuple(value) if isinstance(value, (tuple, list)) else (value, value)
    if len(values) != 2 or any(
        isinstance(v, bool) or not isinstance(v, (int, np.integer)) or v < least for v in values
    ):
        raise ValueError(f"{name} must be an integer of at least {least}, or two of them, got {value!r}")
    return int(values[0]), int(values[1])


def _patches(x: np.ndarray, kernel: tuple, stride: tuple, dilation: tuple) -> np.ndarray:
    """A view (N, C, H_out, W_out, Kh, Kw) of what each output sees; no copy."""
    for axis in (0, 1):
        output_size(x.shape[2 + axis], kernel[axis], stride[axis], 0, dilation[axis])  # raises where it does not fit
    spans = tuple(d * (k - 1) + 1 for k, d in zip(kernel, dilation, strict=True))
    windows = sliding_window_view(x, spans, axis=(2, 3))
    return windows[:, :, :: stride[0], :: stride[1], :: dilation[0], :: dilation[1]]


def _pool(x: np.ndarray, kernel: Pair, stride: Pair | None, padding: Pair, fill: float) -> np.ndarray:
    """The windows (N, C, H_out, W_out, Kh, Kw) of a pooling layer."""
    _check_image(x)
    kernel = pair("kernel", kernel)
    stride, padding = pair("stride", kernel if stride is None else stride), pair("padding", padding, least=0)
    if padding[0] > kernel[0] // 2 or padding[1] > kernel[1] // 2:
        raise ValueError(f"padding {padding} is more than half the kernel {kernel}: a window could hold padding alone")
    x = np.pad(x, ((0, 0), (0, 0), (padding[0],) * 2, (padding[1],) * 2), constant_values=fill)
    return _patches(x, kernel, stride, (1, 1))


def _check_image(x: np.ndarray) -> None:
    if x.ndim != 4:
        raise ValueError(f"x must be (N, C, H, W), got shape {x.shape}; add axes with x[None, None]")
    if not np.issubdtype(x.dtype, np.floating):
        raise ValueError(f"x must be of a float type, got {x.dtype}: integers would overflow; use x.astype('float32')")


def _check_conv(x: np.ndarray, weight: np.ndarray, bias: np.ndarray | None, groups: int) -> None:
    _check_image(x)
    if weight.ndim != 4:
        raise ValueError(f"weight must be (C_out, C_in/groups, Kh, Kw), got shape {weight.shape}")
    c_in, c_out = x.shape[1], weight.shape[0]
    if groups < 1 or c_in % groups or c_out % groups:
        raise ValueError(f"groups={groups} must divide C_in={c_in} and C_out={c_out}")
    if weight.shape[1] != c_in // groups:
        raise ValueError(f"x has {c_in} channels in {groups} groups, so weight needs {c_in // groups} input channels, "
                         f"got {weight.shape[1]}")  # fmt: skip
    if bias is not None and bias.shape != (c_out,):
        raise ValueError(f"bias must be ({c_out},), one number an output channel, got {bias.shape}")
