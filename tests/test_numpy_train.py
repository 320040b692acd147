"""The training loop of page 12: it learns, it repeats, and it stops where a loss means nothing any more."""

import numpy as np
import pytest

from cnnbook.layers import SGD, BatchNorm2D, Conv2D, Dense, Dropout, Flatten, MaxPool2D, ReLU, Sequential
from cnnbook.numpy_train import fit, predict


def network(seed: int = 0) -> Sequential:
    rng = np.random.default_rng(seed)
    return Sequential(
        Conv2D(1, 4, 3, padding=1, rng=rng), BatchNorm2D(4), ReLU(), MaxPool2D(2), Flatten(), Dense(36, 2, rng=rng)
    )


def bars(count: int = 50) -> tuple[np.ndarray, np.ndarray]:
    """Noisy 6×7 images with a bar, upright (1) or level (0)."""
    rng = np.random.default_rng(60)
    labels = rng.integers(0, 2, count)
    x = rng.normal(0, 0.3, (count, 1, 6, 7)).astype(np.float32)
    x[labels == 1, :, :, 3] += 1
    x[labels == 0, :, 2] += 1
    return x, labels


def train(net: Sequential, seed: int = 1, epochs: int = 6, **options) -> np.ndarray:
    return fit(net, SGD(net, 0.05, 0.9), *bars(), epochs, 16, np.random.default_rng(seed), **options)


def test_the_loss_falls_and_the_network_is_right():
    net, (x, labels) = network(), bars()
    losses = train(net)
    assert losses.shape == (6 * 4,)  # 50 images in batches of 16: the last has 2
    assert losses[-4:].mean() < 0.2 * losses[:4].mean()
    assert (predict(net, x, batch_size=7).argmax(1) == labels).mean() > 0.95


def test_the_same_generators_give_the_same_run_and_others_another():
    first, again, other = train(network()), train(network()), train(network(), seed=2)
    np.testing.assert_array_equal(first, again)
    assert (first[:4] != other[:4]).any()


def test_the_schedule_sees_the_share_of_steps_done():
    shares = []
    train(network(), epochs=2, schedule=lambda share: shares.append(share) or 0.01)
    np.testing.assert_allclose(shares, np.arange(8) / 8)


def test_the_schedule_decides_the_steps():
    net = network()
    before = {name: value.copy() for name, value in net.params.items()}
    train(net, schedule=lambda share: 0.0)
    assert all((net.params[name] == value).all() for name, value in before.items())


class Saves:
    """An optimizer that keeps copies of the parameters after each step."""

    def __init__(self, net):
        self.inner, self.after = SGD(net, 0.05), []

    def step(self):
        self.inner.step()
        self.after.append({name: value.copy() for name, value in self.inner.net.params.items()})


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.filterwarnings("ignore:invalid value encountered:RuntimeWarning")
def test_a_loss_that_is_not_finite_stops_with_the_step_named_and_the_parameters_as_they_were(value):
    net, (x, labels) = Sequential(Flatten(), Dense(42, 2, rng=np.random.default_rng(3))), bars()
    order = np.random.default_rng(4).permutation(50)
    x[order[20]] = value  # in the second batch of 16
    optimizer = Saves(net)
    with pytest.raises(FloatingPointError, match=r"the loss is nan at step 1 \(counted from 0\): lower the learning"):
        fit(net, optimizer, x, labels, 1, 16, np.random.default_rng(4))
    assert len(optimizer.after) == 1
    assert all((net.params[name] == saved).all() for name, saved in optimizer.after[0].items())


def test_training_and_prediction_use_their_own_mode():
    norm, drop, x = BatchNorm2D(1), Dropout(0.5, np.random.default_rng(5)), bars()[0]
    net = Sequential(norm, Flatten(), drop, Dense(42, 2, rng=np.random.default_rng(6)))
    start = norm.running_mean.copy()
    first = predict(net, x)
    assert (norm.running_mean == start).all()
    np.testing.assert_array_equal(predict(net, x), first)
    fit(net, SGD(net, 0.0), *bars(), 1, 16, np.random.default_rng(7))
    assert (norm.running_mean != start).all()


def test_predict_gives_the_logits_in_order_with_a_last_batch_that_is_smaller():
    net, x = network(), bars()[0]
    np.testing.assert_allclose(predict(net, x, batch_size=16), net.forward(x), rtol=1e-5, atol=1e-6)
    assert predict(net, x, batch_size=16).shape == (50, 2)


@pytest.mark.parametrize(
    ("x", "labels", "message"),
    [
        (np.zeros((3, 1, 6, 7)), np.zeros(2, int), "x and labels must be of one length, at least 1; got 3 and 2"),
        (np.zeros((0, 1, 6, 7)), np.zeros(0, int), "got 0 and 0"),
        (np.zeros((2, 1, 6, 7)), np.array([0, 2]), r"labels must lie in 0 … 1"),
    ],
)
def test_bad_inputs_are_refused(x, labels, message):
    net = network()
    with pytest.raises(ValueError, match=message):
        fit(net, SGD(net, 0.1), x.astype(np.float32), labels, 1, 2, np.random.default_rng(0))


def test_counts_below_one_are_refused():
    net, (x, labels) = network(), bars()
    with pytest.raises(ValueError, match="epochs and batch_size must be at least 1, got 1 and 0"):
        fit(net, SGD(net, 0.1), x, labels, 1, 0, np.random.default_rng(0))
    with pytest.raises(ValueError, match="predict needs an image and a batch_size of at least 1, got 0 and 500"):
        predict(net, x[:0])
