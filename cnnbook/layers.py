"""The layers of a CNN in NumPy, forward and backward, as pages 10 to 13 build them up.

Every layer has `forward(x, training=False)`, `backward(dout)`, and the dicts `params` and `grads` with equal keys.
Images are arrays (N, C, H, W) whose memory runs C, H, W, N: the same shape with other strides. The images of a batch
then lie side by side, so that every copy, sum and maximum runs over long stretches of memory (page 13).
"""

from collections.abc import Iterator

import numpy as np

from cnnbook.conv import Pair, pair
from cnnbook.gradcheck import grad_check
from cnnbook.optim import SGD, Adam
from cnnbook.shapes import output_size

__all__ = [
    "SGD", "Adam", "AvgPool2D", "BatchNorm2D", "Conv2D", "Dense", "Dropout", "Flatten", "GlobalAvgPool2D", "Layer",
    "MaxPool2D", "ReLU", "Sequential", "grad_check", "softmax_cross_entropy",
]  # fmt: skip


class Layer:
    """What layers share: parameters, their gradients, and what forward leaves behind for backward."""

    def __init__(self) -> None:
        self.params: dict[str, np.ndarray] = {}
        self.grads: dict[str, np.ndarray] = {}
        self._saved: tuple | None = None

    def astype(self, dtype: type) -> "Layer":
        """Convert the parameters, for example to float64 for a gradient check. Returns the layer itself."""
        self.params = {name: value.astype(dtype) for name, value in self.params.items()}
        return self

    def _recall(self, dout: np.ndarray) -> tuple:
        """What forward saved after the shape of its output; raises where forward has not run or dout does not fit."""
        name = type(self).__name__
        if self._saved is None:
            raise RuntimeError(f"{name}.backward needs what forward computed; call forward(x) first")
        shape, *saved = self._saved
        if np.shape(dout) != shape:
            raise ValueError(f"{name}.backward needs dout shaped like the output, {shape}; got {np.shape(dout)}")
        return tuple(saved)


