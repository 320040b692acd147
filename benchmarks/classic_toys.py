"""What did each part of the classic networks bring, on digits? Call python benchmarks/classic_toys.py

Two families. LeNet-5 with parts of 1998 put back into its modern copy: one at a time, all at once, and all but the
trained pooling. And small versions of AlexNet, VGG and GoogLeNet for 28x28, at about two million multiply-accumulates
an image each, the first two with a twin that lacks the idea in question.

Equal budget: the first 4,000 training images of MNIST, 2 epochs in batches of 32 (250 steps), Adam. Every network
may choose one of three learning rates: with seed 0, the one with the fewest errors on the last 3,000 training images,
which are not trained on. The chosen rate then runs with all seeds, and only these nets see the 10,000 test images.
Results go to cnnbook/data/results/classic_toys.json after every network; a call that was stopped goes on there. One
core takes about 20 minutes.
"""

import argparse
from collections.abc import Callable
from typing import NamedTuple

import torch
import torch.nn.functional as F
from machine import hardware, save, versions
from torch import Tensor, nn
from tqdm import tqdm

from cnnbook import train
from cnnbook.data import mnist, results
from cnnbook.zoo.alexnet import ResponseNorm
from cnnbook.zoo.count import macs, parameters
from cnnbook.zoo.googlenet import Inception
from cnnbook.zoo.lenet import RBF, PartialConv, Squash, Subsample, lenet5_1998

SCRIPT = "benchmarks/classic_toys.py"
IMAGES, HELD_OUT, EPOCHS, BATCH, RATES = 4_000, 3_000, 2, 32, (1e-3, 3e-3, 1e-2)
SEEDS = {"lenet": 5, "mini": 3}


class Data(NamedTuple):
    """Images (N, 1, 32, 32), ink 1.175 on paper -0.1 as in 1998, and labels (N,)."""

    x: Tensor
    y: Tensor
    held_x: Tensor
    held_y: Tensor
    test_x: Tensor
    test_y: Tensor


class Negative(nn.Module):
    """Penalties to logits: the smallest becomes the largest."""

    def forward(self, x: Tensor) -> Tensor:
        return -x


def lenet(*old: str) -> nn.Sequential:
    """LeNet-5 with today's parts, but those named: 'tanh', 'mean', 'subsampling', 'table', 'rbf'.

    The codes of the RBF output are +1 and -1, and ReLU never gives -1: F6 keeps the squashing of 1998 under it.
    """
    f = Squash if "tanh" in old else nn.ReLU
    c3 = PartialConv() if "table" in old else nn.Conv2d(6, 16, 5)
    head = [Squash(), RBF(10), Negative()] if "rbf" in old else [f(), nn.Linear(84, 10)]
    first = [nn.Conv2d(1, 6, 5), f(), *_pool(6, f, old)]
    second = [c3, f(), *_pool(16, f, old)]
    return nn.Sequential(*first, *second, nn.Conv2d(16, 120, 5), f(), nn.Flatten(), nn.Linear(120, 84), *head)


def _pool(channels: int, f: type[nn.Module], old: tuple[str, ...]) -> list[nn.Module]:
    if "subsampling" not in old:
        return [nn.AvgPool2d(2) if "mean" in old else nn.MaxPool2d(2)]
    pool = Subsample(channels)
    for parameter in pool.parameters():
        nn.init.uniform_(parameter, -0.6, 0.6)  # 2.4 over the four inputs of a unit
    return [pool, f()]


