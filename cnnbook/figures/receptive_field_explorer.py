"""The receptive-field explorer: a stack of layers, what each unit sees of the input, and how much of it."""

import numpy as np
import traitlets

from cnnbook.figures.base import Figure
from cnnbook.shapes import output_size, receptive_field

PARTS = ("kernel", "stride", "dilation", "padding")
LIMITS = {"kernel": (1, 11), "stride": (1, 4), "dilation": (1, 16), "padding": (0, 16)}
SIZES = (8, 512)
MOST_LAYERS, MOST_FIELD = 40, 4096

# Known stacks, as in the script: name -> (pixels of the input, [(layer's name, (kernel, stride, dilation, padding))]).


def _named(*rows) -> list[tuple]:
    return [(name, (kernel, stride, 1, padding)) for name, kernel, stride, padding in rows]


def _plain(kernels, strides, padded: bool, dilations=None) -> list[tuple]:
    rows = zip(kernels, strides, dilations or [1] * len(kernels), strict=True)
    return [(str(i), (k, s, d, (k - 1) // 2 if padded else 0)) for i, (k, s, d) in enumerate(rows, 1)]


def _stage(name: str, count: int, stride: int = 1) -> list[tuple]:
    return _named(*((f"{name}_{i + 1}", 3, 1 if i else stride, 1) for i in range(count)))


_STEM = _named(("conv1", 7, 2, 3), ("pool1", 3, 2, 1))
_ELEVEN = [7] + [3] * 10, [2, 2, 1, 1, 2, 1, 2, 1, 2, 1, 2]
_ALEXNET = [("conv1", 11, 4, 2), ("pool1", 3, 2, 0), ("conv2", 5, 1, 2), ("pool2", 3, 2, 0)]
_ALEXNET += [("conv3", 3, 1, 1), ("conv4", 3, 1, 1), ("conv5", 3, 1, 1), ("pool5", 3, 2, 0)]
_VGG = [_stage(f"conv{i}", n) + _named((f"pool{i}", 2, 2, 0)) for i, n in enumerate([2, 2, 3, 3, 3], 1)]
_DEPTHWISE = enumerate([1, 2, 1, 2, 1, 2, 1, 1, 1, 1, 1, 2, 1], 1)
NETS = {
    "five": (51, _plain(_ELEVEN[0][:5], _ELEVEN[1][:5], padded=False)),
    "eleven": (224, _plain(*_ELEVEN, padded=True)),
    "alexnet": (224, _named(*_ALEXNET)),
    "vgg16": (224, sum(_VGG, [])),
    "resnet18": (224, sum((_stage(f"conv{i}", 4, 1 if i == 2 else 2) for i in range(2, 6)), _STEM)),
    "resnet50": (
        224,
        sum((_stage(f"conv{i}", n, 1 if i == 2 else 2) for i, n in zip(range(2, 6), [3, 4, 6, 3], strict=True)), _STEM),
    ),
    "mobilenet": (224, _named(("conv1", 3, 2, 1), *((f"dw{i}", 3, stride, 1) for i, stride in _DEPTHWISE))),
    "threes5": (41, _plain([3] * 5, [1] * 5, padded=False)),
    "threes10": (41, _plain([3] * 10, [1] * 10, padded=False)),
    "threes20": (61, _plain([3] * 20, [1] * 20, padded=False)),
    "threes40": (101, _plain([3] * 40, [1] * 40, padded=False)),
    "dilated": (47, _plain([3] * 4, [1] * 4, padded=False, dilations=[1, 2, 4, 8])),
}


class Stack(traitlets.TraitType):
    """One to 40 layers, each (kernel, stride[, dilation[, padding]]); keeps lists of all four."""

    def validate(self, obj, value):
        if not isinstance(value, (list, tuple)) or not 1 <= len(value) <= MOST_LAYERS:
            raise traitlets.TraitError(f"layers must be a list of 1 to {MOST_LAYERS} layers, got {value!r}")
        layers = [self._layer(number, layer) for number, layer in enumerate(value, 1)]
        for number, (rf, _) in enumerate(receptive_field([layer[:3] for layer in layers]), 1):
            if rf > MOST_FIELD:
                raise traitlets.TraitError(
                    f"layer {number} would see {rf:,} pixels; the figure goes up to {MOST_FIELD:,}"
                )
        return layers

    def _layer(self, number: int, layer) -> list[int]:
        if not isinstance(layer, (list, tuple)) or not 2 <= len(layer) <= 4:
            raise traitlets.TraitError(f"layer {number} must be (kernel, stride[, dilation[, padding]]), got {layer!r}")
        full = [*layer, *(1, 0)[len(layer) - 2 :]]
        for part, value in zip(PARTS, full, strict=True):
            least, most = LIMITS[part]
            if isinstance(value, bool) or not hasattr(value, "__index__") or not least <= value <= most:
                raise traitlets.TraitError(
                    f"layer {number}: {part} must be a whole number from {least} to {most}, got {value!r}"
                )
        return [int(value) for value in full]


class ReceptiveFieldExplorer(Figure):
    """A stack of layers along one axis; every unit shows its receptive field, and the paths that lead to each pixel.

    `layers` are (kernel, stride[, dilation[, padding]]); or `net` names a known stack (one of NETS). `size` is the
    input's width in pixels, by default the net's own, or what gives the last layer three units. The traits `layer`
    (from 1), `unit` and `pixel` say what is looked at, `zoom` draws the surroundings of the field alone.
    TraitError for a layer or a size out of range, ValueError for an unknown net, or for both layers and net.
    A kernel that does not fit is no error: the figure says so in words.
    """

    figure = "receptive_field_explorer"
    layers = Stack().tag(sync=True)
    size = traitlets.Int(51).tag(sync=True)
    layer = traitlets.Int(1, min=1, max=MOST_LAYERS).tag(sync=True)
    unit = traitlets.Int(0, min=0, max=2 * SIZES[1]).tag(sync=True)
    pixel = traitlets.Int(0, min=0, max=SIZES[1] - 1).tag(sync=True)
    zoom = traitlets.Bool(False).tag(sync=True)

    def __init__(self, layers=None, net: str | None = None, size: int | None = None):
        if layers is not None and net is not None:
            raise ValueError("give layers or net, not both")
        if layers is None:
            own, rows = _known("five" if net is None else net)
            layers, size = [layer for _, layer in rows], own if size is None else size
        super().__init__(layers=layers, **({} if size is None else {"size": size}))
        if size is None:
            self.size = min(max(_smallest(self.layers, 3), SIZES[0]), SIZES[1])
        self._look_at_the_middle()

    @traitlets.validate("size")
    def _within_sizes(self, proposal) -> int:
        value = proposal["value"]
        if isinstance(value, bool) or not SIZES[0] <= value <= SIZES[1]:
            raise traitlets.TraitError(f"size must be a whole number from {SIZES[0]} to {SIZES[1]}, got {value!r}")
        return value

    @property
    def net(self) -> str | None:
        """The known stack that the layers are, or None. Setting it sets layers, size and what is looked at."""
        rows = [tuple(layer) for layer in self.layers]
        return next((name for name, (_, known) in NETS.items() if rows == [layer for _, layer in known]), None)

    @net.setter
    def net(self, name: str) -> None:
        size, rows = _known(name)
        with self.hold_sync():
            self.layers, self.size = [layer for _, layer in rows], size
            self._look_at_the_middle()

    def counts(self) -> list[int]:
        """Units of every layer, the input's pixels first. Raises ValueError where a kernel does not fit."""
        found = [self.size]
        for kernel, stride, dilation, padding in self.layers:
            found.append(output_size(found[-1], kernel, stride, padding, dilation))
        return found

    def field(self, layer: int, unit: int) -> tuple[int, int]:
        """First and last input pixel that a unit sees; outside 0 … size-1 lies padding."""
        first = last = unit
        for kernel, stride, dilation, padding in reversed(self.layers[:layer]):
            first, last = first * stride - padding, last * stride - padding + dilation * (kernel - 1)
        return first, last

    def fallback(self) -> str:
        heads = ("Layer", *map(str.capitalize, PARTS), "Receptive field", "Jump", "Units")
        head = "".join(f'<th scope="col">{name}</th>' for name in heads)
        grown, names = receptive_field([layer[:3] for layer in self.layers]), self._names()
        try:
            counts, misfit = self.counts()[1:], ""
        except ValueError as error:
            counts, misfit = ["–"] * len(names), f"<p>{str(error).replace('*', '·').capitalize()}.</p>"
        rows = zip(names, self.layers, grown, counts, strict=True)
        body = "".join(_row(name, *layer, *reach, count) for name, layer, reach, count in rows)
        caption = f"{len(names)} layers on an input of {self.size} pixels, along one axis"
        return (
            f'<div class="cb-scroll"><table><caption>{caption}</caption><thead><tr>{head}</tr></thead>'
            f"<tbody>{body}</tbody></table></div>{misfit or self._said(names, grown)}"
        )

    def _said(self, names: list[str], grown: list[tuple[int, int]]) -> str:
        """The chosen unit's field, and the effective field, in the figure's own words."""
        layer = min(self.layer, len(names))
        unit = min(self.unit, self.counts()[layer] - 1)
        (rf, jump), (first, last) = grown[layer - 1], self.field(layer, unit)
        pixels = f"pixel {_signed(first)}" if first == last else f"pixels {_signed(first)} to {_signed(last)}"
        title = f"Layer {layer}" if names[layer - 1].isdigit() else names[layer - 1]
        sees = f"<p>{title}, unit {unit} sees {pixels}: rf {rf:,}, jump {jump:,}.</p>"
        weights = path_weights(self.layers[:layer])
        places = np.arange(rf) - (rf - 1) / 2
        sigma = float(np.sqrt(weights @ places**2))
        if rf == 1:
            return sees
        share = f"±2σ is {_decimal(4 * sigma)} pixels wide, {100 * 4 * sigma / rf:.0f} % of rf {rf:,}"
        inside = f"{100 * weights[np.abs(places) <= 2 * sigma + 1e-9].sum():.0f} %"
        end = ": flat, no bell yet." if 4 * sigma >= rf else f", and holds {inside} of the paths."
        return f"{sees}<p>With all weights equal, a pixel counts by its number of paths. {share}{end}</p>"

    def _names(self) -> list[str]:
        if self.net is None:
            return [str(number) for number in range(1, len(self.layers) + 1)]
        return [name for name, _ in NETS[self.net][1]]

    def _look_at_the_middle(self) -> None:
        """The middle unit of the last layer, and the pixel in the middle of its field."""
        self.layer = len(self.layers)
        try:
            self.unit = self.counts()[-1] // 2
        except ValueError:
            self.unit = self.pixel = 0
            return
        self.pixel = min(max(sum(self.field(self.layer, self.unit)) // 2, 0), self.size - 1)

    def __repr__(self) -> str:
        if self.net is not None:
            return f"ReceptiveFieldExplorer(net={self.net!r}, size={self.size})"
        return f"ReceptiveFieldExplorer(layers={[tuple(layer) for layer in self.layers]}, size={self.size})"


def path_weights(layers) -> np.ndarray:
    """Share of the paths that each pixel of an inner unit's field gets; the weights sum to 1."""
    weights, jump = np.ones(1), 1
    for kernel, stride, dilation, *_ in layers:
        taps = np.zeros(dilation * (kernel - 1) * jump + 1)
        taps[:: dilation * jump] = 1 / kernel
        weights, jump = np.convolve(weights, taps), jump * stride
    return weights


def _known(name: str) -> tuple:
    if name not in NETS:
        raise ValueError(f"no net {name!r}; there are: {', '.join(NETS)}")
    return NETS[name]


def _smallest(layers, units: int) -> int:
    """The smallest input on which the last layer has so many units."""
    for kernel, stride, dilation, padding in reversed(layers):
        units = max(1, (units - 1) * stride + dilation * (kernel - 1) + 1 - 2 * padding)
    return units


def _row(name: str, *values: int | str) -> str:
    cells = "".join(f"<td>{value if isinstance(value, str) else f'{value:,}'}</td>" for value in values)
    return f'<tr><th scope="row">{name}</th>{cells}</tr>'


def _signed(value: int) -> str:
    return f"{value:,}".replace("-", "−")


def _decimal(value: float) -> str:
    return f"{value:,.1f}".removesuffix(".0")