class Conv2D(Layer):
    """Cross-correlation (N, C_in, H, W) -> (N, C_out, H_out, W_out): one matrix product a batch (im2col).

    params: weight (C_out, C_in/groups, Kh, Kw), He-normal from `rng` (He et al. 2015), and bias (C_out,), zeros.
    backward(dout, input_gradient=False) leaves out the gradient of x and returns None: a first layer does not need it.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Pair,
        stride: Pair = 1,
        padding: Pair = 0,
        dilation: Pair = 1,
        groups: int = 1,
        bias: bool = True,
        rng: np.random.Generator | None = None,
    ) -> None:
        super().__init__()
        if groups < 1 or in_channels % groups or out_channels % groups:
            raise ValueError(f"groups={groups} must divide in_channels={in_channels} and out_channels={out_channels}")
        self.in_channels, self.groups = in_channels, groups
        self.kernel, self.stride = pair("kernel_size", kernel_size), pair("stride", stride)
        self.padding, self.dilation = pair("padding", padding, least=0), pair("dilation", dilation)
        self.params["weight"] = _he_normal((out_channels, in_channels // groups, *self.kernel), rng)
        if bias:
            self.params["bias"] = np.zeros(out_channels, np.float32)

    def forward(self, x: np.ndarray, training: bool = False) -> np.ndarray:
        """x (N, C_in, H, W) float -> (N, C_out, H_out, W_out) of x's dtype."""
        _check_image(x, self.in_channels)
        padded = _pad(x, self.padding, 0)  # (C_in, H + 2p, W + 2p, N)
        columns, places = self._im2col(padded)  # (G, C_in/G * Kh * Kw + 1, H_out * W_out * N)
        out = self._matrix(x.dtype) @ columns  # (G, C_out/G, H_out * W_out * N)
        out = _images(out.reshape(-1, *places, len(x)))
        self._saved = (out.shape, columns, padded.shape)
        return out

    def backward(self, dout: np.ndarray, input_gradient: bool = True) -> np.ndarray | None:
        """dout like the output -> dx like x; fills grads."""
        columns, shape = self._recall(dout)
        matrix, flat = self._matrix(dout.dtype), _memory(dout).reshape(self.groups, -1, columns.shape[2])
        gradient = _product(columns, flat, parts=dout.shape[2]).transpose(0, 2, 1)  # (G, C_out/G, C_in/G * Kh * Kw + 1)
        weight = self.params["weight"]
        self.grads["weight"] = gradient[:, :, :-1].reshape(weight.shape).astype(weight.dtype, copy=False)
        if "bias" in self.params:
            self.grads["bias"] = gradient[:, :, -1].reshape(-1).astype(weight.dtype, copy=False)
        return self._col2im(matrix[:, :, :-1].transpose(0, 2, 1) @ flat, dout, shape) if input_gradient else None

    def _matrix(self, dtype: np.dtype) -> np.ndarray:
        """(G, C_out/G, C_in/G * Kh * Kw + 1): the weights, and the bias as the weight of an input that is always 1."""
        weight = self.params["weight"]
        bias = self.params.get("bias", np.zeros(len(weight), weight.dtype))
        joined = np.concatenate([weight.reshape(len(weight), -1), bias[:, None]], axis=1)
        return joined.reshape(self.groups, len(weight) // self.groups, -1).astype(dtype, copy=False)

    def _im2col(self, padded: np.ndarray) -> tuple[np.ndarray, tuple[int, int]]:
        """Every output's patch as a column, images side by side, and a last row of ones for the bias."""
        channels, height, width, count = padded.shape
        places = tuple(map(output_size, (height, width), self.kernel, self.stride, (0, 0), self.dilation))
        rows = channels // self.groups * self.kernel[0] * self.kernel[1]
        columns = np.empty((self.groups, rows + 1, places[0] * places[1] * count), padded.dtype)
        columns[:, -1] = 1
        patches = columns[:, :-1].reshape(channels, -1, *places, count)  # a view where groups is 1
        for tap, window in enumerate(_windows(self.kernel, self.stride, self.dilation, places)):
            patches[:, tap] = padded[window]
        if self.groups > 1:
            columns[:, :-1] = patches.reshape(self.groups, rows, -1)
        return columns, places

    def _col2im(self, columns: np.ndarray, dout: np.ndarray, shape: tuple) -> np.ndarray:
        """The transpose of im2col: every pixel collects the gradients of all the patches that it stood in."""
        places, count = dout.shape[2:], len(dout)
        patches = columns.reshape(shape[0], -1, *places, count)
        dpadded = np.zeros(shape, columns.dtype)
        for tap, window in enumerate(_windows(self.kernel, self.stride, self.dilation, places)):
            dpadded[window] += patches[:, tap]
        return _crop(dpadded, self.padding)


class MaxPool2D(Layer):
    """The largest value of each window; the gradient goes to the first largest one, as in torch.

    stride is the kernel's size unless given; padding, at most half the kernel, never wins.
    """

    def __init__(self, kernel_size: Pair, stride: Pair | None = None, padding: Pair = 0) -> None:
        super().__init__()
        self.kernel, self.stride, self.padding = _pool_settings(kernel_size, stride, padding)

    def forward(self, x: np.ndarray, training: bool = False) -> np.ndarray:
        """x (N, C, H, W) float -> (N, C, H_out, W_out) of x's dtype."""
        _check_image(x)
        padded = _pad(x, self.padding, -np.inf)
        places = tuple(map(output_size, padded.shape[1:3], self.kernel, self.stride))
        first, *others = _windows(self.kernel, self.stride, (1, 1), places)
        best = padded[first].copy()
        winner = np.zeros(best.shape, np.uint8 if len(others) < 256 else np.intp)  # which place of the window it was
        for place, window in enumerate(others, start=1):
            larger = padded[window] > best
            np.maximum(winner, larger * winner.dtype.type(place), out=winner)
            np.maximum(best, padded[window], out=best)
        self._saved = (_images(best).shape, winner, padded.shape)
        return _images(best)

    def backward(self, dout: np.ndarray) -> np.ndarray:
        """dout like the output -> dx like x."""
        winner, shape = self._recall(dout)
        dpadded, dout = np.zeros(shape, dout.dtype), _memory(dout)
        for place, window in enumerate(_windows(self.kernel, self.stride, (1, 1), winner.shape[1:3])):
            if _overlap(self.kernel, self.stride):
                dpadded[window] += dout * (winner == place)
            else:
                np.multiply(dout, winner == place, out=dpadded[window])
        return _crop(dpadded, self.padding)


class AvgPool2D(Layer):
    """The mean of each window, zeros of the padding included, as torch counts by default."""

    def __init__(self, kernel_size: Pair, stride: Pair | None = None, padding: Pair = 0) -> None:
        super().__init__()
        self.kernel, self.stride, self.padding = _pool_settings(kernel_size, stride, padding)

    def forward(self, x: np.ndarray, training: bool = False) -> np.ndarray:
        """x (N, C, H, W) float -> (N, C, H_out, W_out) of x's dtype."""
        _check_image(x)
        padded = _pad(x, self.padding, 0)
        places = tuple(map(output_size, padded.shape[1:3], self.kernel, self.stride))
        total = sum(padded[window] for window in _windows(self.kernel, self.stride, (1, 1), places))
        out = _images(total / x.dtype.type(self.kernel[0] * self.kernel[1]))
        self._saved = (out.shape, padded.shape)
        return out

    def backward(self, dout: np.ndarray) -> np.ndarray:
        """dout like the output -> dx like x: each pixel of a window gets an equal share."""
        (shape,) = self._recall(dout)
        dpadded = np.zeros(shape, dout.dtype)
        share = _memory(dout) / dout.dtype.type(self.kernel[0] * self.kernel[1])
        for window in _windows(self.kernel, self.stride, (1, 1), dout.shape[2:]):
            dpadded[window] += share
        return _crop(dpadded, self.padding)


class GlobalAvgPool2D(Layer):
    """The mean of each map: (N, C, H, W) -> (N, C)  (Lin, Chen & Yan 2013)."""

    def forward(self, x: np.ndarray, training: bool = False) -> np.ndarray:
        """x (N, C, H, W) float -> (N, C) of x's dtype."""
        _check_image(x)
        self._saved = (x.shape[:2], x.shape)
        return x.mean((2, 3), dtype=x.dtype)

    def backward(self, dout: np.ndarray) -> np.ndarray:
        """dout (N, C) -> dx like x: every pixel of a map gets the same share."""
        (shape,) = self._recall(dout)
        share = dout / dout.dtype.type(shape[2] * shape[3])
        return np.broadcast_to(share[:, :, None, None], shape).copy()


class BatchNorm2D(Layer):
    """Each channel to mean 0 and variance 1, then times weight plus bias, both (C,)  (Ioffe & Szegedy 2015).

    In training the batch's own mean and variance are used, and the running ones move by `momentum` towards them
    (the variance with the divisor n - 1, as in torch). In evaluation the running ones are used.
    """

    def __init__(self, channels: int, momentum: float = 0.1, eps: float = 1e-5) -> None:
        super().__init__()
        self.momentum, self.eps = momentum, eps
        self.params = {"weight": np.ones(channels, np.float32), "bias": np.zeros(channels, np.float32)}
        self.running_mean, self.running_var = np.zeros(channels), np.ones(channels)

    def forward(self, x: np.ndarray, training: bool = False) -> np.ndarray:
        """x (N, C, H, W) float -> the same shape and dtype."""
        _check_image(x, len(self.running_mean))
        mean, var = self._batch_statistics(x) if training else (self.running_mean, self.running_var)
        scale = 1 / np.sqrt(var + self.eps)
        normal = (x - _channels(mean, x)) * _channels(scale, x)
        self._saved = (x.shape, normal, scale, training)
        return normal * _channels(self.params["weight"], x) + _channels(self.params["bias"], x)

    def backward(self, dout: np.ndarray) -> np.ndarray:
        """dout like x -> dx like x; fills grads."""
        normal, scale, training = self._recall(dout)
        dtype = self.params["weight"].dtype
        along, across = (dout * normal).sum((0, 2, 3)), dout.sum((0, 2, 3))  # (C,) each
        self.grads = {"weight": along.astype(dtype, copy=False), "bias": across.astype(dtype, copy=False)}
        if training:  # the batch's mean and variance depend on every value of the channel
            count = dout.size // len(scale)
            dout = dout - _channels(across / count, dout) - normal * _channels(along / count, dout)
        return dout * _channels(self.params["weight"] * scale, dout)

    def _batch_statistics(self, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        count = x.size // x.shape[1]
        if count < 2:
            raise ValueError(f"batch norm in training needs more than one value a channel, got x of shape {x.shape}")
        mean = x.mean((0, 2, 3))
        var = np.square(x - _channels(mean, x)).mean((0, 2, 3))
        self.running_mean = (1 - self.momentum) * self.running_mean + self.momentum * mean
        self.running_var = (1 - self.momentum) * self.running_var + self.momentum * var * count / (count - 1)
        return mean, var


class ReLU(Layer):
    """max(x, 0); the gradient at 0 is 0, as in torch."""

    def forward(self, x: np.ndarray, training: bool = False) -> np.ndarray:
        """x of any shape -> the same shape and dtype."""
        out = np.maximum(x, 0)
        self._saved = (out.shape, out)
        return out

    def backward(self, dout: np.ndarray) -> np.ndarray:
        """dout like x -> dx like x."""
        (out,) = self._recall(dout)
        return dout * (out > 0)


class Dropout(Layer):
    """In training each value is dropped with probability p and the others are divided by 1 - p; else nothing."""

    def __init__(self, p: float = 0.5, rng: np.random.Generator | None = None) -> None:
        super().__init__()
        if not 0 <= p < 1:
            raise ValueError(f"p is the probability of dropping a value, at least 0 and below 1; got {p}")
        self.p, self.rng = p, rng or np.random.default_rng()

    def forward(self, x: np.ndarray, training: bool = False) -> np.ndarray:
        """x of any shape -> the same shape and dtype."""
        kept = (self.rng.random(x.shape) >= self.p) / (1 - self.p) if training else np.ones(())
        self._saved = (x.shape, kept.astype(x.dtype))
        return x * self._saved[1]

    def backward(self, dout: np.ndarray) -> np.ndarray:
        """dout like x -> dx like x, through the values that were kept."""
        (kept,) = self._recall(dout)
        return dout * kept


class Flatten(Layer):
    """(N, ...) -> (N, everything else), in the order C, H, W as in torch."""

    def forward(self, x: np.ndarray, training: bool = False) -> np.ndarray:
        """x (N, ...) -> (N, product of the rest)."""
        out = x.reshape(len(x), -1)
        self._saved = (out.shape, x.shape)
        return out

    def backward(self, dout: np.ndarray) -> np.ndarray:
        """dout (N, features) -> dx like x."""
        (shape,) = self._recall(dout)
        return dout.reshape(shape)


class Dense(Layer):
    """x @ weight.T + bias: (N, in_features) -> (N, out_features). params: weight (out, in), He-normal; bias (out,)."""

    def __init__(
        self, in_features: int, out_features: int, bias: bool = True, rng: np.random.Generator | None = None
    ) -> None:
        super().__init__()
        self.params["weight"] = _he_normal((out_features, in_features), rng)
        if bias:
            self.params["bias"] = np.zeros(out_features, np.float32)

    def forward(self, x: np.ndarray, training: bool = False) -> np.ndarray:
        """x (N, in_features) float -> (N, out_features) of x's dtype."""
        weight = self.params["weight"]
        if x.ndim != 2 or x.shape[1] != weight.shape[1]:
            raise ValueError(f"Dense needs x of shape (N, {weight.shape[1]}), got {x.shape}; flatten images first")
        _check_float(x)
        out = x @ weight.T.astype(x.dtype, copy=False)
        if "bias" in self.params:
            out += self.params["bias"].astype(x.dtype, copy=False)
        self._saved = (out.shape, x)
        return out

    def backward(self, dout: np.ndarray) -> np.ndarray:
        """dout (N, out_features) -> dx (N, in_features); fills grads."""
        (x,) = self._recall(dout)
        weight = self.params["weight"]
        self.grads["weight"] = (dout.T @ x).astype(weight.dtype, copy=False)
        if "bias" in self.params:
            self.grads["bias"] = dout.sum(0).astype(weight.dtype, copy=False)
        return dout @ weight.astype(dout.dtype, copy=False)


class Sequential:
    """Layers one after the other, with a layer's own interface: params are named "0.weight", "0.bias", "3.weight", …"""

    def __init__(self, *layers: Layer) -> None:
        self.layers = list(layers)

    @property
    def params(self) -> dict[str, np.ndarray]:
        """The layers' own arrays: a change in place changes the layer."""
        return {f"{i}.{name}": value for i, layer in enumerate(self.layers) for name, value in layer.params.items()}

    @property
    def grads(self) -> dict[str, np.ndarray]:
        """The gradients of the last backward, under the names of params."""
        return {f"{i}.{name}": value for i, layer in enumerate(self.layers) for name, value in layer.grads.items()}

    def astype(self, dtype: type) -> "Sequential":
        """Convert the parameters of every layer. Returns the network itself."""
        for layer in self.layers:
            layer.astype(dtype)
        return self

    def forward(self, x: np.ndarray, training: bool = False) -> np.ndarray:
        """x through every layer in turn."""
        for layer in self.layers:
            x = layer.forward(x, training)
        return x

    def backward(self, dout: np.ndarray, input_gradient: bool = True) -> np.ndarray | None:
        """dout through every layer in reverse; with input_gradient=False a first Conv2D leaves out the image's."""
        for layer in reversed(self.layers[1:]):
            dout = layer.backward(dout)
        first = self.layers[0]
        return first.backward(dout) if input_gradient or not isinstance(first, Conv2D) else first.backward(dout, False)


def softmax_cross_entropy(logits: np.ndarray, labels: np.ndarray) -> tuple[float, np.ndarray]:
    """Mean of -log softmax(logits)[label], and its gradient (N, K) with respect to logits (N, K); labels (N,) integers.

    Exact for every finite logit: the largest is subtracted before exp, and the log is taken of a sum of at least 1.
    Raises TypeError for labels that are no integers, ValueError for wrong shapes and for labels outside 0 … K - 1.
    """
    _check_labels(logits, labels)
    rows = np.arange(len(labels))
    shifted = logits - logits.max(1, keepdims=True)
    exps = np.exp(shifted)
    total = exps.sum(1, keepdims=True)
    loss = (np.log(total[:, 0]) - shifted[rows, labels]).mean()
    dlogits = exps / total
    dlogits[rows, labels] -= 1
    return float(loss), dlogits / logits.dtype.type(len(labels))


def _check_labels(logits: np.ndarray, labels: np.ndarray) -> None:
    labels = np.asarray(labels)
    if logits.ndim != 2 or labels.shape != (len(logits),) or not len(labels):
        raise ValueError(
            f"logits must be (N, K) and labels (N,) with N of at least 1; got {logits.shape}, {labels.shape}"
        )
    if not np.issubdtype(labels.dtype, np.integer):
        raise TypeError(f"labels must be integers, the index of each class; got {labels.dtype}")
    if labels.min() < 0 or labels.max() >= logits.shape[1]:
        raise ValueError(f"labels must lie in 0 … {logits.shape[1] - 1}; got {labels.min()} … {labels.max()}")
    _check_float(logits)


def _he_normal(shape: tuple[int, ...], rng: np.random.Generator | None) -> np.ndarray:
    """Normal with variance 2 / (inputs of one output)  (He et al. 2015, equation 10)."""
    rng = rng or np.random.default_rng()
    return (rng.standard_normal(shape) * np.sqrt(2 / np.prod(shape[1:]))).astype(np.float32)


def _images(memory: np.ndarray) -> np.ndarray:
    """(C, H, W, N) -> a view (N, C, H, W)."""
    return memory.transpose(3, 0, 1, 2)


def _memory(x: np.ndarray) -> np.ndarray:
    """(N, C, H, W) -> (C, H, W, N), contiguous; a copy only where the memory is laid out otherwise."""
    return np.ascontiguousarray(x.transpose(1, 2, 3, 0))


def _pad(x: np.ndarray, padding: tuple[int, int], fill: float) -> np.ndarray:
    """(N, C, H, W) -> (C, H + 2 * padding[0], W + 2 * padding[1], N)."""
    if padding == (0, 0):
        return _memory(x)
    count, channels, height, width = x.shape
    padded = np.full((channels, height + 2 * padding[0], width + 2 * padding[1], count), fill, x.dtype)
    padded[:, padding[0] : padding[0] + height, padding[1] : padding[1] + width] = x.transpose(1, 2, 3, 0)
    return padded


def _crop(padded: np.ndarray, padding: tuple[int, int]) -> np.ndarray:
    """The inverse of _pad."""
    rows, columns = padded.shape[1:3]
    return _images(padded[:, padding[0] : rows - padding[0], padding[1] : columns - padding[1]])


def _windows(kernel: tuple, stride: tuple, dilation: tuple, places: tuple) -> Iterator[tuple[slice, slice, slice]]:
    """For each tap of the kernel, row by row: where in (C, H, W, N) the values lie that it meets at all places."""
    for i in range(kernel[0]):
        for j in range(kernel[1]):
            starts = i * dilation[0], j * dilation[1]
            rows, columns = (slice(a, a + s * (n - 1) + 1, s) for a, s, n in zip(starts, stride, places, strict=True))
            yield slice(None), rows, columns


def _product(a: np.ndarray, b: np.ndarray, parts: int) -> np.ndarray:
    """a (G, A, M) and b (G, B, M) -> a @ b.T (G, A, B).

    Where A and B are small, BLAS would spend longer on rearranging long rows than on multiplying them; then M is cut
    into `parts`, and the products are added.
    """
    parts = parts if a.shape[1] * b.shape[1] <= 256 else 1  # measured with OpenBLAS: 2.5 times faster at 10 and 8
    a, b = (m.reshape(*m.shape[:2], parts, -1).transpose(0, 2, 1, 3) for m in (a, b))
    return (a @ b.transpose(0, 1, 3, 2)).sum(1)


def _overlap(kernel: tuple[int, int], stride: tuple[int, int]) -> bool:
    return kernel[0] > stride[0] or kernel[1] > stride[1]


def _pool_settings(kernel: Pair, stride: Pair | None, padding: Pair) -> tuple[tuple, tuple, tuple]:
    kernel, padding = pair("kernel_size", kernel), pair("padding", padding, least=0)
    if padding[0] > kernel[0] // 2 or padding[1] > kernel[1] // 2:
        raise ValueError(f"padding {padding} is more than half the kernel {kernel}: a window could hold padding alone")
    return kernel, pair("stride", kernel if stride is None else stride), padding


def _channels(values: np.ndarray, x: np.ndarray) -> np.ndarray:
    """(C,) -> (C, 1, 1) in x's dtype, to be combined with (N, C, H, W)."""
    return values.astype(x.dtype, copy=False)[:, None, None]


def _check_image(x: np.ndarray, channels: int | None = None) -> None:
    if x.ndim != 4:
        raise ValueError(f"x must be (N, C, H, W), got shape {x.shape}; add axes with x[None, None]")
    if channels is not None and x.shape[1] != channels:
        raise ValueError(f"this layer takes {channels} channels, got x with {x.shape[1]}: shape {x.shape}")
    _check_float(x)


def _check_float(x: np.ndarray) -> None:
    if not np.issubdtype(x.dtype, np.floating):
        raise TypeError(f"floats are needed, got {x.dtype}: integers would overflow; use x.astype('float32')")
