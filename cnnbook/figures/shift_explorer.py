"""The shift explorer: move an image by whole pixels; what moves along, what stays, and what changes."""

from decimal import ROUND_HALF_UP, Decimal
from functools import cache

import numpy as np
import traitlets

from cnnbook.data.mnist import COMMITTED
from cnnbook.figures.base import Figure, whole_number
from cnnbook.shapes import output_size

REACH = 8  # pixels that the image moves at most, each way
SAME = 1e-9  # values closer than this are equal
DIGIT = 4  # the place in MNIST's test set of the digit shown first, a 4
BINOMIAL = np.outer([1, 2, 1], [1, 2, 1]) / 16
SOBEL_X = np.array([[-1, 0, 1], [-2, 0, 2], [-1, 0, 1]])
RANDOM = np.array([[-0.4, 1, 0.4], [-0.6, 0.7, -1.5], [0.6, -0.6, 0.6]])
IDENTITY = np.array([[0, 0, 0], [0, 1, 0], [0, 0, 0]])
KERNELS = {"sobel_x": SOBEL_X, "sobel_y": SOBEL_X.T, "blur": BINOMIAL, "random": RANDOM, "identity": IDENTITY}
NAMES = {
    **{"scratch": "Scratch", "checker": "Checkerboard", "noise": "Noise"},
    **{"sobel_x": "Sobel X", "sobel_y": "Sobel Y", "blur": "blur", "random": "a random kernel"},
    **{"identity": "the identity kernel", "zero": "zero padding", "circular": "circular padding"},
}
PICTURES = ("given", "scratch", "checker", "noise")
POOLINGS = {"none": "no pooling", "max": "max 2 × 2", "avg": "average 2 × 2", "blur": "blur-pool"}
OPENED = ("average", "pooled", "feature", "pooled_error", "feature_error", "pooled_survivors", "feature_survivors")
LIMITS = {"stride": (1, 2), "dx": (-REACH, REACH), "dy": (-REACH, REACH), "row": (0, 31), "col": (0, 31)}


class Grey(traitlets.TraitType):
    """8 to 32 grey values a side, each from 0 to 1; takes lists and arrays, keeps lists rounded to 2 decimals."""

    def validate(self, obj, value):
        try:
            array = np.asarray(value)
        except ValueError:
            array = np.asarray(None)
        if array.dtype.kind not in "biuf":
            raise traitlets.TraitError(f"{self.name} must be rows of grey values, all rows equally long")
        if array.ndim != 2 or not all(8 <= side <= 32 for side in array.shape):
            shape = " × ".join(map(str, array.shape)) or "a single number"
            raise traitlets.TraitError(f"{self.name} must have 8 to 32 values a side, got {shape}")
        if not np.all((array >= 0) & (array <= 1)):  # NaN is neither
            raise traitlets.TraitError(f"{self.name} must hold grey values from 0 to 1; divide 8-bit values by 255")
        return [[round(grey, 2) for grey in row] for row in array.astype(float).tolist()]


