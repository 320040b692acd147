"""The backprop stepper: a tiny convolution forward and backward, one output position at a time."""

import numpy as np
import traitlets

from cnnbook.figures.base import Figure, whole_number
from cnnbook.shapes import output_size

TARGET = 2  # of the upstream gradient named "loss"
MIXED = [1, -2, 2, 0, -1, 3, -3]
UPSTREAMS = ["mixed", "ones", "one_hot", "loss", "own"]
LIMITS = {"bias": (-9, 9), "stride": (1, 2), "padding": (0, 1), "step": (0, 99), "row": (0, 99), "col": (0, 99)}


class WholeTable(traitlets.TraitType):
    """Rows of whole numbers between -most and most; takes lists and arrays, keeps lists."""

    def __init__(self, rows: tuple[int, int], cols: tuple[int, int], most: int, default: list):
        super().__init__(default_value=default)
        self.sides, self.most = (rows, cols), most

    def validate(self, obj, value):
        if self.sides[0][0] == 0 and isinstance(value, list) and not value:
            return []
        array = self._numbers(value)
        if array.ndim != 2 or not all(a <= side <= b for side, (a, b) in zip(array.shape, self.sides, strict=True)):
            (tall, high), (wide, far) = self.sides
            shape = " × ".join(map(str, array.shape)) or "a single number"
            raise traitlets.TraitError(f"{self.name} must be {tall}-{high} rows of {wide}-{far} numbers, got {shape}")
        if not np.all((np.abs(array) <= self.most) & (array == np.round(array))):  # false for NaN too
            raise traitlets.TraitError(
                f"every number of {self.name} must be a whole number from -{self.most} to {self.most}"
            )
        return array.astype(int).tolist()

    def _numbers(self, value) -> np.ndarray:
        try:
            array = np.asarray(value)
        except ValueError:
            array = np.asarray(None)
        if array.dtype.kind not in "iuf":
            raise traitlets.TraitError(f"{self.name} must be rows of whole numbers, all rows equally long")
        return array.astype(float)


