"""The baseline of numpy_cnn.py: a CNN in NumPy as tutorials write it, with a Python loop over positions and filters.

It is typed after the listing in the lesson that this book grew from, in float64 as there, and is here to be slow in
the way in which such listings are. It is no example: its pooling sends a tie's gradient to every largest value, and
its loss is capped at 18.42 by the 1e-8 inside the logarithm (page 11).
"""

import numpy as np


class Conv2D:
    """Cross-correlation with square kernels; one sum an output position and filter, over the batch."""

    def __init__(self, in_channels, out_channels, kernel_size, stride=1, padding=0):
        self.out_channels, self.k, self.stride, self.padding = out_channels, kernel_size, stride, padding
        self.W = np.zeros((out_channels, in_channels, kernel_size, kernel_size))
        self.b = np.zeros((out_channels, 1))

    def forward(self, X):
        p, k, s = self.padding, self.k, self.stride
        self.X_padded = np.pad(X, ((0, 0), (0, 0), (p, p), (p, p)))
        H_out, W_out = ((size + 2 * p - k) // s + 1 for size in X.shape[2:])
        out = np.zeros((len(X), self.out_channels, H_out, W_out))
        for i in range(H_out):
            for j in range(W_out):
                patch = self.X_padded[:, :, i * s : i * s + k, j * s : j * s + k]
                for f in range(self.out_channels):
                    out[:, f, i, j] = np.sum(patch * self.W[f], axis=(1, 2, 3)) + self.b[f]
        return out

    def backward(self, dout):
        p, k, s = self.padding, self.k, self.stride
        dX_padded = np.zeros_like(self.X_padded)
        self.dW, self.db = np.zeros_like(self.W), np.zeros_like(self.b)
        for i in range(dout.shape[2]):
            for j in range(dout.shape[3]):
                window = (slice(None), slice(None), slice(i * s, i * s + k), slice(j * s, j * s + k))
                for f in range(self.out_channels):
                    d = dout[:, f, i, j].reshape(-1, 1, 1, 1)
                    self.dW[f] += np.sum(self.X_padded[window] * d, axis=0)
                    self.db[f] += np.sum(dout[:, f, i, j])
                    dX_padded[window] += self.W[f] * d
        return dX_padded[:, :, p:-p, p:-p] if p else dX_padded


class MaxPool2D:
    """The largest value of each square window; a mask of where it stood serves the backward pass."""

    def __init__(self, pool_size=2, stride=2):
        self.pool, self.stride = pool_size, stride

    def windows(self, H_out, W_out):
        for i in range(H_out):
            for j in range(W_out):
                rows, columns = (slice(a * self.stride, a * self.stride + self.pool) for a in (i, j))
                yield i, j, (slice(None), slice(None), rows, columns)

    def forward(self, X):
        H_out, W_out = ((size - self.pool) // self.stride + 1 for size in X.shape[2:])
        out, self.mask = np.zeros((*X.shape[:2], H_out, W_out)), np.zeros_like(X)
        for i, j, window in self.windows(H_out, W_out):
            out[:, :, i, j] = np.max(X[window], axis=(2, 3))
            self.mask[window] += X[window] == out[:, :, i, j][:, :, None, None]
        return out

    def backward(self, dout):
        dX = np.zeros_like(self.mask)
        for i, j, window in self.windows(*dout.shape[2:]):
            dX[window] += self.mask[window] * dout[:, :, i, j][:, :, None, None]
        return dX


class ReLU:
    """max(x, 0)."""

    def forward(self, X):
        self.mask = X > 0
        return X * self.mask

    def backward(self, dout):
        return dout * self.mask


class Flatten:
    """(N, C, H, W) -> (N, C * H * W)."""

    def forward(self, X):
        self.shape = X.shape
        return X.reshape(len(X), -1)

    def backward(self, dout):
        return dout.reshape(self.shape)


class Dense:
    """X @ W + b, with W of shape (in, out)."""

    def __init__(self, in_features, out_features):
        self.W, self.b = np.zeros((in_features, out_features)), np.zeros((1, out_features))

    def forward(self, X):
        self.X = X
        return X @ self.W + self.b

    def backward(self, dout):
        self.dW, self.db = self.X.T @ dout, np.sum(dout, axis=0, keepdims=True)
        return dout @ self.W.T


def softmax_cross_entropy(logits, labels):
    """Mean loss and its gradient."""
    exps = np.exp(logits - np.max(logits, axis=1, keepdims=True))
    probs = exps / np.sum(exps, axis=1, keepdims=True)
    rows = range(len(labels))
    loss = -np.sum(np.log(probs[rows, labels] + 1e-8)) / len(labels)
    probs[rows, labels] -= 1
    return loss, probs / len(labels)


def train_step(layers, X, labels, lr):
    """Forward, backward, one step of gradient descent; returns the loss."""
    for layer in layers:
        X = layer.forward(X)
    loss, d = softmax_cross_entropy(X, labels)
    for layer in reversed(layers):
        d = layer.backward(d)
    for layer in layers:
        if hasattr(layer, "W"):
            layer.W -= lr * layer.dW
            layer.b -= lr * layer.db
    return loss