class ShiftExplorer(Figure):
    """Move an image by (dy, dx); see how its feature map, its pooled map and their global average answer.

    `image` is a table of grey values in [0, 1], 8 to 32 a side, or the name of a drawn one: "scratch", "checker",
    "noise". Without it: a digit of MNIST's test set. kernel: "sobel_x", "sobel_y", "blur", "random", "identity";
    padding: "zero", "circular"; stride: 1, 2; pooling: "none", "max", "avg", "blur"; dx, dy: -8 to 8.
    Further traits hold what is looked at: `compare` ("still", "moved"), `opened`, `row`, `col`. TraitError for bad
    input.
    """

    figure = "shift_explorer"
    image = Grey().tag(sync=True)
    caption = traitlets.Unicode("MNIST digit").tag(sync=True)
    picture = traitlets.Enum(PICTURES, "given").tag(sync=True)
    kernel = traitlets.Enum(tuple(KERNELS), "sobel_x").tag(sync=True)
    padding = traitlets.Enum(("zero", "circular"), "zero").tag(sync=True)
    stride = traitlets.Int(1).tag(sync=True)
    pooling = traitlets.Enum(tuple(POOLINGS), "max").tag(sync=True)
    dx = traitlets.Int(1).tag(sync=True)
    dy = traitlets.Int(0).tag(sync=True)
    compare = traitlets.Enum(("still", "moved"), "still").tag(sync=True)
    opened = traitlets.Enum(OPENED, "pooled").tag(sync=True)
    row = traitlets.Int(3).tag(sync=True)
    col = traitlets.Int(9).tag(sync=True)

    def __init__(self, image=None, kernel="sobel_x", padding="zero", stride=1, pooling="max", dx=1, dy=0):
        named = isinstance(image, str)
        given = {"picture": image} if named else {} if image is None else {"image": image}
        super().__init__(**given, kernel=kernel, padding=padding, stride=stride, pooling=pooling, dx=dx, dy=dy)

    @traitlets.default("image")
    def _digit(self) -> list:
        return digit()

    @traitlets.observe("image")
    def _name_image(self, change) -> None:
        ours = COMMITTED.exists() and change["new"] == digit()
        self.caption = "MNIST digit" if ours else "Own image"

    @traitlets.validate(*LIMITS)
    def _within_limits(self, proposal) -> int:
        return whole_number(proposal, LIMITS)

    def shown(self) -> np.ndarray:
        """The image before the move: the given one, or the drawn one that `picture` names."""
        image = np.array(self.image)
        return image if self.picture == "given" else draw_picture(self.picture, *image.shape)

    def maps(self, dy: int = 0, dx: int = 0) -> tuple[np.ndarray, np.ndarray]:
        """The feature map (after ReLU) and the pooled map of the image moved by (dy, dx)."""
        moved = _shift(self.shown(), dy, dx, self.padding)
        feature = np.maximum(0, _correlate(moved, KERNELS[self.kernel], self.stride, self.padding))
        return feature, _pool(feature, self.pooling, self.padding)

    def measure(self, dx: int | None = None) -> dict[str, float]:
        """What the figure says about the present move, or about another dx: errors, unchanged outputs, averages."""
        dx = self.dx if dx is None else dx
        before, after = self.maps(), self.maps(self.dy, dx)
        steps = self.stride, self.stride * (1 if self.pooling == "none" else 2)
        trios = zip(after, before, steps, strict=True)
        errors = [_error(*maps, self.dy, dx, step, self.padding) for *maps, step in trios]
        same = np.abs(after[1] - before[1]) <= SAME
        return {
            "feature_error": errors[0],
            "pooled_error": errors[1],
            "same": int(same.sum()),
            "zeros": int((np.maximum(after[1], before[1]) <= SAME).sum()),
            "total": same.size,
            "average_before": float(before[1].mean()),
            "average": float(after[1].mean()),
        }

    def fallback(self) -> str:
        now = self.measure()
        whole = all(move % (self.stride * (1 if self.pooling == "none" else 2)) == 0 for move in (self.dx, self.dy))
        best = "" if whole else " (no whole shift of it matches; the best one)"
        rows = [
            ("Equivariance error of the feature map", _short(now["feature_error"])),
            (f"Equivariance error of the pooled map{best}", _short(now["pooled_error"])),
            ("Pooled outputs unchanged", f"{now['same']} of {now['total']} = {100 * now['same'] / now['total']:.0f} %"),
            ("of these 0 before and after", str(now["zeros"])),
            ("Global average before the move", _short(now["average_before"])),
            ("Global average now", _short(now["average"])),
        ]
        name, moved = NAMES.get(self.picture, self.caption), f"dx = {_minus(self.dx)}, dy = {_minus(self.dy)}"
        layers = f"{NAMES[self.kernel]} and ReLU, {NAMES[self.padding]}, stride {self.stride}, {POOLINGS[self.pooling]}"
        moves = [size if self.dx >= 0 else -size for size in range(REACH + 1)]
        found = [self.measure(dx) for dx in moves]
        strip = [
            ("dx", [_minus(dx) for dx in moves]),
            ("Unchanged, %", [f"{100 * each['same'] / each['total']:.0f}" for each in found]),
            ("Error", [_short(each["pooled_error"]) for each in found]),
        ]
        wide = _table("The pooled map for other moves along x", strip)
        numbers = _table(f"{name}, moved by {moved}: {layers}", [(what, [text]) for what, text in rows])
        return f'{numbers}<div class="cb-scroll">{wide}</div>'

    def __repr__(self) -> str:
        height, width = np.shape(self.image)
        image = f"{height}×{width} image" if self.picture == "given" else repr(self.picture)
        words = ", ".join(f"{name}={getattr(self, name)!r}" for name in ("kernel", "padding", "stride", "pooling"))
        return f"ShiftExplorer({image}, {words}, dx={self.dx}, dy={self.dy})"