class BackpropStepper(Figure):
    """Step through a convolution forward and then backward; every gradient opens into the sum of its terms.

    `image` is 3-5 rows of 3-6 numbers, `kernel` 1-3 a side, both whole from -9 to 9, as is `bias`. `dout` is the
    upstream gradient: a name ("mixed", "ones", "one_hot", "loss" for ½(out − 2)²) or a table in the output's shape.
    As traits these are two: `upstream` is the name, and "own" shows the table `dout`, cut or filled with zeros where
    a later stride, padding or size changes the output's shape. `phase` and `step` are the place in the walk (step
    counts from 0 and stops at the last position), `opened` with `row` and `col` the opened cell. TraitError for bad
    input.
    """

    figure = "backprop_stepper"
    image = WholeTable((3, 5), (3, 6), 9, [[1, 0, 2, -1, 3], [2, 4, -2, 0, 1], [0, 3, 1, 2, -1], [-1, 2, 0, 5, 2]]).tag(
        sync=True
    )
    kernel = WholeTable((1, 3), (1, 3), 9, [[1, -1, 2], [0, 3, -2]]).tag(sync=True)
    bias = traitlets.Int(0).tag(sync=True)
    upstream = traitlets.Enum(UPSTREAMS, "mixed").tag(sync=True)
    dout = WholeTable((0, 7), (0, 8), 999, []).tag(sync=True)
    stride = traitlets.Int(1).tag(sync=True)
    padding = traitlets.Int(0).tag(sync=True)
    phase = traitlets.Enum(["forward", "backward"], "backward").tag(sync=True)
    step = traitlets.Int(0).tag(sync=True)
    opened = traitlets.Enum(["dX", "dW", "db"], "dW").tag(sync=True)
    row = traitlets.Int(1).tag(sync=True)
    col = traitlets.Int(1).tag(sync=True)

    def __init__(self, image=None, kernel=None, bias=0, dout=None, stride=1, padding=0, step=0, **traits):
        if isinstance(dout, str):
            traits, dout = {"upstream": dout, **traits}, None
        given = {"image": image, "kernel": kernel, "dout": dout}
        given = {name: value for name, value in given.items() if value is not None}
        own = {"upstream": "own"} if dout is not None else {}
        super().__init__(**given, **{**own, **traits}, bias=bias, stride=stride, padding=padding, step=step)
        self._check_dout()

    @traitlets.validate(*LIMITS)
    def _within(self, proposal):
        return whole_number(proposal, LIMITS)

    def _check_dout(self) -> None:
        if self.upstream == "own" and np.shape(self.dout) != self.output().shape:
            got, wanted = (" × ".join(map(str, shape)) for shape in (np.shape(self.dout), self.output().shape))
            raise traitlets.TraitError(f"dout must have the shape of the output, {wanted}, got {got}")

    def output(self) -> np.ndarray:
        """The output, (rows, columns): the cross-correlation of the padded image with the kernel, plus the bias."""
        return np.einsum("ijuv,uv->ij", self._patches(), np.array(self.kernel)) + self.bias

    def upstream_gradient(self) -> np.ndarray:
        """dOut, in the output's shape."""
        output = self.output()
        result = np.zeros_like(output)
        if self.upstream == "loss":
            return output - TARGET
        if self.upstream == "own":
            own = np.array(self.dout)[: len(output), : len(output[0])] if self.dout else np.zeros((0, 0), int)
            result[: own.shape[0], : own.shape[1]] = own
        elif self.upstream == "one_hot":
            result[result.shape[0] // 2, result.shape[1] // 2] = 1
        else:
            result.flat = MIXED if self.upstream == "mixed" else 1  # repeated until the array is full
        return result

    def gradients(self) -> tuple[np.ndarray, np.ndarray, int]:
        """dX in the image's shape, dW in the kernel's, and db."""
        dout, kernel = self.upstream_gradient(), np.array(self.kernel)
        padded = np.zeros_like(np.pad(self.image, self.padding))
        for (row, col), flow in np.ndenumerate(dout):
            top, left = row * self.stride, col * self.stride
            padded[top : top + len(kernel), left : left + len(kernel[0])] += flow * kernel
        inner = tuple(slice(self.padding, side - self.padding) for side in padded.shape)
        return padded[inner], np.einsum("ij,ijuv->uv", dout, self._patches()), int(dout.sum())

    def _patches(self) -> np.ndarray:
        """What the kernel lies on at each position: (rows, columns, kernel rows, kernel columns)."""
        image, taps = np.pad(self.image, self.padding), np.shape(self.kernel)
        for size, kernel in zip(np.shape(self.image), taps, strict=True):
            output_size(size, kernel, self.stride, self.padding)
        return np.lib.stride_tricks.sliding_window_view(image, taps)[:: self.stride, :: self.stride]

    def fallback(self) -> str:
        dx, dw, db = self.gradients()
        tables = {
            "Image X": self.image,
            "Kernel W": self.kernel,
            "Output": self.output().tolist(),
            "Upstream gradient dOut": self.upstream_gradient().tolist(),
            "dX": dx.tolist(),
            "dW": dw.tolist(),
        }
        body = "".join(_table_html(caption, rows) for caption, rows in tables.items())
        settings = f"<p>Bias {_text(self.bias)}, stride {self.stride}, zero padding {self.padding}.</p>"
        return f"{body}{settings}<p>db = {_text(db)}</p><p>{self._weight_sum()}</p>"

    def _weight_sum(self) -> str:
        """One weight's gradient as the sum of its terms: the opened one, or dW[0, 0]."""
        taps = np.shape(self.kernel)
        at = (min(self.row, taps[0] - 1), min(self.col, taps[1] - 1)) if self.opened == "dW" else (0, 0)
        pairs = zip(self.upstream_gradient().flat, self._patches()[..., at[0], at[1]].flat, strict=True)
        terms = " + ".join(f"{_factor(flow)}×{_factor(pixel)}" for flow, pixel in pairs)
        return f"dW[{at[0]}, {at[1]}] = {terms} = {_text(self.gradients()[1][at])}"

    def __repr__(self) -> str:
        tables = {"image": self.image, "kernel": self.kernel}
        shapes = ", ".join(f"{len(rows)}×{len(rows[0])} {name}" for name, rows in tables.items())
        return f"BackpropStepper({shapes}, dout={self.upstream!r}, stride={self.stride}, padding={self.padding})"


def _text(value: int) -> str:
    return f"{value:,}".replace("-", "−")


def _factor(value: int) -> str:
    return f"({_text(value)})" if value < 0 else _text(value)


def _table_html(caption: str, rows: list[list[int]]) -> str:
    body = "".join(f"<tr>{''.join(f'<td>{_text(value)}</td>' for value in row)}</tr>" for row in rows)
    return f"<table><caption>{caption}</caption><tbody>{body}</tbody></table>"
