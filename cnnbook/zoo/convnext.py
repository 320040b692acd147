"""ConvNeXt-T: a ResNet brought up to the habits of vision transformers, one step at a time.

Liu et al. 2022, arXiv 2201.03545, section 2.
"""

import torch
from torch import nn

from cnnbook.zoo.checks import check_classes, check_images
from cnnbook.zoo.stochastic_depth import StochasticDepth

STAGES = ((96, 3), (192, 3), (384, 9), (768, 3))  # channels, blocks
LAYER_SCALE, DROP_RATE = 1e-6, 0.1  # first value of the layer scale; stochastic depth of the last block


class LayerNorm2d(nn.LayerNorm):
    """Each pixel's channels brought to mean 0 and variance 1, then scaled and shifted: (N, C, H, W) -> the same."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class Block(nn.Module):
    """A 7x7 filter for each channel, then a two-layer perceptron on each pixel's channels, four times as wide inside.

    The two 1x1 convolutions are written as linear layers, which act on the last axis.
    """

    def __init__(self, channels: int, drop_rate: float):
        super().__init__()
        self.depthwise = nn.Conv2d(channels, channels, 7, padding=3, groups=channels)
        self.norm = nn.LayerNorm(channels, eps=1e-6)
        self.expand = nn.Linear(channels, 4 * channels)
        self.act = nn.GELU()
        self.project = nn.Linear(4 * channels, channels)
        self.layer_scale = nn.Parameter(torch.full((channels,), LAYER_SCALE))
        self.stochastic_depth = StochasticDepth(drop_rate)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.depthwise(x).permute(0, 2, 3, 1)  # (N, H, W, C)
        y = self.expand(self.norm(y))  # (N, H, W, 4C)
        y = self.project(self.act(y))  # (N, H, W, C)
        y = self.layer_scale * y  # a factor for each channel: the branch starts at almost nothing
        return x + self.stochastic_depth(y.permute(0, 3, 1, 2))


class ConvNeXt(nn.Module):
    """Patches of 4x4 pixels, four stages with a halving before each but the first, the mean of each map, one layer."""

    def __init__(self, num_classes: int):
        super().__init__()
        self.features = nn.Sequential(*_layers())
        channels = STAGES[-1][0]
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.norm = nn.LayerNorm(channels, eps=1e-6)
        self.classifier = nn.Linear(channels, num_classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        check_images(x, channels=3, least=32)
        x = self.features(x)  # (N, 768, H/32, W/32), rounded down at each halving
        x = self.pool(x).flatten(1)  # (N, 768)
        return self.classifier(self.norm(x))  # (N, num_classes)


def convnext_tiny(num_classes: int = 1000) -> ConvNeXt:
    """ConvNeXt-T, 28,589,128 parameters: RGB images, sides >= 32 -> (N, num_classes) scores before the softmax."""
    return ConvNeXt(check_classes(num_classes))


def _layers() -> list[nn.Module]:
    """Stem, blocks, halving, blocks, ...; the rate of stochastic depth grows evenly from 0 to DROP_RATE."""
    last = sum(blocks for _, blocks in STAGES) - 1
    rates = iter([DROP_RATE * index / last for index in range(last + 1)])
    layers, in_channels = [], 3
    for channels, blocks in STAGES:
        layers.append(_halve(in_channels, channels) if layers else _stem(channels))
        layers.append(nn.Sequential(*[Block(channels, next(rates)) for _ in range(blocks)]))
        in_channels = channels
    return layers


def _stem(channels: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(3, channels, kernel_size=4, stride=4), LayerNorm2d(channels, eps=1e-6))


def _halve(in_channels: int, out_channels: int) -> nn.Sequential:
    return nn.Sequential(
        LayerNorm2d(in_channels, eps=1e-6), nn.Conv2d(in_channels, out_channels, kernel_size=2, stride=2)
    )
