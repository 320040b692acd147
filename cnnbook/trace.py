"""A shape tracer: what goes into every layer and what comes out, and which layer it is that breaks."""

from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.conv import _ConvNd

Shapes = tuple[int, ...] | list[tuple[int, ...]] | None


class Row(NamedTuple):
    """One call of a layer, or what happened between two layers (kind 'function')."""

    name: str  # dotted, as in model.named_modules()
    kind: str
    input: Shapes  # one tensor's shape; a list of shapes where there are several tensors or none
    output: Shapes  # None for the layer that raised
    parameters: int  # of the layer itself; 0 where an earlier row has counted them


def trace(model: nn.Module, x: Any) -> list[Row]:
    """Run model(x) without gradients and return a Row for every call of a layer, in order; `table` prints them.

    A layer is a module without submodules or with parameters of its own. Between two layers, a Row tells of functions
    such as F.relu, view or +, seen by a tensor that no layer has made; in-place functions leave none. Where the model
    raises, an error of the same type is chained to the original: it names the layer by its dotted name ('between a
    and b' for functions), its input and what it wanted, and carries the table up to there as a note. The model keeps
    its mode, its buffers (running statistics) and torch's CPU random state, and no hook stays.
    """
    if not isinstance(model, nn.Module):
        raise TypeError(f"model must be a torch.nn.Module, got {type(model).__name__}")
    watch = _Watch(model, x)
    buffers = [(buffer, buffer.clone()) for buffer in model.buffers()]
    try:
        with torch.no_grad(), torch.random.fork_rng(devices=[]):
            watch.note_function("after {before}", model(x))
    except Exception as error:
        raise watch.explained(error) from error
    finally:
        for handle in watch.handles:
            handle.remove()
        for buffer, before in buffers:
            buffer.data.copy_(before)
    return watch.rows


def table(rows: list[Row]) -> str:
    """The rows as aligned text, with the sum of the parameters below; a layer that raised ends with 'raises'."""
    cells = [("layer", "type", "in", "out", "parameters")]
    cells += [(r.name, r.kind, _text(r.input), _text(r.output), f"{r.parameters:,}") for r in rows]
    cells.append(("total", "", "", "", f"{sum(row.parameters for row in rows):,}"))
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = [[text.ljust(width) for text, width in zip(row, widths, strict=True)] for row in cells]
    return "\n".join("  ".join([*line[:4], row[4].rjust(widths[4])]) for line, row in zip(lines, cells, strict=True))


class _Watch:
    """The hooks of one trace, and what they have seen."""

    def __init__(self, model: nn.Module, x: Any):
        self.rows: list[Row] = []
        self.names = {module: name for name, module in model.named_modules()}
        self.layers = [m for m in self.names if not list(m.children()) or list(m.parameters(recurse=False))]
        self.open: list[tuple[nn.Module, Shapes]] = []  # the modules that are running, outermost first
        self.made, self.latest = list(_tensors(x)), shapes(x)  # kept alive, so that `is` can tell them apart
        self.called: set[nn.Module] = set()
        self.counted: set[nn.Parameter] = set()
        self.handles = [m.register_forward_pre_hook(self.enter, with_kwargs=True) for m in self.names]
        self.handles += [m.register_forward_hook(self.leave) for m in self.names]

    def enter(self, module: nn.Module, args: tuple, kwargs: dict) -> None:
        given = (args, kwargs)
        if module in self.layers:
            self.note_function(f"between {{before}} and {self.names[module]}", given, f"before {self.names[module]}")
            self.called.add(module)
        self.open.append((module, shapes(given)))

    def leave(self, module: nn.Module, args: tuple, output: Any) -> None:
        given = self.open.pop()
        while given[0] is not module:  # it raised, and the model caught the error itself
            given = self.open.pop()
        if module in self.layers:
            self.add(module, given[1], shapes(output))
            self.made += _tensors(output)
            self.latest = shapes(output)

    def add(self, module: nn.Module, given: Shapes, output: Shapes) -> None:
        new = set(module.parameters(recurse=False)) - self.counted
        self.counted |= new
        count = sum(parameter.numel() for parameter in new)
        self.rows.append(Row(self.names[module] or "model", type(module).__name__, given, output, count))

    def note_function(self, name: str, value: Any, first: str = "the model") -> None:
        """A row for what turned the latest tensor into `value`, if no layer has made that."""
        if all(any(tensor is made for made in self.made) for tensor in _tensors(value)):
            return
        name = name.format(before=self.last()) if self.last() else first
        self.rows.append(Row(name, "function", self.latest, shapes(value), 0))

    def last(self) -> str:
        return next((row.name for row in reversed(self.rows) if row.kind != "function"), "")

    def explained(self, error: Exception) -> Exception:
        """The same type of error, saying where it happened; the table so far is its note."""
        module, given = self.open[-1] if self.open else (None, None)
        if module in self.layers:
            where = f"{self.names[module] or 'model'} ({type(module).__name__}) was given {_text(given)}"
            where += f" and wants {wanted(module)}"
            self.add(module, given, None)
        else:
            where = self.between(module)
        said = _same_type(error, f"{where}: {error}")
        said.add_note(table(self.rows))
        return said

    def between(self, container: nn.Module | None) -> str:
        """Which two layers a function stands between: the latest that ran and the next that has not run yet."""
        before, after = self.last(), next((self.names[m] for m in self.layers if m not in self.called), "")
        inside = f"in {self.names[container]} ({type(container).__name__}), " if self.names.get(container) else ""
        place = f"after {before}" if before else f"before {after}"
        place = f"between {before} and {after}" if before and after else place
        return f"{inside}{place}, where the latest shape was {_text(self.latest)}"


def shapes(value: Any) -> Shapes:
    """The shape of the one tensor in a value, however nested; a list of shapes where there are several or none."""
    found = [tuple(tensor.shape) for tensor in _tensors(value)]
    return found[0] if len(found) == 1 else found


def wanted(module: nn.Module) -> str:
    """What a layer accepts, in words; its own description where that is all that is known."""
    if isinstance(module, nn.Linear):
        return f"(..., {module.in_features})"
    if isinstance(module, _ConvNd):
        axes = len(module.kernel_size)
        return f"(N, {module.in_channels}, {', '.join('DHW'[3 - axes :])})"
    if isinstance(module, _BatchNorm):
        return f"{module.num_features} channels in axis 1"
    return f"what {module} takes"


def _tensors(value: Any) -> Iterator[torch.Tensor]:
    """The tensors in nested tuples, lists and dictionaries."""
    if isinstance(value, torch.Tensor):
        yield value
    elif isinstance(value, dict):
        yield from _tensors(list(value.values()))
    elif isinstance(value, (tuple, list)):
        for item in value:
            yield from _tensors(item)


def _same_type(error: Exception, message: str) -> Exception:
    """An error of the same type, or RuntimeError where that type does not take one message."""
    try:
        return type(error)(message)
    except Exception:
        return RuntimeError(message)


def _text(found: Shapes) -> str:
    if found is None:
        return "raises"
    return " ".join(map(str, found)) if isinstance(found, list) else str(found)
