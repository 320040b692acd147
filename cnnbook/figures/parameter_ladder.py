"""Dense, locally connected, convolution: three layers with one output, and how many weights each learns."""

from decimal import ROUND_HALF_UP, Context, Decimal

import traitlets

from cnnbook.figures.base import Figure, whole_number
from cnnbook.shapes import conv_params

LIMITS = {"side": (8, 512), "in_channels": (1, 512), "out_channels": (1, 512), "kernel": (1, 11), "unit": (1, 5)}
LAYERS = ("dense", "local", "shared")
UNITS = ("B", "kB", "MB", "GB", "TB", "PB", "EB")


class ParameterLadder(Figure):
    """The weights of a dense, a locally connected and a convolutional layer between the same input and output.

    The input has in_channels maps of side x side, the output out_channels maps of the same size ("same" padding,
    kernel odd, no bias). Two more traits hold what is looked at: `unit`, the output chosen in the small drawings,
    and `opened`, the layers ("dense", "local", "shared") whose count is opened. Raises TraitError outside LIMITS.
    """

    figure = "parameter_ladder"
    side = traitlets.Int(224).tag(sync=True)
    in_channels = traitlets.Int(3).tag(sync=True)
    out_channels = traitlets.Int(64).tag(sync=True)
    kernel = traitlets.Int(3).tag(sync=True)
    unit = traitlets.Int(3).tag(sync=True)
    opened = traitlets.List(traitlets.Enum(LAYERS)).tag(sync=True)

    def __init__(self, side: int = 224, in_channels: int = 3, out_channels: int = 64, kernel: int = 3):
        super().__init__(side=side, in_channels=in_channels, out_channels=out_channels, kernel=kernel)

    @traitlets.validate(*LIMITS)
    def _within_limits(self, proposal) -> int:
        return whole_number(proposal, LIMITS)

    def counts(self) -> dict[str, tuple[int, int]]:
        """(weights, multiplications for one image) of each layer; biases left out, taps on padding counted."""
        positions = self.side**2
        shared = conv_params(self.in_channels, self.out_channels, self.kernel, bias=False)
        dense = self.in_channels * positions * self.out_channels * positions
        return {"dense": (dense, dense), "local": (shared * positions,) * 2, "shared": (shared, shared * positions)}

    def fallback(self) -> str:
        side, taps = f"{self.side} × {self.side}", f"({self.kernel} × {self.kernel} × {self.in_channels})"
        outputs = f"({self.out_channels} × {side})"
        products = {
            "dense": ("Dense", f"({self.in_channels} × {side}) × {outputs}"),
            "local": ("Locally connected", f"{taps} × {outputs}"),
            "shared": ("Convolution", f"{taps} × {self.out_channels}"),
        }
        rows = "".join(_row(*products[layer], *self.counts()[layer]) for layer in LAYERS)
        heads = ("Layer", "Weights", "Multiplications for one image", "Memory of the weights", "Memory to train them")
        head = "".join(f'<th scope="col">{name}</th>' for name in heads)
        return (
            f'<div class="cb-scroll"><table><caption>Three layers from {self.in_channels} × {side} values to '
            f"{self.out_channels} × {side}</caption><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></div>"
            "<p>Biases left out; zero padding counted. float32: 4 bytes a weight, 1 kB = 1,000 bytes. Training keeps "
            "weight, gradient and Adam’s two moments. Fewer weights is not fewer multiplications: sharing saves memory "
            "and none of the work.</p>"
        )

    def __repr__(self) -> str:
        return (
            f"ParameterLadder(side={self.side}, in_channels={self.in_channels}, "
            f"out_channels={self.out_channels}, kernel={self.kernel})"
        )


def _row(name: str, product: str, weights: int, macs: int) -> str:
    cells = (f"{product} = {weights:,}", f"{macs:,}", _bytes(4 * weights), _bytes(16 * weights))
    return f'<tr><th scope="row">{name}</th>{"".join(f"<td>{cell}</td>" for cell in cells)}</tr>'


def _bytes(count: int) -> str:
    """Three significant digits in decimal units: 1933540589568 is "1.93 TB"."""
    rounded = Context(prec=3, rounding=ROUND_HALF_UP).create_decimal(count)
    power = max(0, rounded.adjusted() // 3)
    return f"{(rounded / Decimal(1000) ** power).normalize():f} {UNITS[power]}"
