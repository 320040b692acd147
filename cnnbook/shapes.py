"""Sizes, parameters and receptive fields: the arithmetic that needs no tensors."""

from collections.abc import Sequence
from numbers import Integral


def output_size(size: int, kernel: int, stride: int = 1, padding: int = 0, dilation: int = 1) -> int:
    """Number of positions that a kernel takes along one axis.

    floor((size + 2*padding - dilation*(kernel - 1) - 1) / stride) + 1  (Dumoulin & Visin 2016, relationship 14).
    Raises ValueError where an argument is no integer or out of range, and where the dilated kernel does not fit.
    """
    size, kernel, stride, dilation = _integers(1, size=size, kernel=kernel, stride=stride, dilation=dilation)
    (padding,) = _integers(0, padding=padding)
    extent = dilation * (kernel - 1) + 1
    if extent > size + 2 * padding:
        raise ValueError(
            f"a kernel of {kernel} with dilation {dilation} spans {extent}, but the padded input has only "
            f"{size + 2 * padding} ({size} + 2*{padding}); enlarge the input or padding, or shrink the kernel"
        )
    return (size + 2 * padding - extent) // stride + 1


def conv_params(
    in_channels: int, out_channels: int, kernel: int | tuple[int, int], bias: bool = True, groups: int = 1
) -> int:
    """Parameters of a convolution: out * (in/groups) * kernel_h * kernel_w, and one bias an output channel.

    They do not depend on the image's size. Raises ValueError where groups divide not both channel counts.
    """
    kernel_h, kernel_w = kernel if isinstance(kernel, tuple) else (kernel, kernel)
    in_channels, out_channels, groups = _integers(1, in_channels=in_channels, out_channels=out_channels, groups=groups)
    kernel_h, kernel_w = _integers(1, kernel_h=kernel_h, kernel_w=kernel_w)
    if in_channels % groups or out_channels % groups:
        raise ValueError(f"groups={groups} must divide in_channels={in_channels} and out_channels={out_channels}")
    return out_channels * (in_channels // groups) * kernel_h * kernel_w + bias * out_channels


def conv_macs(
    in_channels: int,
    out_channels: int,
    kernel: int | tuple[int, int],
    out_size: int | tuple[int, int],
    groups: int = 1,
) -> int:
    """Multiply-accumulates of a convolution for one image: each weight once for every OUTPUT position.

    Biases are additions and do not count. Raises ValueError as `conv_params` does.
    """
    out_h, out_w = out_size if isinstance(out_size, tuple) else (out_size, out_size)
    out_h, out_w = _integers(1, out_h=out_h, out_w=out_w)
    return conv_params(in_channels, out_channels, kernel, bias=False, groups=groups) * out_h * out_w


def same_padding(kernel: int, dilation: int = 1) -> tuple[int, int]:
    """Zeros before and after one axis that keep its size at stride 1: dilation*(kernel - 1) in all.

    An odd total, from an even kernel, puts the extra zero at the end, as torch does.
    """
    kernel, dilation = _integers(1, kernel=kernel, dilation=dilation)
    total = dilation * (kernel - 1)
    return total // 2, total - total // 2


def receptive_field(layers: Sequence[tuple[int, ...]]) -> list[tuple[int, int]]:
    """Receptive field and jump after each layer; layers are (kernel, stride) or (kernel, stride, dilation).

    rf += dilation*(kernel - 1)*jump, then jump *= stride, from (1, 1)  (Araujo, Norris & Sim 2019, Distill).
    Both are in input pixels along one axis. Raises ValueError for a layer of another length or out of range.
    """
    rf, jump, grown = 1, 1, []
    for index, layer in enumerate(layers):
        if len(layer) not in (2, 3):
            raise ValueError(f"layer {index} must be (kernel, stride) or (kernel, stride, dilation), got {layer!r}")
        kernel, stride, dilation = (*layer, 1)[:3]
        kernel, stride, dilation = _integers(1, kernel=kernel, stride=stride, dilation=dilation)
        rf, jump = rf + dilation * (kernel - 1) * jump, jump * stride
        grown.append((rf, jump))
    return grown


def _integers(least: int, **values: int) -> list[int]:
    """The values as Python's own integers, which never overflow.

    Raises ValueError for one that is no integer (a bool or an array is none) or is below `least`.
    """
    for name, value in values.items():
        if isinstance(value, bool) or not isinstance(value, Integral):
            raise ValueError(f"{name} must be an integer, got {value!r} ({type(value).__name__})")
        if value < least:
            raise ValueError(f"{name} must be at least {least}, got {value}")
    return [int(value) for value in values.values()]
