"""Gradient descent on the layers of cnnbook.layers: parameters change in place, a step at a time."""

from typing import Protocol

import numpy as np


class Trainable(Protocol):
    """A layer or a network: arrays, and after backward their gradients under the same names."""

    params: dict[str, np.ndarray]
    grads: dict[str, np.ndarray]


class SGD:
    """velocity = momentum * velocity + gradient; parameter -= lr * velocity, as in torch. `lr` may be changed."""

    def __init__(self, net: Trainable, lr: float, momentum: float = 0.0) -> None:
        _check("lr", lr, lr >= 0, "at least 0")
        _check("momentum", momentum, 0 <= momentum < 1, "at least 0 and below 1")
        self.net, self.lr, self.momentum = net, lr, momentum
        self.velocity: dict[str, np.ndarray] = {}

    def step(self) -> None:
        """Change every parameter by its gradient of the last backward."""
        for name, param, grad in _pairs(self.net):
            self.velocity[name] = self.momentum * self.velocity.get(name, 0) + grad
            param -= np.asarray(self.lr * self.velocity[name], param.dtype)


class Adam:
    """Kingma & Ba 2015, algorithm 1, with both moments corrected for their start at zero. `lr` may be changed."""

    def __init__(
        self, net: Trainable, lr: float = 1e-3, betas: tuple[float, float] = (0.9, 0.999), eps: float = 1e-8
    ) -> None:
        _check("lr", lr, lr >= 0, "at least 0")
        _check("betas", betas, all(0 <= beta < 1 for beta in betas), "at least 0 and below 1")
        self.net, self.lr, self.betas, self.eps = net, lr, betas, eps
        self.steps = 0
        self.moments: dict[str, tuple[np.ndarray, np.ndarray]] = {}

    def step(self) -> None:
        """Change every parameter by its gradient of the last backward."""
        self.steps += 1
        first_left, second_left = (1 - beta**self.steps for beta in self.betas)
        for name, param, grad in _pairs(self.net):
            first, second = self.moments.setdefault(name, (np.zeros_like(param), np.zeros_like(param)))
            first += (1 - self.betas[0]) * (grad - first)
            second += (1 - self.betas[1]) * (grad * grad - second)
            change = self.lr * (first / first_left) / (np.sqrt(second / second_left) + self.eps)
            param -= change.astype(param.dtype, copy=False)


def _pairs(net: Trainable) -> list[tuple[str, np.ndarray, np.ndarray]]:
    params, grads = net.params, net.grads
    missing = sorted(set(params) - set(grads))
    if missing:
        raise RuntimeError(f"no gradient for {', '.join(missing)}: call forward and backward before step")
    return [(name, param, grads[name]) for name, param in params.items()]


def _check(name: str, value: object, good: bool, rule: str) -> None:
    if not good:
        raise ValueError(f"{name} must be {rule}, got {value}")
