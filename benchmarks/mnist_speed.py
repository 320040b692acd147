"""Time to 99.0 % of MNIST's test set, row by row: called by `python benchmarks/mnist.py --speed`.

The first row is the listing that the book's source prints, as it stands. Each later row changes more of it (+), or
that one thing alone (only). The clock runs from the first training step to the end of the first epoch after which the
test accuracy is 99.0 % or more, 5 epochs at most; a row with a schedule is trained to its end and then tested once.
Evaluation is counted apart, and so are three warm-up steps on zeros before the clock, which are undone: there
torch.compile compiles (it keeps the result on disk, so later seeds warm up faster). Turning bytes into normalised
tensors is inside the clock in every row. One call runs all rows of a seed before the next seed, so a slow minute of
the machine meets them all. The small net, its rate and its 1.5 epochs were chosen on the last 10,000 training images,
not on the test set. GPU rows exist only where torch finds a GPU.

How many epochs a run needs is partly luck, so `pace` also compares the cost of an epoch: twelve training steps of each
row in turn, six times round, and the median of the ratios within a round.
"""

import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.data import DataLoader
from torchvision import datasets, transforms
from tqdm import tqdm

from cnnbook.data import mnist
from cnnbook.mnist_nets import PoolFirstNet, SourceNet

LISTING = "the source's listing"
TARGET, MOST_EPOCHS, CYCLE_EPOCHS, PEAK_RATE = 0.99, 5, 1.5, 0.01
MEAN, STD = 0.1307, 0.3081
TRANSFORM = transforms.Compose([transforms.ToTensor(), transforms.Normalize((MEAN,), (STD,))])
IDX_NAMES = {"train": ("train-images-idx3", "train-labels-idx1"), "test": ("t10k-images-idx3", "t10k-labels-idx1")}


