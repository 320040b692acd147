"""Does a deeper net fit its own training images worse? Call python benchmarks/degradation.py

The nets are the paper's for CIFAR-10 (He et al. 2015, section 4.2), with 8 channels where it has 16, on digits of
14x14: 6n + 2 layers, batch norm after every convolution. A plain net is the residual net with its shortcuts cut, so
both have the same parameters, and with the same seed the same first weights. Recipe as in the paper, but short: SGD
with momentum 0.9, weight decay 1e-4, rate 0.1 divided by 10 after half and after three quarters of the steps; no
augmentation. The first 8,000 training images, 6 epochs in batches of 64 (750 steps). Errors are in per cent of all
8,000 training and all 10,000 test images, in evaluation mode, after the last step; nothing is selected by them.

Three parts: the depths at rate 0.1; the deepest plain net at 0.03; the deepest nets without batch norm, at 0.001. A run
that ends in a loss that is not finite is stored as "diverged". Gradients: the norm of the loss's gradient with respect
to the weights of each convolution, first layer first, over 256 training images in training mode, at the start and at
the end. Results go to cnnbook/data/results/degradation.json after every run; a call that was stopped goes on there.
One core takes about half an hour.
"""

import argparse
from typing import NamedTuple

import torch
import torch.nn.functional as F
from machine import hardware, save, versions
from torch import Tensor, nn
from tqdm import tqdm

from cnnbook import train
from cnnbook.data import mnist, results
from cnnbook.zoo.cifar_resnet import CifarBlock
from cnnbook.zoo.count import parameters
from cnnbook.zoo.resnet import conv, initialise

SCRIPT = "benchmarks/degradation.py"
WIDTH, IMAGES, EPOCHS, BATCH, PROBE = 8, 8000, 6, 64, 256
Data = tuple[Tensor, Tensor, Tensor, Tensor]  # images (N, 1, 14, 14) and labels to train on, and to test on


class Run(NamedTuple):
    """One training; depth = 6n + 2."""

    depth: int
    residual: bool
    seed: int
    rate: float = 0.1
    norm: bool = True


class NoShortcut(nn.Module):
    """What stands in for a shortcut that was cut: it adds nothing."""

    def forward(self, x: Tensor) -> int:
        return 0


def network(depth: int, residual: bool, norm: bool = True) -> nn.Sequential:
    """Digits (N, 1, 14, 14) to logits (N, 10); the weights come from torch's global state."""
    n, stages = (depth - 2) // 6, [WIDTH, 2 * WIDTH, 4 * WIDTH]
    blocks = [CifarBlock(WIDTH, WIDTH) for _ in range(n)]
    for narrow, wide in zip(stages, stages[1:], strict=False):
        blocks += [CifarBlock(narrow, wide, stride=2), *(CifarBlock(wide, wide) for _ in range(n - 1))]
    stem = [conv(1, WIDTH, 3), nn.BatchNorm2d(WIDTH), nn.ReLU()]
    net = nn.Sequential(*stem, *blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(stages[-1], 10))
    initialise(net)
    if not residual:
        replace(net, "shortcut", nn.Module, NoShortcut)
    return net if norm else replace(net, "", nn.BatchNorm2d, nn.Identity)


def replace(net: nn.Sequential, name: str, kind: type[nn.Module], by: type[nn.Module]) -> nn.Sequential:
    """Put `by` where a child called `name` (any with "") is of that kind, in the net and everything in it."""
    for module in list(net.modules()):
        for found, child in list(module.named_children()):
            if isinstance(child, kind) and name in ("", found):
                setattr(module, found, by())
    return net


def load() -> Data:
    """Digits at half their size, standardised by the mean and spread of the training images."""
    (x, y), (test_x, test_y) = ([torch.from_numpy(part) for part in mnist(split)] for split in ("train", "test"))
    x, y, test_x = F.avg_pool2d(x[:IMAGES], 2), y[:IMAGES], F.avg_pool2d(test_x, 2)
    return (x - x.mean()) / x.std(), y, (test_x - x.mean()) / x.std(), test_y


