"""The networks of the zoo by cost, year and error, and the block diagram of each, down to one layer's parameters."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

import traitlets

from cnnbook.figures.base import Figure, whole_number

if TYPE_CHECKING:  # the zoo needs torch: only a page that shows this figure waits for it
    from cnnbook.zoo import diagram, timeline

LIMITS = {"block": (-1, 99)}
ERRORS = {"top1": "top-1", "top5": "top-5"}
HEADS = ("Network", "Year", "Parameters", "MACs", "Error in its paper", "Error on a single crop", "Note")


class ArchitectureExplorer(Figure):
    """Every network of the zoo: what it costs, how often it is wrong, and what it is built of.

    `x` is "macs", "parameters" or "year"; `y` is the protocol of the error, "single_crop" (torchvision's weights) or
    "paper"; `error` is "top1" or "top5". `chosen` is the network whose diagram is shown, and `block` the row of the
    diagram that is opened, -1 for none; left out, it is the first one with an identity skip. `networks` is the data,
    counted on the networks themselves. TraitError for what is none of these.
    """

    figure = "architecture_explorer"
    x = traitlets.Enum(("macs", "parameters", "year"), "macs").tag(sync=True)
    y = traitlets.Enum(("single_crop", "paper"), "single_crop").tag(sync=True)
    error = traitlets.Enum(tuple(ERRORS), "top1").tag(sync=True)
    chosen = traitlets.Unicode("resnet50").tag(sync=True)
    block = traitlets.Int(-1).tag(sync=True)
    networks = traitlets.List().tag(sync=True)
    titles = traitlets.List().tag(sync=True)

    def __init__(self, x="macs", y="single_crop", chosen="resnet50", error="top1", block: int | None = None):
        super().__init__(x=x, y=y, chosen=chosen, error=error)
        self.titles, self.networks = _packed()
        self.block = self._first_skip() if block is None else block

    @traitlets.validate(*LIMITS)
    def _within_limits(self, proposal) -> int:
        return whole_number(proposal, LIMITS)

    @traitlets.validate("chosen")
    def _in_the_zoo(self, proposal) -> str:
        from cnnbook import zoo

        if proposal["value"] not in zoo.names():
            raise traitlets.TraitError(f"chosen must be one of {', '.join(zoo.names())}, got {proposal['value']!r}")
        return proposal["value"]

    def _first_skip(self) -> int:
        blocks = _timeline().network(self.chosen).blocks
        return next((row for row, block in enumerate(blocks) if block.join == "identity"), -1)

    def fallback(self) -> str:
        head = "".join(f'<th scope="col">{name}</th>' for name in HEADS)
        rows = "".join(_row(network) for network in _timeline().networks())
        return (
            '<div class="cb-scroll"><table><caption>The networks of this book: parameters and multiply-accumulates '
            "(MACs) of one image, counted on the networks, and two errors on ImageNet</caption>"
            f"<thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></div>"
        )

    def __repr__(self) -> str:
        settings = {name: getattr(self, name) for name in ("x", "y", "chosen", "error", "block")}
        return f"ArchitectureExplorer({', '.join(f'{name}={value!r}' for name, value in settings.items())})"


def _row(network: timeline.Network) -> str:
    crops = "; ".join(_error(error) for error in network.single_crop) or "–"
    paper = _error(network.paper) if network.paper else "–"
    cells = (network.year, f"{network.parameters:,}", f"{network.macs:,}", paper, crops, network.note)
    return f'<tr><th scope="row">{network.label}</th>{"".join(f"<td>{escape(str(cell))}</td>" for cell in cells)}</tr>'


def _error(error: timeline.Error) -> str:
    """ "22.85 % top-1, 6.71 % top-5 (1 network, 10 crops, validation set)"."""
    shown = [f"{getattr(error, key)} % {name}" for key, name in ERRORS.items() if getattr(error, key) is not None]
    return f"{', '.join(shown)} ({error.protocol})"


def _timeline():
    from cnnbook.zoo import timeline

    return timeline


# What the script gets: lists and numbers, because a page carries them for all networks.


def _packed() -> tuple[list[str], list[dict]]:
    """The titles of all layers, each once, and the networks, whose layers refer to them by number."""
    from cnnbook.zoo.diagram import layer_title

    networks = _timeline().networks()
    layers = (layer for network in networks for block in network.blocks for layer in block.layers)
    numbers = {title: place for place, title in enumerate(dict.fromkeys(map(layer_title, layers)))}
    blocks = ([_packed_block(block, numbers) for block in network.blocks] for network in networks)
    return list(numbers), [_facts(network) | {"blocks": each} for network, each in zip(networks, blocks, strict=True)]


def _packed_block(block: diagram.Block, numbers: dict[str, int]) -> list:
    """[title, name, role, join, input, output, parameters, macs, times, layers]."""
    from cnnbook.zoo.diagram import title

    counts = [list(block.input), list(block.output), block.parameters, block.macs, block.times]
    layers = [_packed_layer(layer, numbers) for layer in block.layers]
    return [title(block), block.name, block.role, block.join, *counts, layers]


def _packed_layer(layer: diagram.Layer, numbers: dict[str, int]) -> int | list[int]:
    """The number of the title, or a list: title, parameters, bias, on skip and, if the layer multiplies, its sizes.

    These are input and output channels, groups, output height and width, and the kernel's sides unless it is dense.
    """
    from cnnbook.zoo.diagram import layer_title

    title = numbers[layer_title(layer)]
    if not layer.parameters and not layer.on_skip:
        return title
    packed = [title, layer.parameters, int(layer.bias), int(layer.on_skip)]
    if layer.channels:
        packed += [*layer.channels, layer.groups, *(layer.size or (1, 1)), *(layer.kernel or ())]
    return packed


def _facts(network: timeline.Network) -> dict:
    keys = ("name", "label", "year", "task", "parameters", "macs", "note")
    return {key: getattr(network, key) for key in keys} | {
        "paper": list(network.paper) if network.paper else None,
        "crops": [list(error) for error in network.single_crop],
    }
