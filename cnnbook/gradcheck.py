"""Is a gradient right? Central differences against backward, in float64."""

import numpy as np


def grad_check(
    layer, x: np.ndarray, rng: np.random.Generator, eps: float = 1e-6, training: bool = True
) -> dict[str, float]:
    """Relative error of backward for "x" and for each parameter of a layer or a network.

    The loss is sum(dout * forward(x)) with a random dout. Every entry is moved by eps up and down; the error is the
    largest difference between (loss(+eps) - loss(-eps)) / 2 eps and backward's gradient, divided by the array's largest
    gradient, or by a thousandth of the largest of all arrays where that is more (a gradient may be 0, as that of a bias
    before batch norm). About 1e-9 is rounding; above 1e-5 is a bug, or a kink within eps (ReLU at 0, a tie in a pool).
    Raises TypeError where x or a parameter is not float64: in float32, rounding would hide the error.
    """
    arrays = {"x": x, **layer.params}
    for name, array in arrays.items():
        if array.dtype != np.float64:
            raise TypeError(f"{name} is {array.dtype}; a gradient check needs float64: use layer.astype(np.float64)")
    dout = rng.standard_normal(layer.forward(x, training).shape)
    found = {"x": layer.backward(dout).copy(), **{name: gradient.copy() for name, gradient in layer.grads.items()}}
    loss = lambda: float((dout * layer.forward(x, training)).sum())  # noqa: E731
    wanted = {name: numeric_gradient(loss, array, eps) for name, array in arrays.items()}
    largest = {name: max(np.abs(wanted[name]).max(), np.abs(found[name]).max()) for name in arrays}
    scale = {name: max(value, max(largest.values()) / 1000, np.finfo(float).tiny) for name, value in largest.items()}
    return {name: float(np.abs(found[name] - wanted[name]).max() / scale[name]) for name in arrays}


def numeric_gradient(loss, array: np.ndarray, eps: float = 1e-6) -> np.ndarray:
    """Central differences of loss(), a function of no arguments that reads `array`; the array is left as it was."""
    gradient = np.empty_like(array)
    for place in np.ndindex(array.shape):
        old = array[place]
        array[place] = old + eps
        above = loss()
        array[place] = old - eps
        gradient[place] = (above - loss()) / (2 * eps)
        array[place] = old
    return gradient
