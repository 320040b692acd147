"""The block diagram of a network, read from the network itself while one image runs through it."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import groupby
from typing import Any, NamedTuple

import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.patches import Arc, Rectangle
from torch import nn
from torch.overrides import TorchFunctionMode

from cnnbook import plots
from cnnbook.zoo import count

WORDS = {
    "Conv2d": "convolution", "SameConv2d": "convolution", "Linear": "dense", "BatchNorm2d": "batch norm",
    "LayerNorm": "layer norm", "LayerNorm2d": "layer norm", "LocalResponseNorm": "response norm",
    "ResponseNorm": "response norm", "MaxPool2d": "max pooling", "AdaptiveAvgPool2d": "average pooling",
    "ReLU": "ReLU", "ReLU6": "ReLU6", "SiLU": "SiLU", "GELU": "GELU", "PaddedShortcut": "zeros for new channels",
    "MBConv": "MBConv", "RBF": "distance to codes", "Subsample": "trainable pooling",
    "PartialConv": "partial convolution", "Block": "ConvNeXt block", "CifarBlock": "basic block",
    "PreActBlock": "pre-activation block",
}  # fmt: skip
SKIPS = ("identity", "projection", "padding")
COLORS = {"convolution": plots.KERNEL, "block": plots.INPUT, "dense": plots.ACCENT, "other": plots.MUTED}


class Layer(NamedTuple):
    """One call of a layer. `channels` and `size` are given where weights or a window decide them, else None."""

    name: str  # as in model.named_modules(), from the block on
    kind: str  # the name of its class; "Parameter" for weights that a block holds itself
    kernel: tuple[int, int] | None
    stride: tuple[int, int]
    groups: int
    channels: tuple[int, int] | None  # in, out
    size: tuple[int, ...] | None  # (H, W) of the output; () where a dense layer works on a flat vector
    parameters: int  # 0 where an earlier call has counted them
    macs: int
    bias: bool
    on_skip: bool  # lies on the way around the branch


class Block(NamedTuple):
    """A block of the network, or one layer with what follows it; `times` of them in a row are equal.

    `input` and `output` are (C, H, W) or (C,). `join` says how the ways through the block meet: "identity",
    "projection" or "padding" is what the skip connection adds, "concatenation" lays branches side by side, "" is
    neither. `parameters` and `macs` are those of one block, not of all `times`.
    """

    name: str  # of the first
    kind: str
    layers: tuple[Layer, ...]
    join: str
    input: tuple[int, ...]
    output: tuple[int, ...]
    parameters: int
    macs: int
    times: int = 1

    @property
    def working(self) -> list[Layer]:
        """The convolutions and dense layers."""
        return [layer for layer in self.layers if layer.channels]

    @property
    def role(self) -> str:
        """What the block is: "convolution" or "dense" with one such layer, "block" with several, "other" with none."""
        if len(self.working) == 1:
            return "convolution" if self.working[0].kernel else "dense"
        return "block" if self.working else "other"


def diagram(model: nn.Module, input_size: tuple[int, int, int]) -> list[Block]:
    """The blocks that one image of `input_size` (channels, height, width) runs through in evaluation mode, in order.

    A block is what a model holds under its plain nn.Sequentials; activations, norms and dropout that stand alone
    belong to the layer before them. What no module does (x.flatten(1), F.relu) is not seen, except that additions
    and concatenations are, as `join`. The sums over times * parameters and times * macs are the whole network's, but
    for parts that evaluation leaves out. The model is left as it was; under torch.device("meta") nothing is computed.
    Raises ValueError for an input size that is no three numbers, and whatever the model raises for one it cannot take.
    """
    if not isinstance(input_size, (tuple, list)) or len(input_size) != 3:
        raise ValueError(f"input_size must be (channels, height, width) of one image, got {input_size!r}")
    like = next(model.parameters(), torch.empty(0))
    with _watched(model) as watch, count._evaluating(model), torch.no_grad(), watch:
        model(torch.zeros(1, *input_size, device=like.device, dtype=like.dtype))
    return _repeated(_gathered(watch.blocks))


def parameters(blocks: list[Block]) -> int:
    """Parameters of all blocks, each as many times as it stands there."""
    return sum(block.times * block.parameters for block in blocks)


def macs(blocks: list[Block]) -> int:
    """Multiply-accumulates of all blocks, each as many times as it stands there."""
    return sum(block.times * block.macs for block in blocks)


def title(block: Block) -> str:
    """What the block is, in words: "bottleneck 1×1 3×3 1×1", "7×7 convolution, stride 2"."""
    if block.role == "block" or not block.layers:
        return f"{words(block.kind)} {' '.join(_kernels(block))}".strip()
    return layer_title((block.working or block.layers)[0])


def layer_title(layer: Layer) -> str:
    """What the layer is, in words: "3×3 depthwise convolution, stride 2", "batch norm"."""
    if layer.kind == "Parameter":
        return layer.name.rpartition(".")[2].replace("_", " ")
    if layer.kind == "AdaptiveAvgPool2d" and layer.size == (1, 1):
        return "global average pooling"
    kernel = f"{_cross(layer.kernel)} " if layer.kernel else ""
    squeeze = "squeeze-excite " if layer.name.startswith("squeeze_excite.") else ""
    depthwise = "depthwise " if layer.channels and 1 < layer.groups == layer.channels[0] else ""
    grouped = f", {layer.groups} groups" if layer.groups > 1 and not depthwise else ""
    stride = "" if layer.stride == (1, 1) else f", stride {layer.stride[0]}"
    pixels = " on each pixel" if layer.kind == "Linear" and layer.size else ""
    return f"{squeeze}{kernel}{depthwise}{words(layer.kind)}{pixels}{grouped}{stride}"


def words(kind: str) -> str:
    """A class name as the book says it: "InvertedResidual" is "inverted residual"."""
    return WORDS.get(kind) or re.sub(r"(?<=[a-z])(?=[A-Z])", " ", kind).lower()


def _cross(kernel: tuple[int, int]) -> str:
    return f"{kernel[0]}×{kernel[1]}"


def _kernels(block: Block) -> list[str]:
    """Kernels along the branch, squeeze-excite left out; of branches side by side each kind once."""
    squeezed = (1, 1) if block.output[1:] != (1, 1) else None
    path = [layer for layer in block.working if not layer.on_skip and layer.size != squeezed]
    kernels = [_cross(layer.kernel or (1, 1)) for layer in path]
    return sorted(set(kernels)) if block.join == "concatenation" else kernels


# Watching a network run.


class _Open:
    """A block that is running: its input, its layers so far, and which module of it has made which tensor."""

    def __init__(self, name: str, module: nn.Module, x: torch.Tensor):
        self.name, self.module, self.input = name, module, x
        self.layers: list[Layer] = []
        self.made: list[tuple[torch.Tensor, str]] = []  # tensors are kept alive, so that `is` can tell them apart
        self.join, self.skip = "", ""

    def maker(self, tensor: Any) -> str | None:
        """The outermost module inside the block that has made the tensor: it is the last to say so."""
        return next((name for made, name in reversed(self.made) if made is tensor), None)

    def below(self, name: str) -> list[Layer]:
        return [layer for layer in self.layers if f"{layer.name}.".startswith(f"{name}.")]

    def close(self, output: torch.Tensor) -> Block:
        layers = tuple(x._replace(on_skip=bool(self.skip) and x in self.below(self.skip)) for x in self.layers)
        sums = [sum(getattr(layer, what) for layer in layers) for what in ("parameters", "macs")]
        shapes = tuple(self.input.shape[1:]), tuple(output.shape[1:])
        return Block(self.name, type(self.module).__name__, layers, self.join, *shapes, *sums)


class _Watch(TorchFunctionMode):
    """Hooks see modules, the function mode sees the additions and concatenations between them."""

    def __init__(self):
        super().__init__()
        self.blocks: list[Block] = []
        self.open: _Open | None = None
        self.counted: set[nn.Parameter] = set()

    def __torch_function__(self, func, types, args=(), kwargs=None):
        name = getattr(func, "__name__", "")
        if self.open and name in ("add", "add_", "__radd__") and len(args) == 2:
            self.note_sum(*args)
        elif self.open and name in ("cat", "concat"):
            self.open.join = "concatenation"
        return func(*args, **(kwargs or {}))

    def note_sum(self, *terms: Any) -> None:
        """A sum with the block's own input is an identity skip; of two branches the one with fewer layers is it."""
        block = self.open
        makers = [block.maker(term) for term in terms]
        if any(term is block.input for term in terms):
            block.join = "identity"
        elif all(makers):
            block.skip = min(makers, key=lambda name: len(block.below(name)))
            block.join = "projection" if any(layer.macs for layer in block.below(block.skip)) else "padding"

    def enter(self, name: str, module: nn.Module, args: tuple) -> None:
        if not args or not isinstance(args[0], torch.Tensor):
            raise ValueError(f"a diagram needs blocks that take a tensor first; {name} takes something else")
        self.open = _Open(name, module, args[0])

    def leave(self, output: torch.Tensor) -> None:
        self.blocks.append(self.open.close(output))
        self.open = None

    def ran(self, name: str, module: nn.Module, output: torch.Tensor) -> None:
        """Called for every module inside a block when it has run, the block itself included."""
        if self.open is None or isinstance(module, nn.Identity):
            return
        if not any(module.children()):
            self.open.layers.append(_layer(name, module, output, self.fresh(module)))
        else:
            self.open.layers += [
                Layer(f"{name}.{own}".lstrip("."), "Parameter", None, (1, 1), 1, None, None, p.numel(), 0, False, False)
                for own, p in module.named_parameters(recurse=False)
                if self.fresh_parameter(p)
            ]
        self.open.made.append((output, name))

    def fresh(self, module: nn.Module) -> int:
        return sum(p.numel() for p in module.parameters() if self.fresh_parameter(p))

    def fresh_parameter(self, parameter: nn.Parameter) -> bool:
        """Whether it trains and has not been counted yet; from now on it has."""
        fresh = parameter.requires_grad and parameter not in self.counted
        self.counted.add(parameter)
        return fresh


