"""Two small CNNs of NumPy layers on all of MNIST, over seeds: the runs behind page 12 that are too long for it.

python benchmarks/numpy_mnist.py writes cnnbook/data/results/numpy_mnist.json, in about 15 minutes on one core.
"""

import itertools
from collections.abc import Callable

import numpy as np
from machine import save
from tqdm import tqdm

from cnnbook import data
from cnnbook.layers import BatchNorm2D, Conv2D, Dense, Flatten, MaxPool2D, ReLU, Sequential
from cnnbook.numpy_train import fit, predict
from cnnbook.optim import Adam

BATCH, PEAK, SEEDS = 64, 0.02, range(5)
HELD_OUT = 10_000  # the last training images: the learning rates are chosen on them


def small(rng: np.random.Generator) -> Sequential:
    """8 and 16 filters of 3×3, 9,098 parameters."""
    first = [Conv2D(1, 8, 3, padding=1, rng=rng), ReLU(), MaxPool2D(2)]
    second = [Conv2D(8, 16, 3, padding=1, rng=rng), ReLU(), MaxPool2D(2)]
    return Sequential(*first, *second, Flatten(), Dense(16 * 7 * 7, 10, rng=rng))


def better(rng: np.random.Generator) -> Sequential:
    """8 and 16 filters of 5×5 with batch norm after the pooling, 6,018 parameters."""
    first = [Conv2D(1, 8, 5, bias=False, rng=rng), MaxPool2D(2), BatchNorm2D(8), ReLU()]
    second = [Conv2D(8, 16, 5, bias=False, rng=rng), MaxPool2D(2), BatchNorm2D(16), ReLU()]
    return Sequential(*first, *second, Flatten(), Dense(16 * 4 * 4, 10, rng=rng))


def plain(rng: np.random.Generator) -> Sequential:
    """`better` without batch norm, its convolutions with a bias instead: 5,994 parameters."""
    first = [Conv2D(1, 8, 5, rng=rng), MaxPool2D(2), ReLU()]
    second = [Conv2D(8, 16, 5, rng=rng), MaxPool2D(2), ReLU()]
    return Sequential(*first, *second, Flatten(), Dense(16 * 4 * 4, 10, rng=rng))


def scaled(net: Sequential, scale: float) -> Sequential:
    """The same network, the first weights of its convolutions and its dense layer times `scale`."""
    for layer in net.layers:
        if isinstance(layer, Conv2D | Dense):
            layer.params["weight"] *= np.float32(scale)
    return net


def run(make: Callable, seed: int, train: tuple, test: tuple, epochs: int = 1, peak: float = PEAK, scale: float = 1):
    """Train one network and return what it was and its share of right answers on `test`; None where its loss blew up.

    Adam; the learning rate rises to `peak` over the first fifth of the steps and falls to 0 at the end.
    """
    rng = np.random.default_rng(seed)
    net = scaled(make(rng), scale)
    found = {"net": make.__name__, "epochs": epochs, "peak": peak, "scale": scale, "seed": seed}
    rate = lambda done: float(np.interp(done, [0, 0.2, 1], [0, peak, 0]))  # noqa: E731
    try:
        with np.errstate(over="ignore", invalid="ignore"):
            fit(net, Adam(net), *train, epochs, BATCH, rng, rate)
    except FloatingPointError:
        return found | {"accuracy": None}
    return found | {"accuracy": float((predict(net, test[0], 250).argmax(1) == test[1]).mean())}


def jobs() -> dict[str, list[dict]]:
    """The arguments of every run, under the question that it answers."""
    nets, pairs, each = (small, better), (plain, better), itertools.product
    return {
        "choice": [{"make": m, "peak": p, "seed": s} for m, p, s in each(nets, (0.005, 0.01, 0.02, 0.04), SEEDS[:3])],
        "accuracy": [{"make": m, "epochs": e, "seed": s} for m, e, s in each(nets, (1, 3), SEEDS)],
        "batch_norm": [{"make": m, "peak": p, "seed": s} for m, p, s in each(pairs, (0.002, 0.02, 0.1), SEEDS)],
        "first_weights": [{"make": m, "scale": k, "seed": s} for m, k, s in each(nets, (0, 0.01, 1, 10), SEEDS)],
    }


def main() -> None:
    train, test = data.mnist("train"), data.mnist("test")
    part, held_out = ([array[half] for array in train] for half in (slice(-HELD_OUT), slice(-HELD_OUT, None)))
    found = {}
    for question, settings in jobs().items():
        sets = (part, held_out) if question == "choice" else (train, test)
        found[question] = [run(train=sets[0], test=sets[1], **setting) for setting in tqdm(settings, desc=question)]
    save("numpy_mnist", "benchmarks/numpy_mnist.py", batch_size=BATCH, optimizer="Adam", **found)


if __name__ == "__main__":
    main()