def conv(c_in: int, c_out: int, kernel: int, groups: int = 1) -> list[nn.Module]:
    """A 'same' convolution and its ReLU."""
    return [nn.Conv2d(c_in, c_out, kernel, padding=kernel // 2, groups=groups), nn.ReLU()]


def he(net: nn.Sequential) -> nn.Sequential:
    """He's first weights in all three small nets, so that they differ in structure alone."""
    for module in net.modules():
        if isinstance(module, (nn.Conv2d, nn.Linear)):
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
            nn.init.zeros_(module.bias)
    return net


def alexnet(norm: bool = True) -> nn.Sequential:
    """Wide filters first, overlapping pooling, response normalisation, two groups, dropout before dense layers."""
    lrn = [ResponseNorm()] if norm else []
    first = [*conv(1, 16, 5), *lrn, nn.MaxPool2d(3, 2), *conv(16, 32, 5, groups=2), *lrn, nn.MaxPool2d(3, 2)]
    second = [*conv(32, 32, 3), *conv(32, 24, 3, groups=2), nn.MaxPool2d(3, 2), nn.Flatten()]
    dense = [nn.Dropout(0.5), nn.Linear(96, 192), nn.ReLU(), nn.Dropout(0.5), nn.Linear(192, 96), nn.ReLU()]
    return he(nn.Sequential(nn.ZeroPad2d(-2), *first, *second, *dense, nn.Linear(96, 10)))


def vgg(kernel: int = 3) -> nn.Sequential:
    """Three stages of two 3x3 convolutions, or of one 5x5, which sees as far; then dense layers."""
    layers, c_in = [nn.ZeroPad2d(-2)], 1
    for c_out in (8, 16, 32):
        again = conv(c_out, c_out, 3) if kernel == 3 else []
        layers += [*conv(c_in, c_out, kernel), *again, nn.MaxPool2d(2)]
        c_in = c_out
    return he(nn.Sequential(*layers, nn.Flatten(), nn.Linear(288, 112), nn.ReLU(), nn.Linear(112, 10)))


def googlenet() -> nn.Sequential:
    """A stem, three inception blocks, and the average of every map before the one linear layer."""
    stem = [nn.ZeroPad2d(-2), *conv(1, 16, 3), nn.MaxPool2d(2)]
    fine = [Inception(16, 8, (8, 16), (4, 8), 8), Inception(40, 12, (12, 24), (4, 8), 8), nn.MaxPool2d(2)]
    coarse = [Inception(52, 24, (16, 40), (6, 12), 12), nn.AdaptiveAvgPool2d(1), nn.Flatten()]
    return he(nn.Sequential(*stem, *fine, *coarse, nn.Linear(88, 10)))


def all_of_1998() -> nn.Sequential:
    """The zoo's LeNet-5 of 1998, first weights as in the paper, with logits for penalties."""
    return nn.Sequential(lenet5_1998(10), Negative())


NETS: dict[str, tuple[str, Callable[[], nn.Module]]] = {
    "modern": ("lenet", lenet),
    "tanh": ("lenet", lambda: lenet("tanh")),
    "mean": ("lenet", lambda: lenet("mean")),
    "subsampling": ("lenet", lambda: lenet("subsampling")),
    "table": ("lenet", lambda: lenet("table")),
    "rbf": ("lenet", lambda: lenet("rbf")),
    "1998": ("lenet", all_of_1998),
    "1998, mean": ("lenet", lambda: lenet("tanh", "mean", "table", "rbf")),
    "alexnet": ("mini", alexnet),
    "alexnet, no norm": ("mini", lambda: alexnet(norm=False)),
    "vgg": ("mini", vgg),
    "vgg, one 5x5": ("mini", lambda: vgg(kernel=5)),
    "googlenet": ("mini", googlenet),
}


def load() -> Data:
    """MNIST in a frame of 32x32, with the grey levels of 1998."""
    (x, y), (test_x, test_y) = ([torch.from_numpy(part) for part in mnist(split)] for split in ("train", "test"))
    x, test_x = (F.pad(part, (2, 2, 2, 2)) * 1.275 - 0.1 for part in (x, test_x))
    return Data(x[:IMAGES], y[:IMAGES], x[-HELD_OUT:], y[-HELD_OUT:], test_x, test_y)


def trained(build: Callable[[], nn.Module], rate: float, seed: int, data: Data) -> tuple[nn.Module, list[float]]:
    """One net and the loss of each of its steps; the same seed gives the same first weights and order of images."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        net = build()
        how = {"epochs": EPOCHS, "batch_size": BATCH, "generator": train.generator(seed)}
        losses = train.fit(net, data.x, data.y, optimizer=torch.optim.Adam(net.parameters(), rate), **how)
    return net, losses


def measure(name: str, data: Data) -> dict:
    """One network: errors held out for each rate, then test errors and losses of the chosen rate for every seed."""
    family, build = NETS[name]
    first = {rate: trained(build, rate, 0, data) for rate in RATES}
    held_out = {rate: error(net, data.held_x, data.held_y) for rate, (net, _) in first.items()}
    rate = min(RATES, key=held_out.get)
    runs = [first[rate], *(trained(build, rate, seed, data) for seed in range(1, SEEDS[family]))]
    counts = {"parameters": parameters(runs[0][0]), "macs": macs(runs[0][0], (1, 32, 32))}
    errors = {
        "test_error": [error(net, data.test_x, data.test_y) for net, _ in runs],
        "train_error": [error(net, data.x[:2000], data.y[:2000]) for net, _ in runs],
    }
    losses = torch.tensor([losses for _, losses in runs]).mean(0).split(20)
    curve = [round(part.mean().item(), 4) for part in losses]
    chosen = {"held_out_error": {f"{rate:g}": found for rate, found in held_out.items()}, "rate": rate}
    return {"family": family, **counts, **chosen, **errors, "losses_by_20_steps": curve}


def error(net: nn.Module, x: Tensor, y: Tensor) -> float:
    """Per cent of wrong answers."""
    return round(100 * (1 - train.evaluate(net, x, y).accuracy), 2)


def stored() -> dict:
    """What an earlier call on this machine, with these libraries, has finished."""
    try:
        found = results("classic_toys")
    except ValueError:
        return {}
    same = (found["hardware"], found["versions"]) == (hardware(), versions())
    return found["nets"] if same else {}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--again", action="store_true", help="start anew, whatever is stored")
    nets, data = {} if parser.parse_args().again else stored(), load()
    protocol = {"images": IMAGES, "held_out": HELD_OUT, "epochs": EPOCHS, "batch": BATCH, "rates": RATES}
    for name in tqdm([name for name in NETS if name not in nets], unit="network"):
        nets[name] = measure(name, data)
        save("classic_toys", SCRIPT, protocol=protocol, nets=nets)


if __name__ == "__main__":
    main()
