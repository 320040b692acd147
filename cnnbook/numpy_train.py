"""Training a network of cnnbook.layers: the loop of page 12."""

from collections.abc import Callable

import numpy as np
from tqdm import tqdm

from cnnbook.layers import Sequential, softmax_cross_entropy


def fit(
    net: Sequential,
    optimizer,
    x: np.ndarray,
    labels: np.ndarray,
    epochs: int,
    batch_size: int,
    rng: np.random.Generator,
    schedule: Callable[[float], float] | None = None,
) -> np.ndarray:
    """Train net on x (N, ...) and labels (N,); returns the loss of every step. A last, smaller batch is trained on too.

    schedule(share of the steps done, from 0 to 1) gives the learning rate; without one the optimizer keeps its own.
    Raises FloatingPointError, with the step named, where the loss is no longer finite: nothing after it would mean
    anything, and the step is not taken.
    """
    if len(x) != len(labels) or not len(x):
        raise ValueError(f"x and labels must be of one length, at least 1; got {len(x)} and {len(labels)}")
    if batch_size < 1 or epochs < 1:
        raise ValueError(f"epochs and batch_size must be at least 1, got {epochs} and {batch_size}")
    batches = [slice(start, start + batch_size) for start in range(0, len(x), batch_size)]
    losses = []
    with tqdm(total=epochs * len(batches), unit="step") as bar:
        for _ in range(epochs):
            order = rng.permutation(len(x))
            for batch in batches:
                if schedule is not None:
                    optimizer.lr = schedule(len(losses) / (epochs * len(batches)))
                losses.append(_step(net, optimizer, x[order[batch]], labels[order[batch]], len(losses)))
                bar.update()
    return np.array(losses)


def _step(net: Sequential, optimizer, x: np.ndarray, labels: np.ndarray, step: int) -> float:
    loss, dlogits = softmax_cross_entropy(net.forward(x, training=True), labels)
    if not np.isfinite(loss):
        raise FloatingPointError(f"the loss is {loss} at step {step} (counted from 0): lower the learning rate or "
                                 "check the images for NaN")  # fmt: skip
    net.backward(dlogits, input_gradient=False)
    optimizer.step()
    return loss


def predict(net: Sequential, x: np.ndarray, batch_size: int = 500) -> np.ndarray:
    """Logits (N, K) for x (N, ...), in evaluation mode, a batch at a time."""
    if batch_size < 1 or not len(x):
        raise ValueError(f"predict needs an image and a batch_size of at least 1, got {len(x)} and {batch_size}")
    starts = tqdm(range(0, len(x), batch_size), unit="batch")
    return np.concatenate([net.forward(x[start : start + batch_size]) for start in starts])
