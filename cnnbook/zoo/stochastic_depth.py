"""Stochastic depth: in training, a residual branch is left out for some images of the batch.

Huang et al. 2016, arXiv 1603.09382; here, as in EfficientNet and ConvNeXt, each image is drawn for itself and what is
kept is scaled up, so that nothing needs to change at test time.
"""

import torch
from torch import nn


def stochastic_depth(x: torch.Tensor, rate: float, generator: torch.Generator | None = None) -> torch.Tensor:
    """x (N, ...) with each image set to zero with probability `rate`, and divided by 1 - rate where it is kept.

    The expected value is x. Raises ValueError where rate is not in [0, 1).
    """
    if not 0 <= rate < 1:
        raise ValueError(f"rate is the probability of leaving the branch out and must be in [0, 1), got {rate}")
    keep = torch.rand(len(x), generator=generator, dtype=x.dtype, device=x.device) >= rate  # (N,)
    return x * keep.view(-1, *[1] * (x.ndim - 1)) / (1 - rate)


class StochasticDepth(nn.Module):
    """`stochastic_depth` while training, drawn from torch's own generator as dropout is; otherwise the identity."""

    def __init__(self, rate: float):
        super().__init__()
        self.rate = rate

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return stochastic_depth(x, self.rate) if self.training and self.rate else x

    def extra_repr(self) -> str:
        return f"rate={self.rate:.3g}"
