"""The small ResNets for CIFAR-10, with shortcuts that have no parameters.

He, Zhang, Ren & Sun 2015, "Deep residual learning for image recognition", section 4.2: 6n + 2 layers in three stages
of 16, 32 and 64 channels.
"""

import torch
from torch import nn
from torch.nn.functional import pad

from cnnbook.zoo.checks import check_classes, check_images
from cnnbook.zoo.resnet import conv, initialise


def cifar_resnet20(num_classes: int = 10) -> nn.Module:
    """ResNet-20: 269,722 parameters with ten classes."""
    return CifarResNet(3, num_classes)


def cifar_resnet56(num_classes: int = 10) -> nn.Module:
    """ResNet-56: 853,018 parameters with ten classes."""
    return CifarResNet(9, num_classes)


def cifar_resnet110(num_classes: int = 10) -> nn.Module:
    """ResNet-110: 1,727,962 parameters with ten classes."""
    return CifarResNet(18, num_classes)


class PaddedShortcut(nn.Module):
    """The paper's option A: every `stride`-th pixel, and channels of zeros behind the old ones. No parameters."""

    def __init__(self, extra_channels: int, stride: int):
        super().__init__()
        self.extra_channels, self.stride = extra_channels, stride

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = x[:, :, :: self.stride, :: self.stride]  # (N, C, H, W) -> (N, C, H/stride, W/stride)
        return pad(x, (0, 0, 0, 0, 0, self.extra_channels))  # -> (N, C + extra, H/stride, W/stride)


class CifarBlock(nn.Module):
    """relu(shortcut(x) + branch(x)).  (N, in, H, W) -> (N, width, H/stride, W/stride)."""

    def __init__(self, in_channels: int, width: int, stride: int = 1):
        super().__init__()
        self.branch = nn.Sequential(
            conv(in_channels, width, 3, stride),
            nn.BatchNorm2d(width),
            nn.ReLU(),
            conv(width, width, 3),
            nn.BatchNorm2d(width),
        )
        same = stride == 1 and in_channels == width
        self.shortcut = nn.Identity() if same else PaddedShortcut(width - in_channels, stride)
        self.relu = nn.ReLU()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.relu(self.shortcut(x) + self.branch(x))


class CifarResNet(nn.Module):
    """Images (N, 3, H, W) of any size, made for 32x32, to logits (N, classes); `n` blocks a stage, 6n + 2 layers."""

    def __init__(self, n: int, num_classes: int = 10):
        super().__init__()
        self.stem = nn.Sequential(conv(3, 16, 3), nn.BatchNorm2d(16), nn.ReLU())  # (N, 3, 32, 32) -> (N, 16, 32, 32)
        self.stage1 = nn.Sequential(*(CifarBlock(16, 16) for _ in range(n)))
        self.stage2 = nn.Sequential(CifarBlock(16, 32, stride=2), *(CifarBlock(32, 32) for _ in range(n - 1)))
        self.stage3 = nn.Sequential(CifarBlock(32, 64, stride=2), *(CifarBlock(64, 64) for _ in range(n - 1)))
        self.pool = nn.AdaptiveAvgPool2d(1)  # (N, 64, 8, 8) -> (N, 64, 1, 1)
        self.classifier = nn.Linear(64, check_classes(num_classes))
        initialise(self)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        check_images(x, channels=3, least=1)
        x = self.stage3(self.stage2(self.stage1(self.stem(x))))
        return self.classifier(self.pool(x).flatten(1))