@contextmanager
def _watched(model: nn.Module) -> Iterator[_Watch]:
    """A watch with its hooks on the model; none survives the block, whatever happens in it."""
    watch, handles = _Watch(), []
    try:
        for path, block in _units(model):
            handles.append(block.register_forward_pre_hook(lambda m, args, path=path: watch.enter(path, m, args)))
            for name, inner in block.named_modules():
                full = name if any(block.children()) else path
                handles.append(inner.register_forward_hook(lambda m, _, out, full=full: watch.ran(full, m, out)))
            handles.append(block.register_forward_hook(lambda m, _, out: watch.leave(out)))
        yield watch
    finally:
        for handle in handles:
            handle.remove()


def _units(module: nn.Module, path: str = "") -> Iterator[tuple[str, nn.Module]]:
    """The modules under the model's plain nn.Sequentials: those that the diagram shows as blocks."""
    for name, child in module.named_children():
        full = f"{path}.{name}".lstrip(".")
        if type(child) is nn.Sequential:
            yield from _units(child, full)
        elif not isinstance(child, nn.Identity):
            yield full, child


def _layer(name: str, module: nn.Module, output: torch.Tensor, parameters: int) -> Layer:
    kernel = stride = channels = size = None
    groups, macs = 1, 0
    if isinstance(module, nn.Conv2d):
        kernel, stride, groups = module.kernel_size, module.stride, module.groups
        channels, size = (module.in_channels, module.out_channels), tuple(output.shape[2:])
    elif isinstance(module, nn.Linear):
        channels, size = (module.in_features, module.out_features), tuple(output.shape[1:-1])
    elif "Pool" in type(module).__name__:
        kernel, stride, size = _window(module), _pair(getattr(module, "stride", 1)), tuple(output.shape[2:])
    if channels:
        macs = output.numel() * module.weight[0].numel()
    bias = getattr(module, "bias", None) is not None
    kind = type(module).__name__
    return Layer(name, kind, kernel, stride or (1, 1), groups, channels, size, parameters, macs, bias, False)