def measure(run: Run, data: Data) -> dict:
    """Train one net, and all that is stored of it."""
    x, y, test_x, test_y = data
    with torch.random.fork_rng():
        torch.manual_seed(run.seed)
        net = network(run.depth, run.residual, run.norm)
    found = run._asdict() | {"parameters": parameters(net), "gradients_before": gradients(net, x, y)}
    optimizer = torch.optim.SGD(net.parameters(), run.rate, momentum=0.9, weight_decay=1e-4)
    steps = EPOCHS * IMAGES // BATCH
    schedule = torch.optim.lr_scheduler.MultiStepLR(optimizer, [steps // 2, steps * 3 // 4])
    order, epochs = train.generator(run.seed), {"epochs": EPOCHS, "batch_size": BATCH}
    try:
        losses = train.fit(net, x, y, optimizer=optimizer, generator=order, schedule=schedule, **epochs)
    except FloatingPointError:
        return found | {"diverged": True}
    errors = {"train_error": error(net, x, y), "test_error": error(net, test_x, test_y)}
    curve = [round(part.mean().item(), 4) for part in torch.tensor(losses).split(25)]
    return found | {"diverged": False} | errors | {"losses": curve, "gradients_after": gradients(net, x, y)}


def error(net: nn.Module, x: Tensor, y: Tensor) -> float:
    """Per cent of wrong answers."""
    return round(100 * (1 - train.evaluate(net, x, y).accuracy), 2)


def gradients(net: nn.Module, x: Tensor, y: Tensor) -> list[float]:
    """Norm of the loss's gradient for each convolution's weights; neither weights nor running statistics change."""
    state = {name: value.clone() for name, value in net.state_dict().items()}
    weights = [layer.weight for layer in net.modules() if isinstance(layer, nn.Conv2d)]
    found = torch.autograd.grad(F.cross_entropy(net.train()(x[:PROBE]), y[:PROBE]), weights)
    net.load_state_dict(state)
    return [float(f"{one.norm().item():.4g}") for one in found]


def plan(seeds: int) -> list[Run]:
    """All runs, part by part."""
    kinds = [(depth, residual) for depth in (8, 20, 44) for residual in (False, True)]
    runs = [Run(*kind, seed) for seed in range(seeds) for kind in kinds]
    runs += [Run(44, False, seed, rate=0.03) for seed in range(seeds)]
    return runs + [Run(44, residual, seed, 0.001, norm=False) for seed in range(seeds) for residual in (False, True)]


def stored() -> list[dict]:
    """What earlier calls stored on this machine with these versions."""
    try:
        found = results("degradation")
    except ValueError:
        return []
    return found["runs"] if (found["hardware"], found["versions"]) == (hardware(), versions()) else []


def table(runs: list[dict]) -> str:
    """One row a kind of run: how many seeds, and the training and test errors' means and ranges."""
    rows = ["| layers | kind | rate | batch norm | seeds | train error (%) | test error (%) |", "|" + "---|" * 7]
    for key in dict.fromkeys((one["depth"], one["residual"], one["rate"], one["norm"]) for one in runs):
        same = [one for one in runs if (one["depth"], one["residual"], one["rate"], one["norm"]) == key]
        shown = [spread([one[name] for one in same if not one["diverged"]]) for name in ("train_error", "test_error")]
        kind, norm = ("residual" if key[1] else "plain"), ("yes" if key[3] else "no")
        rows.append(f"| {key[0]} | {kind} | {key[2]} | {norm} | {len(same)} | {shown[0]} | {shown[1]} |")
    return "\n".join(rows)


def spread(values: list[float]) -> str:
    return f"{sum(values) / len(values):.2f} ({min(values):.2f} to {max(values):.2f})" if values else "diverged"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--fresh", action="store_true", help="measure again what is stored")
    given = parser.parse_args()
    runs, data = [] if given.fresh else stored(), load()
    done = {Run(*(one[name] for name in Run._fields)) for one in runs}
    for run in tqdm([run for run in plan(given.seeds) if run not in done], desc="runs"):
        runs.append(measure(run, data))
        save("degradation", SCRIPT, threads=torch.get_num_threads(), protocol=__doc__, runs=runs)
    print(table(runs))


if __name__ == "__main__":
    main()
