"""Standard, bottleneck, grouped, depthwise separable: four layers between the same maps, and what each costs."""

from decimal import ROUND_HALF_UP, Context, Decimal

import traitlets

from cnnbook.figures.base import Figure, whole_number
from cnnbook.shapes import conv_params

LIMITS = {
    "in_channels": (1, 2048),
    "out_channels": (1, 2048),
    "kernel": (1, 7),
    "side": (1, 512),
    "groups": (1, 2048),
    "middle": (1, 2048),
    "channel": (1, 8),
    "place": (1, 7),
}
KINDS = {
    "standard": "Standard",
    "bottleneck": "Bottleneck",
    "grouped": "Grouped",
    "separable": "Depthwise separable",
}
QUANTITIES = ("params", "macs", "bytes", "intensity", "fraction", "reduction")


class CostExplorer(Figure):
    """What four ways to mix space and channels cost, from in_channels to out_channels maps of side x side.

    `kernel` is odd ("same" padding, stride 1), `groups` belongs to the grouped layer, `middle` is the bottleneck's
    width; no biases. The other traits hold what is looked at: the number that is open, by `kind` and `quantity`, and
    the output value of the small drawings, `channel` and `place`. TraitError outside LIMITS. Groups that do not divide
    the channels are no error: the figure says so in words.
    """

    figure = "cost_explorer"
    in_channels = traitlets.Int(256).tag(sync=True)
    out_channels = traitlets.Int(256).tag(sync=True)
    kernel = traitlets.Int(3).tag(sync=True)
    side = traitlets.Int(14).tag(sync=True)
    groups = traitlets.Int(32).tag(sync=True)
    middle = traitlets.Int(64).tag(sync=True)
    kind = traitlets.Enum(tuple(KINDS), "separable").tag(sync=True)
    quantity = traitlets.Enum(QUANTITIES, "reduction").tag(sync=True)
    channel = traitlets.Int(3).tag(sync=True)
    place = traitlets.Int(4).tag(sync=True)

    def __init__(
        self,
        in_channels: int = 256,
        out_channels: int = 256,
        kernel: int = 3,
        side: int = 14,
        groups: int = 32,
        middle: int = 64,
    ):
        super().__init__(
            in_channels=in_channels,
            out_channels=out_channels,
            kernel=kernel,
            side=side,
            groups=groups,
            middle=middle,
        )

    @traitlets.validate(*LIMITS)
    def _within_limits(self, proposal) -> int:
        return whole_number(proposal, LIMITS)

    def layers(self, kind: str) -> list[tuple[int, int, int, int]]:
        """The layers of a kind in order, each (in_channels, out_channels, kernel, groups)."""
        wide, out, kernel, middle = self.in_channels, self.out_channels, self.kernel, self.middle
        return {
            "standard": [(wide, out, kernel, 1)],
            "bottleneck": [(wide, middle, 1, 1), (middle, middle, kernel, 1), (middle, out, 1, 1)],
            "grouped": [(wide, out, kernel, self.groups)],
            "separable": [(wide, wide, kernel, wide), (wide, out, 1, 1)],
        }[kind]

    def costs(self, kind: str) -> dict[str, int]:
        """Weights, MACs of one image, and values moved: the inputs, outputs and weights of all layers.

        Raises ValueError where the groups do not divide the channels.
        """
        weights = [conv_params(*layer[:3], bias=False, groups=layer[3]) for layer in self.layers(kind)]
        area = self.side**2
        maps = sum(layer[0] + layer[1] for layer in self.layers(kind)) * area
        return {"params": sum(weights), "macs": sum(weights) * area, "values": maps + sum(weights)}

    def fallback(self) -> str:
        heads = ("Kind", "Weights", "MACs", "Values moved", "Bytes moved", "MACs per byte", "Fraction", "Reduction")
        head = "".join(f'<th scope="col">{name}</th>' for name in heads)
        rows = "".join(self._row(kind) for kind in KINDS)
        side = f"{self.side} × {self.side}"
        return (
            f'<div class="cb-scroll"><table><caption>Four kinds of layer from {self.in_channels} × {side} values to '
            f"{self.out_channels} × {side}, kernel {self.kernel} × {self.kernel}, {self.groups} groups, bottleneck "
            f"width {self.middle}</caption><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></div>"
            "<p>Biases left out; zero padding counted; one image. Each layer reads its input and its weights once and "
            "writes its output once, 4 bytes a value (float32). Fraction is cost divided by the standard cost, "
            "reduction its reciprocal. Fewer MACs do not mean proportionally less time: where the processor waits for "
            "memory, time follows the bytes.</p>"
        )

    def _row(self, kind: str) -> str:
        try:
            found, standard = self.costs(kind), self.costs("standard")["params"]
        except ValueError as error:
            return f'<tr><th scope="row">{KINDS[kind]}</th><td colspan="7">{error}</td></tr>'
        size = 4 * found["values"]
        counts = (found["params"], found["macs"], found["values"], size)
        ratios = (found["macs"] / size, found["params"] / standard, standard / found["params"])
        cells = [f"{count:,}" for count in counts] + [_factor(ratio) for ratio in ratios]
        return f'<tr><th scope="row">{KINDS[kind]}</th>{"".join(f"<td>{cell}</td>" for cell in cells)}</tr>'

    def __repr__(self) -> str:
        return (
            f"CostExplorer(in_channels={self.in_channels}, out_channels={self.out_channels}, kernel={self.kernel}, "
            f"side={self.side}, groups={self.groups}, middle={self.middle})"
        )


def _factor(value: float) -> str:
    """Three significant digits, as the figure's script writes them: "8.69", "18.0"; whole numbers as they are."""
    if value == int(value) or value >= 1000:
        return f"{Decimal(value).to_integral_value(ROUND_HALF_UP):,}"
    rounded = Context(prec=3, rounding=ROUND_HALF_UP).create_decimal(value)
    return f"{rounded.quantize(Decimal(1).scaleb(rounded.adjusted() - 2)):,f}"
