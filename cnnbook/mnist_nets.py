"""Two nets for 28×28 digits: the one that the book's source prints, and one that is shaped for speed and accuracy."""

from collections.abc import Sequence

import torch
from torch import nn


class SourceNet(nn.Module):
    """The source's MNISTConvNet: (N, 1, 28, 28) to (N, 10) logits; 160,074 parameters.

    The biases of its three convolutions (32 + 64 + 128) do nothing, since batch norm subtracts each channel's mean;
    `conv_bias=False` leaves them out: 159,850. The source's comment on block 3 says 3×3×128; it is 2×2×128.
    """

    def __init__(self, conv_bias: bool = True):
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(1, 32, kernel_size=3, padding=1, bias=conv_bias),  # 28×28
            nn.BatchNorm2d(32),
            nn.ReLU(inplace=True),
            nn.MaxPool2d(2, 2),  # 14×14
            nn.Conv2d(32, 64, kernel_size=3, padding=1, bias=conv_bias),  # 14×14
            nn.BatchNorm2d(64),
            nn.ReLU(inplace=True),
            nn.MaxPool2d(2, 2),  # 7×7
            nn.Conv2d(64, 128, kernel_size=3, padding=0, bias=conv_bias),  # 5×5
            nn.BatchNorm2d(128),
            nn.ReLU(inplace=True),
            nn.MaxPool2d(2, 2),  # 2×2, the fifth row and column are dropped
        )
        self.classifier = nn.Sequential(
            nn.Flatten(),
            nn.Linear(512, 128),
            nn.ReLU(inplace=True),
            nn.Dropout(0.3),
            nn.Linear(128, 10),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.classifier(self.features(x))


class PoolFirstNet(nn.Module):
    """Four convolutions that pool before they normalise: (N, 1, 28, 28) to (N, 10) logits.

    Where a block pools, it does so straight after the convolution, so batch norm and ReLU touch a quarter of the
    values. No padding, no bias before batch norm, one linear layer. `widths` are the channels of the four
    convolutions: (16, 32, 32, 64) has 35,514 parameters, (32, 64, 64, 128) has 135,530. ValueError for another count.
    """

    def __init__(self, widths: Sequence[int] = (16, 32, 32, 64)):
        super().__init__()
        if len(widths) != 4:
            raise ValueError(f"widths must be the channels of four convolutions, got {len(widths)}: {widths!r}")
        a, b, c, d = widths
        self.features = nn.Sequential(
            *_block(1, a, kernel=5, pool=True),  # 24×24, pooled to 12×12
            *_block(a, b, kernel=3, pool=False),  # 10×10
            *_block(b, c, kernel=3, pool=True),  # 8×8, pooled to 4×4
            *_block(c, d, kernel=3, pool=False),  # 2×2
        )
        self.classifier = nn.Sequential(nn.Flatten(), nn.Linear(4 * d, 10))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.classifier(self.features(x))


def _block(in_channels: int, out_channels: int, kernel: int, pool: bool) -> list[nn.Module]:
    conv = nn.Conv2d(in_channels, out_channels, kernel, bias=False)
    return [conv, *([nn.MaxPool2d(2)] if pool else []), nn.BatchNorm2d(out_channels), nn.ReLU(inplace=True)]
