"""The networks of the zoo in history: year, cost, and two errors on ImageNet that must not be mixed up.

What a paper reports depends on how many networks and crops it averages over; a single centre crop of one network is
the protocol that can be compared. Costs are counted on the networks, single-crop errors read from torchvision.
"""

import tomllib
from functools import cache
from pathlib import Path
from typing import NamedTuple

import torch
from torchvision import models

from cnnbook import zoo
from cnnbook.zoo import diagram

FILE = Path(__file__).with_suffix(".toml")


class Error(NamedTuple):
    """Errors in percent (None where the source has none) and the protocol under which they were measured, in words."""

    top1: float | None
    top5: float | None
    protocol: str


class Network(NamedTuple):
    """One network of the zoo. `macs` and `parameters` are of the network that evaluation runs."""

    name: str
    label: str
    year: int
    cite: tuple[str, ...]  # keys of reference/references.bib
    input: tuple[int, int, int]  # channels, height, width
    classes: int
    task: str  # "ImageNet", "CIFAR-10" or "MNIST"
    parameters: int
    macs: int
    paper: Error | None  # one such network, as its authors report it
    single_crop: tuple[Error, ...]  # torchvision's weights for this very network, its default ones last
    note: str
    blocks: tuple[diagram.Block, ...]


@cache
def networks() -> tuple[Network, ...]:
    """Every network of the zoo, in the order of `zoo.names()`; computed once, about two seconds."""
    entries = tomllib.loads(FILE.read_text(encoding="utf-8"))["network"]
    by_name = {entry["name"]: entry for entry in entries}
    return tuple(_network(**by_name[name]) for name in zoo.names())


def network(name: str) -> Network:
    """The entry of one network; ValueError for a name that the zoo does not have."""
    found = {entry.name: entry for entry in networks()}
    if name not in found:
        raise ValueError(f"the zoo has no {name!r}; it has {', '.join(found)}")
    return found[name]


def _network(input: list, cite: list, paper: dict | None = None, torchvision: str = "", **entry) -> Network:
    with torch.device("meta"):  # shapes and counts without memory or arithmetic
        blocks = diagram.diagram(zoo.build(entry["name"], entry["classes"]), tuple(input))
    return Network(
        **entry,
        cite=tuple(cite),
        input=tuple(input),
        parameters=diagram.parameters(blocks),
        macs=diagram.macs(blocks),
        paper=Error(paper.get("top1"), paper.get("top5"), paper["protocol"]) if paper else None,
        single_crop=_single_crops(torchvision) if torchvision else (),
        blocks=tuple(blocks),
    )


def _single_crops(name: str) -> tuple[Error, ...]:
    """What torchvision's metadata say of each set of weights, without downloading any; the default weights last.

    VGG-16 also has weights for feature extraction, without a classifier: their accuracy is NaN and they are left out.
    """
    choices = models.get_model_weights(name)
    ordered = sorted(choices, key=lambda weights: weights == choices.DEFAULT)
    return tuple(_single_crop(weights) for weights in ordered if weights.meta["_metrics"]["ImageNet-1K"]["acc@1"] > 0)


def _single_crop(weights: models.WeightsEnum) -> Error:
    accuracy, shown = weights.meta["_metrics"]["ImageNet-1K"], weights.transforms()
    protocol = (
        f"torchvision {weights.name.removeprefix('IMAGENET1K_')}, centre crop of {shown.crop_size[0]} after resizing "
        f"to {shown.resize_size[0]}, {shown.interpolation.value}"
    )
    return Error(round(100 - accuracy["acc@1"], 3), round(100 - accuracy["acc@5"], 3), protocol)
