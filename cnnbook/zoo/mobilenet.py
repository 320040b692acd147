"""MobileNet V1 and V2: each channel filtered on its own, and 1x1 convolutions that mix the channels.

V1: Howard et al. 2017, arXiv 1704.04861, table 1. V2: Sandler et al. 2018, arXiv 1801.04381, table 2.
"""

import torch
from torch import nn

from cnnbook.zoo.checks import check_classes, check_images

V1_BLOCKS = (  # output channels, stride
    (64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2),
    (512, 1), (512, 1), (512, 1), (512, 1), (512, 1), (1024, 2), (1024, 1),
)  # fmt: skip
V2_STAGES = (  # expansion t, output channels c, blocks n, stride s of the first block: the paper's letters
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
)


class ConvNormAct(nn.Sequential):
    """A convolution without bias that keeps the size at stride 1, batch norm, and the activation where one is given."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel: int,
        stride: int = 1,
        groups: int = 1,
        act: type[nn.Module] | None = None,
    ):
        super().__init__()
        self.conv = nn.Conv2d(in_channels, out_channels, kernel, stride, padding=kernel // 2, groups=groups, bias=False)
        self.norm = nn.BatchNorm2d(out_channels)
        if act is not None:
            self.act = act()


class DepthwiseSeparable(nn.Sequential):
    """V1's block: a 3x3 filter for each channel, then a 1x1 convolution across the channels."""

    def __init__(self, in_channels: int, out_channels: int, stride: int):
        super().__init__()
        # (N, C_in, H, W) -> (N, C_in, H/s, W/s) -> (N, C_out, H/s, W/s)
        self.depthwise = ConvNormAct(in_channels, in_channels, 3, stride, groups=in_channels, act=nn.ReLU)
        self.pointwise = ConvNormAct(in_channels, out_channels, 1, act=nn.ReLU)


class InvertedResidual(nn.Module):
    """V2's block: widen, filter each channel, narrow. The last step has no activation: the bottleneck is linear.

    The skip joins the two narrow ends, where they have the same shape.
    """

    def __init__(self, in_channels: int, out_channels: int, stride: int, expansion: int):
        super().__init__()
        wide = expansion * in_channels
        self.expand = ConvNormAct(in_channels, wide, 1, act=nn.ReLU6) if expansion > 1 else nn.Identity()
        self.depthwise = ConvNormAct(wide, wide, 3, stride, groups=wide, act=nn.ReLU6)
        self.project = ConvNormAct(wide, out_channels, 1)
        self.skip = stride == 1 and in_channels == out_channels

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.expand(x)  # (N, t*C_in, H, W)
        y = self.depthwise(y)  # (N, t*C_in, H/s, W/s)
        y = self.project(y)  # (N, C_out, H/s, W/s)
        return x + y if self.skip else y


class MobileNet(nn.Module):
    """Convolutions, the mean of each map, one linear layer."""

    def __init__(self, features: nn.Sequential, channels: int, num_classes: int, dropout: float):
        super().__init__()
        self.features = features
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.dropout = nn.Dropout(dropout)
        self.classifier = nn.Linear(channels, num_classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        check_images(x, channels=3, least=1)
        x = self.features(x)  # (N, C, H/32, W/32), rounded up
        x = self.pool(x).flatten(1)  # (N, C)
        return self.classifier(self.dropout(x))  # (N, num_classes)


def mobilenet_v1(num_classes: int = 1000) -> MobileNet:
    """MobileNet 1.0, 4,231,976 parameters: RGB images of any size -> (N, num_classes) scores before the softmax."""
    num_classes = check_classes(num_classes)
    layers, in_channels = [ConvNormAct(3, 32, 3, stride=2, act=nn.ReLU)], 32
    for out_channels, stride in V1_BLOCKS:
        layers.append(DepthwiseSeparable(in_channels, out_channels, stride))
        in_channels = out_channels
    return MobileNet(nn.Sequential(*layers), in_channels, num_classes, dropout=0.0)


def mobilenet_v2(num_classes: int = 1000) -> MobileNet:
    """MobileNetV2 1.0, 3,504,872 parameters: RGB images of any size -> (N, num_classes) scores before the softmax."""
    num_classes = check_classes(num_classes)
    layers, in_channels = [ConvNormAct(3, 32, 3, stride=2, act=nn.ReLU6)], 32
    for expansion, out_channels, blocks, stride in V2_STAGES:
        for index in range(blocks):
            layers.append(InvertedResidual(in_channels, out_channels, stride if index == 0 else 1, expansion))
            in_channels = out_channels
    layers.append(ConvNormAct(in_channels, 1280, 1, act=nn.ReLU6))
    return MobileNet(nn.Sequential(*layers), 1280, num_classes, dropout=0.2)
