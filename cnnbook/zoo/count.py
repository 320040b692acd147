"""Counting what a network costs: parameters, and multiply-accumulates of its convolutions and dense layers."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn


def parameters(model: nn.Module, trainable: bool = True) -> int:
    """Parameters that training moves; with trainable=False the frozen ones count too. Shared ones count once.

    Buffers, such as the running statistics of batch norm, are no parameters.
    """
    return sum(p.numel() for p in model.parameters() if p.requires_grad or not trainable)


def macs(model: nn.Module, input_size: tuple[int, int, int]) -> int:
    """Multiply-accumulates of one image of `input_size` (channels, height, width), in evaluation mode.

    Every nn.Conv2d and nn.Linear counts, each time it runs; biases, normalisation, activations and pooling do not.
    The model is left as it was found. A model built under torch.device("meta") is counted without computing anything.
    Raises ValueError for an input size that is no three numbers, and whatever the model raises for one it cannot take.
    """
    if not isinstance(input_size, (tuple, list)) or len(input_size) != 3:
        raise ValueError(f"input_size must be (channels, height, width) of one image, got {input_size!r}")
    like = next(model.parameters(), torch.empty(0))
    with _counted(model) as counts, _evaluating(model), torch.no_grad():
        model(torch.zeros(1, *input_size, device=like.device, dtype=like.dtype))
    return sum(counts)


@contextmanager
def _counted(model: nn.Module) -> Iterator[list[int]]:
    """The MACs of each layer as it runs; no hook survives the block, whatever happens in it."""
    counts, hooks = [], []

    def count(layer: nn.Module, inputs: tuple, output: torch.Tensor) -> None:
        counts.append(output.numel() * layer.weight[0].numel())  # each output sums one filter's, or one row's, products

    try:
        for layer in model.modules():
            if isinstance(layer, (nn.Conv2d, nn.Linear)):
                hooks.append(layer.register_forward_hook(count))
        yield counts
    finally:
        for hook in hooks:
            hook.remove()


@contextmanager
def _evaluating(model: nn.Module) -> Iterator[None]:
    """Evaluation mode for the block, then each module's own mode again."""
    modes = {module: module.training for module in model.modules()}
    model.eval()
    try:
        yield
    finally:
        for module, mode in modes.items():
            module.training = mode