@cache
def _test_digits() -> np.ndarray:
    if not COMMITTED.exists():
        raise FileNotFoundError(f"no MNIST at {COMMITTED}; give ShiftExplorer an image, or reinstall the library")
    with np.load(COMMITTED) as archive:
        return archive["test_images"][DIGIT]


def digit() -> list[list[float]]:
    """The digit shown first, grey values rounded to 2 decimals. Reads the book's own copy of MNIST, says nothing."""
    return (_test_digits() / 255).round(2).tolist()


def draw_picture(name: str, rows: int, cols: int) -> np.ndarray:
    """The pictures that the script draws: "scratch", "checker", "noise"; a test compares them."""
    row, col = np.mgrid[:rows, :cols]
    if name == "checker":
        return (row // 2 + col // 2) % 2.0
    if name == "scratch":
        return np.where(row == rows * (cols + 3 * col) // (5 * cols), 1, 0.3)
    return np.floor(1000 * np.array(_randoms(rows * cols, seed=6))).reshape(rows, cols) / 1000


def _randoms(count: int, seed: int) -> list[float]:
    """Uniform numbers in [0, 1): mulberry32, as in the script."""
    found, mask = [], 0xFFFFFFFF
    for step in range(1, count + 1):
        state = (seed + step * 0x6D2B79F5) & mask
        mixed = ((state ^ (state >> 15)) * (state | 1)) & mask
        mixed = ((mixed + (((mixed ^ (mixed >> 7)) * (mixed | 61)) & mask)) & mask) ^ mixed
        found.append((mixed ^ (mixed >> 14)) / 2**32)
    return found


def _shift(image: np.ndarray, dy: int, dx: int, mode: str) -> np.ndarray:
    if mode == "circular":
        return np.roll(image, (dy, dx), (0, 1))
    height, width = image.shape
    padded = np.pad(image, ((max(dy, 0), max(-dy, 0)), (max(dx, 0), max(-dx, 0))))
    return padded[max(-dy, 0) :, max(-dx, 0) :][:height, :width]


def _correlate(image: np.ndarray, kernel: np.ndarray, stride: int, mode: str) -> np.ndarray:
    """Cross-correlation of a 3 × 3 kernel, padding 1."""
    shape = [output_size(side, 3, stride, padding=1) for side in image.shape]
    padded = np.pad(image, 1, mode="wrap" if mode == "circular" else "constant")
    patches = np.lib.stride_tricks.sliding_window_view(padded, (3, 3))[::stride, ::stride]
    output = np.einsum("rcij,ij->rc", patches, kernel)
    assert list(output.shape) == shape
    return output


def _pool(feature: np.ndarray, pooling: str, mode: str) -> np.ndarray:
    if pooling == "none":
        return feature
    if pooling == "blur":
        edged = np.pad(feature, ((0, 1), (0, 1)), mode="wrap") if mode == "circular" else feature
        largest = np.lib.stride_tricks.sliding_window_view(edged, (2, 2)).max((2, 3))
        return _correlate(largest, BINOMIAL, 2, mode)
    windows = np.lib.stride_tricks.sliding_window_view(feature, (2, 2))[::2, ::2]
    return windows.max((2, 3)) if pooling == "max" else windows.mean((2, 3))


def _error(after: np.ndarray, before: np.ndarray, dy: int, dx: int, step: int, mode: str) -> float:
    """max |after - before moved along|; where step does not divide the move, by the best of the whole moves around."""
    downs, rights = ({move // step, -(-move // step)} for move in (dy, dx))
    return float(min(np.abs(after - _shift(before, down, right, mode)).max() for down in downs for right in rights))


def _short(value: float) -> str:
    """At most three decimals, as the script writes them."""
    if abs(value) < SAME:
        return "0"
    rounded = Decimal(repr(float(value))).quantize(Decimal("0.001"), ROUND_HALF_UP)
    if rounded == 0:
        return "< 0.001" if value > 0 else "> −0.001"
    return f"{rounded.normalize():f}".replace("-", "−")


def _minus(value: int) -> str:
    return str(value).replace("-", "−")


def _table(caption: str, rows: list[tuple[str, list[str]]]) -> str:
    cells = [(name, "".join(f"<td>{text}</td>" for text in texts)) for name, texts in rows]
    lines = (f'<tr><th scope="row">{name}</th>{row}</tr>' for name, row in cells)
    return f"<table><caption>{caption}</caption><tbody>{''.join(lines)}</tbody></table>"