@dataclass(frozen=True)
class Recipe:
    """What a row changes; the default is the source's listing as it stands."""

    memory: bool = False  # all images as one tensor on the device, instead of PIL images through a DataLoader
    schedule: bool = False  # batches of 256, Adam fused and over one cycle, instead of 128 and a constant 1e-3
    small: bool = False  # PoolFirstNet instead of SourceNet
    channels_last: bool = False
    autocast: bool = False  # to bfloat16
    compiled: bool = False
    graphs: bool = False  # the whole training step recorded once as a CUDA graph, then replayed

    @property
    def batch(self) -> int:
        return 256 if self.schedule else 128

    @property
    def whole_batches(self) -> bool:
        """Leave out an epoch's last, smaller batch: what is compiled or recorded has one shape."""
        return self.memory or self.compiled

    def legs(self, images: int) -> list[int]:
        """Training steps before each evaluation: one cycle, or epoch after epoch."""
        if self.schedule:
            return [int(CYCLE_EPOCHS * images / self.batch)]
        return [images // self.batch + (not self.whole_batches and images % self.batch > 0)] * MOST_EPOCHS


CHANGES = {
    "data in memory": {"memory": True},
    "batch 256, one cycle": {"schedule": True},
    "small net": {"small": True},
    "channels_last": {"channels_last": True},
    "autocast to bfloat16": {"autocast": True},
    "torch.compile": {"compiled": True},
    "CUDA graphs": {"memory": True, "graphs": True},
}


def recipes() -> dict[str, Recipe]:
    """Every row by name: the listing, one change after the other on top of it, and each change by itself."""
    changes = dict(CHANGES)
    if not torch.cuda.is_available():
        del changes["CUDA graphs"]
    rows = {LISTING: Recipe()}
    for name, change in changes.items():
        rows[f"+ {name}"] = replace(list(rows.values())[-1], **change)
    alone = {f"only {name}": replace(Recipe(), **change) for name, change in list(changes.items())[1:]}
    return rows | alone  # the first change stands alone already


class Digits:
    """MNIST as the listing reads it, from raw files in `folder`; `count` images a split, or all."""

    def __init__(self, folder: str, device: torch.device, count: int | None = None):
        raw = Path(folder) / "MNIST" / "raw"
        raw.mkdir(parents=True)
        for split, names in IDX_NAMES.items():
            images, labels = mnist(split)
            write_idx(raw / f"{names[0]}-ubyte", np.rint(images[:count, 0] * 255).astype(np.uint8))
            write_idx(raw / f"{names[1]}-ubyte", labels[:count].astype(np.uint8))
        self.device = device
        self.train = datasets.MNIST(folder, train=True, transform=TRANSFORM)
        self.test = datasets.MNIST(folder, train=False, transform=TRANSFORM)

    def tensors(self, split: str) -> tuple[Tensor, Tensor]:
        """Images (N, 1, 28, 28) float32, normalised, and labels (N,) int64, on the device."""
        data = getattr(self, split)
        return data.data[:, None].to(self.device).float().sub_(255 * MEAN).div_(255 * STD), data.targets.to(self.device)


def write_idx(path: Path, values: np.ndarray) -> None:
    """Unsigned bytes in the idx format that torchvision reads: 0, 0, 8, number of axes, sizes, values."""
    path.write_bytes(bytes([0, 0, 8, values.ndim]) + np.array(values.shape, ">i4").tobytes() + values.tobytes())


def training_batches(recipe: Recipe, digits: Digits) -> Iterator[tuple[Tensor, Tensor]]:
    """Shuffled batches on the device, epoch after epoch without end."""
    if recipe.memory:
        x, y = digits.tensors("train")
        while True:
            order = torch.randperm(len(x), device=x.device)
            yield from ((x[chosen], y[chosen]) for chosen in order.split(recipe.batch) if len(chosen) == recipe.batch)
    loader = DataLoader(digits.train, batch_size=recipe.batch, shuffle=True, drop_last=recipe.whole_batches)
    while True:
        yield from ((x.to(digits.device), y.to(digits.device)) for x, y in loader)


def test_batches(recipe: Recipe, digits: Digits) -> Iterator[tuple[Tensor, Tensor]]:
    """Every test image once, on the device."""
    if recipe.memory:
        return zip(*(part.split(1000) for part in digits.tensors("test")), strict=True)
    return ((x.to(digits.device), y.to(digits.device)) for x, y in DataLoader(digits.test, batch_size=256))


class Trainer:
    """A net, its optimizer, and one training step of both, made as a recipe says."""

    def __init__(self, recipe: Recipe, device: torch.device):
        self.recipe, self.device = recipe, device
        layout = torch.channels_last if recipe.channels_last else torch.contiguous_format
        self.net = (PoolFirstNet() if recipe.small else SourceNet()).to(device, memory_format=layout)
        self.optimizer = torch.optim.Adam(self.net.parameters(), lr=1e-3)
        if recipe.schedule or recipe.graphs:  # a rate in a tensor can change after the step was recorded
            options = {"fused": True, "capturable": device.type == "cuda"}
            self.optimizer = torch.optim.Adam(self.net.parameters(), lr=torch.tensor(1e-3, device=device), **options)
        self.loss = torch.compile(self._loss) if recipe.compiled else self._loss

    def logits(self, x: Tensor) -> Tensor:
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.recipe.autocast):
            return self.net(x).float()

    def _loss(self, x: Tensor, y: Tensor) -> Tensor:
        return F.cross_entropy(self.logits(x), y)

    def step(self, x: Tensor, y: Tensor) -> Tensor:
        self.optimizer.zero_grad()
        loss = self.loss(x, y)
        loss.backward()
        self.optimizer.step()
        return loss

    def train(self, batches: Iterator[tuple[Tensor, Tensor]], steps: int) -> None:
        self.net.train()
        total = 0.0
        for index, (x, y) in enumerate(islice(batches, steps)):
            if self.recipe.schedule:
                self.set_rate((index + 1) / (steps + 1))
            loss = self.step(x, y)
            if not self.recipe.memory:
                total += loss.item()  # as in the listing; it waits for the device at every step

    def set_rate(self, done: float) -> None:
        """One cycle: straight up over the first fifth of the steps, straight down to zero over the rest."""
        self.optimizer.param_groups[0]["lr"].fill_(PEAK_RATE * min(done / 0.2, (1 - done) / 0.8))

    @torch.no_grad()
    def accuracy(self, digits: Digits) -> float:
        self.net.eval()
        right = sum((self.logits(x).argmax(1) == y).sum() for x, y in test_batches(self.recipe, digits))
        return right.item() / len(digits.test)

    def warm_up(self, steps: int = 3) -> None:
        """A few steps on zeros, then every weight, statistic and moment as before; records the graph where asked."""
        before = {name: value.clone() for name, value in self.net.state_dict().items()}
        x = torch.zeros(self.recipe.batch, 1, 28, 28, device=self.device)
        y = torch.zeros(self.recipe.batch, dtype=torch.int64, device=self.device)
        stream = torch.cuda.Stream() if self.recipe.graphs else None  # a recorded step first runs beside the default
        if stream:
            stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for _ in range(steps):
                self.step(x, y)
        if stream:
            torch.cuda.current_stream().wait_stream(stream)
            self.record(x, y)
        self.net.load_state_dict(before)
        for moments in self.optimizer.state.values():
            for value in moments.values():
                value.zero_()

    def record(self, x: Tensor, y: Tensor) -> None:
        """From here on a step copies its batch into x and y and replays the recorded kernels in one launch."""
        graph = torch.cuda.CUDAGraph()
        self.optimizer.zero_grad(set_to_none=True)  # so that the gradients come to lie in the graph's own memory
        with torch.cuda.graph(graph):
            loss = self.step(x, y)

        def replay(images: Tensor, labels: Tensor) -> Tensor:
            x.copy_(images)
            y.copy_(labels)
            graph.replay()
            return loss

        self.step = replay