def _window(module: nn.Module) -> tuple[int, int] | None:
    return _pair(module.kernel_size) if hasattr(module, "kernel_size") else None


def _pair(value: int | tuple[int, int]) -> tuple[int, int]:
    return value if isinstance(value, tuple) else (value, value)


def _gathered(blocks: list[Block]) -> list[Block]:
    """What neither multiplies nor changes the size (activations, norms, dropout, flatten) joins the block before it."""
    gathered: list[Block] = []
    for block in blocks:
        if gathered and _follows(block, gathered[-1]):
            last = gathered.pop()
            sums = last.parameters + block.parameters, last.macs + block.macs
            layers = last.layers + block.layers
            block = last._replace(layers=layers, parameters=sums[0], macs=sums[1])
        gathered.append(block)
    return gathered


def _follows(block: Block, last: Block) -> bool:
    works = block.macs or "Pool" in block.kind or (block.input != block.output and block.kind != "Flatten")
    return not works and (last.role != "block" or not block.parameters)


def _repeated(blocks: list[Block]) -> list[Block]:
    """Neighbours that differ in nothing but their names as one, with its `times`."""
    runs = [list(run) for _, run in groupby(blocks, key=_nameless)]
    return [run[0]._replace(times=len(run)) for run in runs]


def _nameless(block: Block) -> Block:
    return block._replace(name="", layers=tuple(layer._replace(name="") for layer in block.layers))


