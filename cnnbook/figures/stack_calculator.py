"""A stack of layers edited in place: the shape, the parameters and the work of every layer."""

import html
from math import prod

import traitlets

from cnnbook.figures.base import Figure
from cnnbook.shapes import conv_params, output_size

SETTINGS = {
    "conv": ("out", "kernel", "stride", "padding", "dilation", "groups", "bias"),
    "max_pool": ("kernel", "stride", "padding", "dilation"),
    "avg_pool": ("kernel", "stride", "padding"),
    "global_avg_pool": (),
    "flatten": (),
    "linear": ("out", "in_features", "bias"),
}
TITLES = {
    "conv": "Convolution",
    "max_pool": "Max pool",
    "avg_pool": "Average pool",
    "global_avg_pool": "Global avg pool",
    "flatten": "Flatten",
    "linear": "Linear",
}
PAIRED = ("kernel", "stride", "padding", "dilation")
LIMITS = {
    "channels": (1, 100_000),
    "height": (1, 10_000),
    "width": (1, 10_000),
    "out": (1, 100_000),
    "kernel": (1, 99),
    "stride": (1, 99),
    "padding": (0, 99),
    "dilation": (1, 99),
    "groups": (1, 100_000),
    "in_features": (1, 1_000_000_000),
}
MOST_LAYERS = 24
MOST_EXACT = 2**53 - 1  # JavaScript counts exactly up to here
START = (
    {"kind": "conv", "out": 64, "kernel": 7, "stride": 2, "padding": 3},
    {"kind": "max_pool", "kernel": 3, "stride": 2},
    {"kind": "conv", "out": 128, "kernel": 3, "padding": "same"},
    {"kind": "global_avg_pool"},
    {"kind": "flatten"},
    {"kind": "linear", "out": 1000},
)


class StackCalculator(Figure):
    """A table of layers, each with its output shape, parameters and multiply-accumulates (MACs) for one image.

    `input` is (channels, height, width). A layer is a dict with a "kind" (a key of SETTINGS) and that kind's settings;
    what is left out gets PyTorch's default. kernel, stride, padding and dilation are a number or (height, width), the
    padding of a convolution may be "same"; `in_features` is what a linear layer was built for, where that is stated.
    `opened` are the places of the rows whose formulas show, `code` shows the stack as PyTorch code. Raises TraitError
    for what is no layer. A layer that does not fit is no error: its row says so in words.
    """

    figure = "stack_calculator"
    input = traitlets.List().tag(sync=True)
    layers = traitlets.List().tag(sync=True)
    opened = traitlets.List(traitlets.Int(min=0, max=MOST_LAYERS - 1), [0]).tag(sync=True)
    code = traitlets.Bool(False).tag(sync=True)

    def __init__(self, input=(3, 224, 224), layers=START):  # noqa: A002
        super().__init__(input=_sequence(input, "input"), layers=_sequence(layers, "layers"))

    @traitlets.validate("input")
    def _three_sizes(self, proposal) -> list[int]:
        if len(proposal["value"]) != 3:
            raise traitlets.TraitError(f"input must be (channels, height, width), got {tuple(proposal['value'])}")
        names = ("channels", "height", "width")
        return [_whole(name, value, "input") for name, value in zip(names, proposal["value"], strict=True)]

    @traitlets.validate("layers")
    def _complete_layers(self, proposal) -> list[dict]:
        if len(proposal["value"]) > MOST_LAYERS:
            raise traitlets.TraitError(f"there must be at most {MOST_LAYERS} layers, got {len(proposal['value'])}")
        return [complete(layer, f"layer {place}") for place, layer in enumerate(proposal["value"], 1)]

    def rows(self) -> list[tuple]:
        """(output shape, parameters, MACs) of each layer, up to one that does not fit, which gives its ValueError."""
        shape, found, totals = tuple(self.input), [], (0, 0)
        for layer in self.layers:
            try:
                row = _row(shape, layer)
                totals = totals[0] + row[1], totals[1] + row[2]
                if max(prod(row[0]), *totals) > MOST_EXACT:
                    raise ValueError(f"The counts pass {MOST_EXACT:,}, up to which this calculator is exact.")
            except ValueError as error:
                return [*found, error]
            found.append(row)
            shape = row[0]
        return found

    def fallback(self) -> str:
        rows = self.rows()
        cells = [_cells(row) for row in rows] + ["<td>needs the row above</td><td></td><td></td>"] * len(self.layers)
        layers = enumerate(zip(self.layers, cells, strict=False), 1)
        body = "".join(f'<tr><th scope="row">{n}. {_describe(layer)}</th>{row}</tr>' for n, (layer, row) in layers)
        head = "".join(f'<th scope="col">{name}</th>' for name in ("Layer", "Output", "Parameters", "MACs"))
        fitting = [row for row in rows if isinstance(row, tuple)]
        params, macs = (f"{sum(row[column] for row in fitting):,}" for column in (1, 2))
        return (
            f'<div class="cb-scroll"><table><caption>A stack of layers on an input of {_shape(self.input)}</caption>'
            f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody><tfoot><tr>"
            f'<th scope="row">Total</th><td></td><td>{params}</td><td>{macs}</td></tr></tfoot></table></div>'
            "<p>Output shapes are channels × height × width. A side is ⌊(size + 2·padding − dilation·(kernel − 1) − 1) "
            "/ stride⌋ + 1. MACs are multiply-accumulates for one image; biases and pools do not count.</p>"
        )

    def __repr__(self) -> str:
        kinds = ", ".join(layer["kind"] for layer in self.layers) or "none"
        count = f"{len(self.layers)} layer{'s' * (len(self.layers) != 1)}"
        return f"StackCalculator(input={tuple(self.input)}, {count}: {kinds})"


