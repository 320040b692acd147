"""The convolution explorer: an image, a kernel, and every output number opened down to its products."""

from fractions import Fraction

import numpy as np
import traitlets

from cnnbook.figures.base import Figure
from cnnbook.shapes import output_size

LARGEST = 99


class Table(traitlets.TraitType):
    """Rows of numbers between -99 and 99, `least` to `most` a side; takes lists and arrays, keeps lists."""

    def __init__(self, least: int, most: int, default: list):
        super().__init__(default_value=default)
        self.least, self.most = least, most

    def validate(self, obj, value):
        array = self._numbers(value)
        if array.ndim != 2 or not all(self.least <= side <= self.most for side in array.shape):
            shape = " × ".join(map(str, array.shape)) or "a single number"
            raise traitlets.TraitError(f"{self.name} must be {self.least} to {self.most} numbers a side, got {shape}")
        if not np.all(np.abs(array) <= LARGEST):  # NaN is not <= 99 either
            raise traitlets.TraitError(f"every number of {self.name} must lie between -{LARGEST} and {LARGEST}")
        return [[int(number) if number == int(number) else number for number in row] for row in array.tolist()]

    def _numbers(self, value) -> np.ndarray:
        try:
            array = np.asarray(value)
        except ValueError:
            array = np.asarray(None)
        if array.dtype.kind not in "biuf":
            raise traitlets.TraitError(f"{self.name} must be rows of real numbers, all rows equally long")
        return array.astype(float)


class ConvolutionExplorer(Figure):
    """Slide a kernel over an image; every number of the output opens into its products.

    `image` is 4 to 8 numbers a side, `kernel` 1 to 4; both take lists and arrays. Without arguments: Sobel X on the
    ramp 1..25. `row` and `col` choose the output that is open, `walk` hides those after it. TraitError for bad input.
    A kernel that does not fit is no error: the figure says so in words.
    """

    figure = "convolution_explorer"
    image = Table(4, 8, [[5 * row + col + 1 for col in range(5)] for row in range(5)]).tag(sync=True)
    kernel = Table(1, 4, [[-1, 0, 1], [-2, 0, 2], [-1, 0, 1]]).tag(sync=True)
    stride = traitlets.Int(1, min=1, max=3).tag(sync=True)
    padding = traitlets.Int(0, min=0, max=2).tag(sync=True)
    dilation = traitlets.Int(1, min=1, max=3).tag(sync=True)
    row = traitlets.Int(0, min=0, max=99).tag(sync=True)
    col = traitlets.Int(0, min=0, max=99).tag(sync=True)
    walk = traitlets.Bool(False).tag(sync=True)

    def __init__(self, image=None, kernel=None, stride: int = 1, padding: int = 0, dilation: int = 1):
        given = {name: value for name, value in (("image", image), ("kernel", kernel)) if value is not None}
        super().__init__(**given, stride=stride, padding=padding, dilation=dilation)

    def output(self) -> np.ndarray:
        """The cross-correlation that the figure shows. Raises ValueError where the kernel does not fit."""
        settings = self.stride, self.padding, self.dilation
        image, kernel = np.pad(np.array(self.image, float), self.padding), np.array(self.kernel, float)
        for size, taps in zip(np.shape(self.image), kernel.shape, strict=True):
            output_size(size, taps, *settings)
        spans = [self.dilation * (taps - 1) + 1 for taps in kernel.shape]
        patches = np.lib.stride_tricks.sliding_window_view(image, spans)
        patches = patches[:: self.stride, :: self.stride, :: self.dilation, :: self.dilation]
        return np.einsum("rcij,ij->rc", patches, kernel)

    def fallback(self) -> str:
        image, kernel = _table("Image", self.image), _table("Kernel", self.kernel)
        settings = f"<p>Stride {self.stride}, zero padding {self.padding}, dilation {self.dilation}.</p>"
        try:
            output = self.output()
        except ValueError as error:
            return f"{image}{kernel}{settings}<p>No output: {str(error).replace('*', '·')}.</p>"
        shape = " × ".join(map(str, output.shape))
        first = f"<p>output[0, 0]: {self._first_sum()} {_equals(output[0, 0])}</p>"
        return f"{image}{kernel}{settings}{_table(f'Output, {shape}', output.tolist(), _rounded)}{first}"

    def _first_sum(self) -> str:
        """The products of output[0, 0], written out in the kernel's order."""
        image = np.pad(np.array(self.image, float), self.padding)
        kernel = np.array(self.kernel, float)
        patch = image[:: self.dilation, :: self.dilation][: kernel.shape[0], : kernel.shape[1]]
        pairs = zip(patch.flat, kernel.flat, strict=True)
        return " + ".join(f"{_factor(value)}×{_factor(weight)}" for value, weight in pairs)

    def __repr__(self) -> str:
        tables = {"image": self.image, "kernel": self.kernel}
        sides = ", ".join(f"{len(rows)}×{len(rows[0])} {name}" for name, rows in tables.items())
        return f"ConvolutionExplorer({sides}, stride={self.stride}, padding={self.padding}, dilation={self.dilation})"


# The figure's JavaScript writes numbers by the same rules; a test compares them.


def _rounded(value: float, digits: int = 2) -> str:
    return f"{round(value, digits) + 0:,.{digits}f}".rstrip("0").rstrip(".").replace("-", "−")


def _exact(value: float) -> str | None:
    """Up to three decimals, else a fraction of up to sixteenths, where that loses nothing; else None."""
    if abs(value - round(value, 3)) < 1e-9:
        return _rounded(value, 3)
    near = Fraction(value).limit_denominator(16)
    return str(near).replace("-", "−") if abs(value - near) < 1e-9 else None


def _text(value: float) -> str:
    return _exact(value) or _rounded(value)


def _equals(value: float) -> str:
    text = _exact(value)
    if text is None or "/" not in text:
        return f"= {text}" if text else f"≈ {_rounded(value)}"
    return f"= {text} ≈ {_rounded(value)}"


def _factor(value: float) -> str:
    """In brackets where it is negative or a fraction."""
    text = _text(value)
    return f"({text})" if "−" in text or "/" in text else text


def _table(caption: str, rows: list[list[float]], write=_text) -> str:
    body = "".join(f"<tr>{''.join(f'<td>{write(value)}</td>' for value in row)}</tr>" for row in rows)
    return f"<table><caption>{caption}</caption><tbody>{body}</tbody></table>"
