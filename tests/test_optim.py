"""SGD and Adam follow torch.optim step by step; what cannot be is refused in words."""

import numpy as np
import pytest
import torch

from cnnbook.layers import Dense
from cnnbook.optim import SGD, Adam

PAIRS = {
    "plain": (lambda net: SGD(net, 0.1), lambda params: torch.optim.SGD(params, 0.1)),
    "momentum": (lambda net: SGD(net, 0.1, 0.9), lambda params: torch.optim.SGD(params, 0.1, 0.9)),
    "Adam": (Adam, torch.optim.Adam),
    "other Adam": (
        lambda net: Adam(net, 0.05, (0.8, 0.95), 1e-3),
        lambda params: torch.optim.Adam(params, 0.05, (0.8, 0.95), 1e-3),
    ),
}


def dense(dtype: type = np.float64) -> Dense:
    return Dense(5, 3, rng=np.random.default_rng(40)).astype(dtype)


@pytest.mark.parametrize("name", PAIRS)
def test_twenty_steps_follow_torch_with_a_learning_rate_that_changes(name):
    rng, net = np.random.default_rng(41), dense()
    params = [torch.tensor(value, requires_grad=True) for value in net.params.values()]
    ours, theirs = PAIRS[name][0](net), PAIRS[name][1](params)
    for step in range(20):
        if step == 10:
            ours.lr = theirs.param_groups[0]["lr"] = 0.02
        for key, param in zip(net.params, params, strict=True):
            net.grads[key] = rng.standard_normal(param.shape) * 10.0 ** rng.integers(-6, 3)
            param.grad = torch.tensor(net.grads[key])
        ours.step()
        theirs.step()
        for key, param in zip(net.params, params, strict=True):
            np.testing.assert_allclose(net.params[key], param.detach().numpy(), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("make", [lambda net: SGD(net, np.float64(0.1), 0.9), lambda net: Adam(net, np.float64(0.1))])
def test_parameters_change_in_place_keep_their_type_and_gradients_stay(make):
    net = dense(np.float32)
    arrays, optimizer = dict(net.params), make(net)
    net.grads = {name: np.ones_like(value) for name, value in net.params.items()}
    before = net.params["weight"].copy()
    for _ in range(3):
        optimizer.step()
    assert all(net.params[name] is array and array.dtype == np.float32 for name, array in arrays.items())
    assert (net.params["weight"] < before - 0.2).all()
    assert all((gradient == 1).all() for gradient in net.grads.values())


@pytest.mark.parametrize("make", [lambda net: SGD(net, 0.1), Adam])
def test_a_step_before_backward_is_refused(make):
    with pytest.raises(RuntimeError, match="no gradient for bias, weight: call forward and backward before step"):
        make(dense()).step()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: SGD(dense(), -0.1), "lr must be at least 0, got -0.1"),
        (lambda: SGD(dense(), float("nan")), "lr must be at least 0, got nan"),
        (lambda: SGD(dense(), 0.1, 1.0), "momentum must be at least 0 and below 1, got 1.0"),
        (lambda: Adam(dense(), -1), "lr must be at least 0"),
        (lambda: Adam(dense(), betas=(0.9, 1)), r"betas must be at least 0 and below 1, got \(0.9, 1\)"),
    ],
)
def test_settings_that_cannot_be(make, message):
    with pytest.raises(ValueError, match=message):
        make()