def timed(device: torch.device, act: Callable, *given) -> tuple[object, float]:
    """What act(*given) returns, and the seconds until the device has finished all of it."""
    wait = torch.cuda.synchronize if device.type == "cuda" else lambda: None
    wait()
    start = time.perf_counter()
    found = act(*given)
    wait()
    return found, time.perf_counter() - start


def run(recipe: Recipe, seed: int, digits: Digits) -> dict:
    """Train once by a recipe: seconds of training, evaluation and warm-up, and the accuracy after each evaluation."""
    torch.manual_seed(seed)
    torch.compiler.reset()
    trainer = Trainer(recipe, digits.device)
    _, warm_up = timed(digits.device, trainer.warm_up)
    torch.manual_seed(seed)
    batches, training, evaluation, accuracies = training_batches(recipe, digits), 0.0, 0.0, []
    for steps in recipe.legs(len(digits.train)):
        training += timed(digits.device, trainer.train, batches, steps)[1]
        accuracy, seconds = timed(digits.device, trainer.accuracy, digits)
        evaluation += seconds
        accuracies.append(accuracy)
        if accuracy >= TARGET:
            break
    times = {"seconds": training, "evaluation_seconds": evaluation, "warm_up_seconds": warm_up}
    return {"seed": seed, "accuracies": accuracies} | {name: round(value, 3) for name, value in times.items()}


def epochs(recipe: Recipe, found: dict) -> float:
    """How often a run saw the training images."""
    return CYCLE_EPOCHS if recipe.schedule else len(found["accuracies"])


def pace(rows: dict[str, Recipe], digits: Digits, rounds: int = 6, steps: int = 12) -> dict[str, dict]:
    """For each row the seconds that an epoch takes, and times the first row's pace; a few steps of each in turn."""
    prepared = {}
    for name, recipe in tqdm(rows.items(), desc="pace: warming up"):
        trainer, batches = Trainer(recipe, digits.device), training_batches(recipe, digits)
        trainer.warm_up()
        trainer.train(batches, 1)
        prepared[name] = trainer, batches
    found = {name: [] for name in rows}
    for _ in tqdm(range(rounds), desc="pace"):
        for name, (trainer, batches) in prepared.items():
            seconds = timed(digits.device, trainer.train, batches, steps)[1]
            found[name].append(seconds / steps * len(digits.train) / trainer.recipe.batch)
    first = next(iter(found.values()))
    ratios = {name: [a / b for a, b in zip(first, seconds, strict=True)] for name, seconds in found.items()}
    keys = "median_seconds_an_epoch", "median_epoch_ratio"
    medians = {name: (statistics.median(found[name]), statistics.median(ratios[name])) for name in rows}
    return {name: {key: round(value, 2) for key, value in zip(keys, medians[name], strict=True)} for name in rows}