def complete(layer: dict, name: str = "layer") -> dict:
    """A layer with every setting of its kind, pairs as lists. Raises TraitError, in words, for what is no layer."""
    if not isinstance(layer, dict) or layer.get("kind") not in SETTINGS:
        raise traitlets.TraitError(f"{name} must be a dict with a 'kind' of {', '.join(SETTINGS)}; got {layer!r}")
    kind, settings = layer["kind"], SETTINGS[layer["kind"]]
    if unknown := [key for key in layer if key not in ("kind", *settings)]:
        raise traitlets.TraitError(f"{name} ({kind}) has no setting {unknown[0]!r}; it has: {', '.join(settings)}")
    defaults = {"stride": 1 if kind == "conv" else layer.get("kernel"), "padding": 0, "dilation": 1, "groups": 1}
    full = {**defaults, "bias": True, "in_features": None, **layer}
    if missing := [key for key in settings if key not in full]:
        raise traitlets.TraitError(f"{name} ({kind}) needs {missing[0]!r}")
    return {"kind": kind, **{key: _setting(key, full[key], kind, name) for key in settings}}


def _setting(key: str, value, kind: str, name: str):
    if key == "bias":
        if not isinstance(value, bool):
            raise traitlets.TraitError(f"bias of {name} must be True or False, got {value!r}")
        return value
    if key == "in_features" and value is None or key == "padding" and kind == "conv" and value == "same":
        return value
    if key in PAIRED and isinstance(value, list | tuple) and len(value) == 2:
        height, width = (_whole(key, each, name) for each in value)
        return height if height == width else [height, width]
    return _whole(key, value, name)


def _whole(key: str, value, name: str) -> int:
    least, most = LIMITS[key]
    if isinstance(value, bool) or not hasattr(value, "__index__") or not least <= value <= most:
        also = " or a pair of them" if key in PAIRED else ""
        raise traitlets.TraitError(
            f"{key} of {name} must be a whole number from {least} to {most:,}{also}, got {value!r}"
        )
    return int(value)


def _sequence(value, name: str) -> list:
    if not isinstance(value, list | tuple):
        raise traitlets.TraitError(f"{name} must be a list or a tuple, got {value!r}")
    return list(value)


# The arithmetic below is also the figure's JavaScript's; a test compares them, what they refuse and how they say it.


def _row(shape: tuple[int, ...], layer: dict) -> tuple[tuple[int, ...], int, int]:
    kind = layer["kind"]
    if kind == "flatten":
        return (prod(shape),), 0, 0
    if kind == "linear":
        return _linear(shape, layer)
    if len(shape) != 3:
        raise ValueError(
            f"{TITLES[kind]} needs channels × height × width, but it gets a vector of {shape[0]:,} values. "
            "Move it above the flatten."
        )
    if kind == "global_avg_pool":
        return (shape[0], 1, 1), 0, 0
    return _conv(shape, layer) if kind == "conv" else _pool(shape, layer)


