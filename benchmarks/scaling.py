"""Depth, width, resolution or a little of each: four ways to spend four times the multiply-accumulates, on digits.

    python benchmarks/scaling.py            # about two minutes on one core; writes cnnbook/data/results/scaling.json

A small residual network reads MNIST at 12x12 pixels. Four larger ones have four times its MACs, within 1.5 %: nine
blocks a stage for two, twice the channels, twice the pixels a side, or 1.5 times the depth, 1.25 times the width and
1.33 times the resolution. Each trains on the same `TRAIN` digits (drawn anew for each seed), with one recipe for all,
and is tested on all 10,000 test digits.
"""

from functools import cache

import numpy as np
import torch
import torch.nn.functional as F
from machine import save
from torch import nn
from tqdm import tqdm

from cnnbook import data
from cnnbook.zoo import count

SIZES = {  # blocks a stage, channels of the first stage, pixels a side
    "base": (2, 8, 12),
    "depth": (9, 8, 12),
    "width": (2, 16, 12),
    "resolution": (2, 8, 24),
    "balanced": (3, 10, 16),
}
SEEDS, TRAIN, EPOCHS, BATCH, RATE = (0, 1, 2), 2_000, 10, 50, 4e-3


class Block(nn.Module):
    """x plus a 3x3 convolution of it, with batch norm and ReLU."""

    def __init__(self, channels: int):
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(channels)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + F.relu(self.norm(self.conv(x)))


def build(blocks: int, channels: int) -> nn.Sequential:
    """Two stages with `blocks` residual blocks each; a pooling between them halves the map and doubles the channels."""
    first, second = ([Block(width) for _ in range(blocks)] for width in (channels, 2 * channels))
    stem = nn.Conv2d(1, channels, 3, padding=1)
    widen = nn.Conv2d(channels, 2 * channels, 3, padding=1)
    head = [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(2 * channels, 10)]
    return nn.Sequential(stem, *first, nn.MaxPool2d(2), widen, *second, *head)


@cache
def mnist(split: str) -> tuple[np.ndarray, np.ndarray]:
    return data.mnist(split)


def digits(split: str, size: int, chosen: np.ndarray | slice) -> tuple[torch.Tensor, torch.Tensor]:
    """Chosen digits averaged down to size x size pixels, (N, 1, size, size), and their labels (N,)."""
    images, labels = mnist(split)
    images = F.interpolate(torch.from_numpy(images[chosen]), (size, size), mode="area")
    return (images - 0.13) / 0.31, torch.from_numpy(labels[chosen]).long()


def run(blocks: int, channels: int, size: int, seed: int) -> dict:
    """Train one network and count the test digits that it gets wrong."""
    chosen = np.random.default_rng(seed).permutation(60_000)[:TRAIN]  # the same digits for every network
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = build(blocks, channels)
    train(model, *digits("train", size, chosen), torch.Generator().manual_seed(seed))
    images, labels = digits("test", size, slice(None))
    with torch.no_grad():
        found = torch.cat([model.eval()(part).argmax(1) for part in images.split(500)])
    return {"seed": seed, "errors": int((found != labels).sum())}


def train(model: nn.Module, images: torch.Tensor, labels: torch.Tensor, generator: torch.Generator) -> None:
    """Adam with a learning rate that rises and falls once."""
    optimizer = torch.optim.Adam(model.parameters(), lr=RATE)
    steps = EPOCHS * (len(images) // BATCH)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, total_steps=steps)
    for _ in range(EPOCHS):
        for batch in torch.randperm(len(images), generator=generator).split(BATCH):
            optimizer.zero_grad()
            F.cross_entropy(model(images[batch]), labels[batch]).backward()
            optimizer.step()
            schedule.step()


def main() -> None:
    torch.set_num_threads(1)
    found = {}
    for name, (blocks, channels, size) in SIZES.items():
        model = build(blocks, channels)
        sizes = {"blocks": blocks, "channels": channels, "pixels": size}
        costs = {"parameters": count.parameters(model), "macs": count.macs(model, (1, size, size))}
        found[name] = {**sizes, **costs, "runs": []}
    for seed, name in tqdm([(seed, name) for seed in SEEDS for name in SIZES]):
        found[name]["runs"].append(run(*SIZES[name], seed))
    recipe = {"train": TRAIN, "test": 10_000, "epochs": EPOCHS, "batch": BATCH, "rate": RATE}
    print(save("scaling", "benchmarks/scaling.py", recipe=recipe, networks=found))


if __name__ == "__main__":
    main()
