"""grad_check passes what is right and catches planted bugs, and what it cannot see is shown (page 11)."""

import numpy as np
import pytest

from cnnbook import layers
from cnnbook.gradcheck import grad_check, numeric_gradient
from cnnbook.layers import (
    AvgPool2D,
    BatchNorm2D,
    Conv2D,
    Dense,
    Flatten,
    GlobalAvgPool2D,
    MaxPool2D,
    ReLU,
    Sequential,
    softmax_cross_entropy,
)


def conv(kind: type = Conv2D) -> Conv2D:
    return kind(2, 3, (3, 2), stride=(2, 1), padding=(1, 0), rng=np.random.default_rng(50)).astype(np.float64)


def noise(*shape: int) -> np.ndarray:
    return np.random.default_rng(51).standard_normal(shape)


def check(layer, x: np.ndarray, **options) -> dict[str, float]:
    return grad_check(layer, x, np.random.default_rng(52), **options)


RIGHT = {
    "conv": conv,
    "grouped": lambda: Conv2D(2, 4, 3, dilation=(1, 2), groups=2, rng=np.random.default_rng(53)),
    "max": lambda: MaxPool2D(3, 2, 1),
    "avg": lambda: AvgPool2D((2, 3), (1, 2)),
    "global": GlobalAvgPool2D,
    "relu": ReLU,
    "norm": lambda: BatchNorm2D(2),
    "dense": lambda: Sequential(Flatten(), Dense(2 * 6 * 5, 3, rng=np.random.default_rng(53))),
    "network": lambda: Sequential(
        conv(), BatchNorm2D(3), ReLU(), MaxPool2D(2, 1), Flatten(), Dense(18, 4, rng=np.random.default_rng(53))
    ),
}


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("name", RIGHT)
def test_right_layers_pass(name, training):
    layer, x = RIGHT[name]().astype(np.float64), noise(3, 2, 6, 5)
    before = x.copy(), {key: value.copy() for key, value in layer.params.items()}
    errors = check(layer, x, training=training)
    assert list(errors) == ["x", *layer.params]
    assert max(errors.values()) < 1e-7, errors
    np.testing.assert_array_equal(x, before[0])
    for key, value in layer.params.items():
        np.testing.assert_array_equal(value, before[1][key])


class FlippedKernel(Conv2D):
    def backward(self, dout):
        weight = self.params["weight"]
        self.params["weight"] = weight[:, :, ::-1, ::-1]
        dx = super().backward(dout)
        self.params["weight"] = weight
        return dx


class ForgottenBias(Conv2D):
    def backward(self, dout):
        dx = super().backward(dout)
        self.grads["bias"] = np.zeros_like(self.params["bias"])
        return dx


class ForgottenStride(Conv2D):
    def backward(self, dout):
        self.stride, stride = (1, 1), self.stride
        dx = super().backward(dout)
        self.stride = stride
        return dx


class MeanOfTheBatch(Conv2D):
    def backward(self, dout):
        dx = super().backward(dout)
        self.grads["weight"] /= len(dout)
        return dx


@pytest.mark.parametrize(
    ("wrong", "culprit"),
    [(FlippedKernel, "x"), (ForgottenBias, "bias"), (ForgottenStride, "x"), (MeanOfTheBatch, "weight")],
)
def test_a_planted_bug_shows_in_the_array_it_spoils_and_nowhere_else(wrong, culprit):
    errors = check(conv(wrong), noise(3, 2, 6, 5))
    assert errors.pop(culprit) > 0.1
    assert max(errors.values()) < 1e-7


class FrozenStatistics(BatchNorm2D):
    """Takes the batch's mean and variance for constants, as in evaluation."""

    def backward(self, dout):
        self._saved = (*self._saved[:-1], False)
        return super().backward(dout)


def test_batch_norm_that_forgets_that_its_statistics_move_shows_in_training_only():
    assert check(FrozenStatistics(2).astype(np.float64), noise(3, 2, 4, 5))["x"] > 0.01
    assert check(FrozenStatistics(2).astype(np.float64), noise(3, 2, 4, 5), training=False)["x"] < 1e-7


class EveryWinner(MaxPool2D):
    """Sends the gradient to every largest value of a window, not to the first alone."""

    def forward(self, x, training=False):
        self.x, self.out = x, super().forward(x, training)
        return self.out

    def backward(self, dout):
        spread = lambda a: a.repeat(self.kernel[0], axis=2).repeat(self.kernel[1], axis=3)  # noqa: E731
        return (self.x == spread(self.out)) * spread(dout)


def test_ties_counted_twice_pass_on_noise_and_only_a_tie_tells():
    """On a tie even a right layer fails: there is no derivative, so the sum of dx is what to compare."""
    assert check(EveryWinner(2), noise(2, 1, 4, 6))["x"] < 1e-7
    tied, dout = np.full((1, 1, 2, 2), 3.0), np.ones((1, 1, 1, 1))
    assert check(MaxPool2D(2), tied)["x"] > 0.4
    right, wrong = MaxPool2D(2), EveryWinner(2)
    right.forward(tied)
    wrong.forward(tied)
    assert right.backward(dout).sum() == 1
    assert wrong.backward(dout).sum() == 4


def test_softmax_cross_entropy_passes():
    logits, labels = noise(3, 4), np.array([0, 3, 3])
    numeric = numeric_gradient(lambda: softmax_cross_entropy(logits, labels)[0], logits)
    np.testing.assert_allclose(softmax_cross_entropy(logits, labels)[1], numeric, atol=1e-9)


def test_float32_is_refused():
    with pytest.raises(TypeError, match=r"x is float32; a gradient check needs float64: use layer.astype"):
        check(conv(), noise(1, 2, 6, 5).astype(np.float32))
    with pytest.raises(TypeError, match="weight is float32"):
        check(Conv2D(2, 3, 2), noise(1, 2, 6, 5))


def test_numeric_gradient_of_a_known_function():
    array = np.array([[1.0, -2.0], [0.5, 3.0]])
    np.testing.assert_allclose(numeric_gradient(lambda: (array**3).sum(), array), 3 * array**2, rtol=1e-8)


def test_the_layers_module_offers_it():
    assert layers.grad_check is grad_check