def _linear(shape: tuple[int, ...], layer: dict) -> tuple:
    if len(shape) == 3:
        raise ValueError(f"A linear layer takes a vector, but it gets {_shape(shape)}. Put a flatten above it.")
    stated = layer["in_features"]
    if stated not in (None, shape[0]):
        raise ValueError(f"The layer gets {shape[0]:,} values, it was built for {stated:,}.")
    weights = shape[0] * layer["out"]
    return (layer["out"],), weights + layer["bias"] * layer["out"], weights


def _conv(shape: tuple[int, ...], layer: dict) -> tuple:
    out, groups = layer["out"], layer["groups"]
    for channels, side in ((shape[0], "input"), (out, "output")):
        if channels % groups:
            raise ValueError(f"{groups:,} groups do not divide the {channels:,} {side} channels.")
    output = (out, *_sides(shape, layer))
    kernel = tuple(_pair(layer["kernel"]))
    weights = conv_params(shape[0], out, kernel, bias=False, groups=groups)
    return output, weights + layer["bias"] * out, weights * output[1] * output[2]


def _pool(shape: tuple[int, ...], layer: dict) -> tuple:
    for kernel, _, padding, _ in _axes(layer):
        if 2 * padding > kernel:
            half = f"{kernel // 2} for a kernel of {kernel}"
            raise ValueError(f"The padding of a pool is at most half its kernel: {half}, not {padding}.")
    return (shape[0], *_sides(shape, layer)), 0, 0


def _sides(shape: tuple[int, ...], layer: dict) -> list[int]:
    return [_side(*each) for each in zip(shape[1:], _axes(layer), ("rows", "columns"), strict=True)]


def _side(size: int, settings: tuple, unit: str) -> int:
    kernel, stride, padding, dilation = settings
    if padding == "same":
        if stride != 1:
            raise ValueError(f"“same” padding works with stride 1 only, not with {stride}. PyTorch refuses it too.")
        return size
    window, padded = dilation * (kernel - 1) + 1, size + 2 * padding
    if window > padded:
        gaps = dilation > 1
        spans = f"A kernel of {kernel} with dilation {dilation} spans {window}" if gaps else f"The kernel has {kernel}"
        raise ValueError(f"{spans} {unit}, but the padded input has only {padded:,} ({size:,} + 2·{padding}).")
    return output_size(size, kernel, stride, padding, dilation)


def _axes(layer: dict) -> zip:
    """(kernel, stride, padding, dilation) of the height, then of the width."""
    return zip(*(_pair(layer.get(key, 1)) for key in PAIRED), strict=True)


def _pair(value) -> list:
    return value if isinstance(value, list) else [value, value]


def _shape(shape) -> str:
    return " × ".join(f"{side:,}" for side in shape)


def _cells(row) -> str:
    if isinstance(row, ValueError):
        return f"<td>{html.escape(str(row))}</td><td></td><td></td>"
    shape, params, macs = row
    output = _shape(shape) if len(shape) == 3 else f"{shape[0]:,} value{'s' * (shape[0] != 1)}"
    return f"<td>{output}</td><td>{params:,}</td><td>{macs:,}</td>"


def _describe(layer: dict) -> str:
    """ "Convolution: 64 out, kernel 7, stride 2, padding 3"; what is at its default is left out."""
    plain = complete({key: layer[key] for key in ("kind", "out", "kernel") if key in layer})
    said = [f"{layer['out']:,} out"] if "out" in layer else []
    for key in ("kernel", "stride", "padding", "dilation", "groups", "in_features"):
        if key in layer and (key == "kernel" or layer[key] != plain[key]):
            said.append(f"{'built for' if key == 'in_features' else key} {_value(layer[key])}")
    said += ["no bias"] if layer.get("bias") is False else []
    return f"{TITLES[layer['kind']]}{': ' * bool(said)}{', '.join(said)}"


def _value(value) -> str:
    return "×".join(map(str, value)) if isinstance(value, list) else value if value == "same" else f"{value:,}"