# Drawing.


def draw(blocks: list[Block], name: str = "the network") -> plots.Picture:
    """The diagram as a picture, from top to bottom: a row a block, `name` in its alt text.

    The wider a bar, the more output channels (log scale); left of it the output's H × W, right of it what the block
    is, how many of them follow each other, and their parameters. An arc around a bar is a skip connection, dashed
    where it is no identity. Raises ValueError for a diagram without blocks.
    """
    if not blocks:
        raise ValueError("there is nothing to draw: the diagram has no blocks")
    fig, ax = plt.subplots(figsize=(4.8, 0.24 * len(blocks) + 0.3))
    for row, block in enumerate(blocks):
        _draw_row(ax, row, block)
    for x, text, align in ((12, "H×W", "right"), (22, "channels", "center"), (100, "parameters", "right")):
        ax.text(x, -1, text, color=plots.MUTED, fontsize=8.5, ha=align, va="center")
    ax.set(xlim=(0, 100), ylim=(len(blocks) - 0.4, -1.5))
    ax.axis("off")
    fig.subplots_adjust(0, 0, 1, 1)
    return plots.picture(fig, _alt(blocks, name))


def _draw_row(ax: plt.Axes, row: int, block: Block) -> None:
    color, width, middle = COLORS[block.role], 1.5 * np.log2(block.output[0] + 1), 22
    box = {"xy": (middle - width / 2, row - 0.36), "width": width, "height": 0.72}
    ax.add_patch(Rectangle(**box, facecolor=color, alpha=0.25, linewidth=0))
    ax.add_patch(Rectangle(**box, fill=False, edgecolor=color, linewidth=1))
    if block.join in SKIPS:
        dash = "-" if block.join == "identity" else (0, (2, 1.5))
        ends = {"theta1": -90, "theta2": 90, "linestyle": dash, "color": color, "linewidth": 1.4}
        ax.add_patch(Arc((middle + width / 2, row), 4.5, 0.62, **ends))
    size = "×".join(str(side) for side in block.output[1:]) or "–"
    times = f"{block.times} × " if block.times > 1 else ""
    total = f"{block.times * block.parameters:,}" if block.parameters else "–"
    texts = ((12, size, "right"), (middle, str(block.output[0]), "center"), (34, times + title(block), "left"))
    for x, text, align in (*texts, (100, total, "right")):
        ax.text(x, row, text, fontsize=8.5, ha=align, va="center_baseline")


def _alt(blocks: list[Block], name: str) -> str:
    first, last = blocks[0], blocks[-1]
    skips = sum(block.times for block in blocks if block.join in SKIPS)
    around = f", {skips} with a skip connection" if skips else ""
    return (
        f"Block diagram of {name}: {sum(block.times for block in blocks)} blocks{around}, from "
        f"{' × '.join(map(str, first.input))} values to {' × '.join(map(str, last.output))}, "
        f"{parameters(blocks):,} parameters."
    )
