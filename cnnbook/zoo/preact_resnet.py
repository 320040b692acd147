"""ResNet-18 with pre-activation: batch norm and ReLU move in front of the convolutions, and nothing stays on the sum.

He, Zhang, Ren & Sun 2016, "Identity mappings in deep residual networks", Figure 4(e) and appendix.
"""

import torch
from torch import nn

from cnnbook.zoo.checks import check_classes, check_images
from cnnbook.zoo.resnet import conv, initialise, stem


def preact_resnet18(num_classes: int = 1000) -> nn.Module:
    """Pre-activation ResNet-18: 11,687,720 parameters with 1,000 classes."""
    return PreActResNet18(num_classes)


class PreActBlock(nn.Module):
    """x + branch(preact(x)): from block to block x passes through additions only.

    Where the size or the channels change, a 1x1 convolution of preact(x) stands in for x, so both paths start from
    the same activation. The very first block has preact = identity: the stem has normalised and rectified already.
    (N, in, H, W) -> (N, width, H/stride, W/stride)
    """

    def __init__(self, in_channels: int, width: int, stride: int = 1, after_stem: bool = False):
        super().__init__()
        self.preact = nn.Identity() if after_stem else nn.Sequential(nn.BatchNorm2d(in_channels), nn.ReLU())
        self.branch = nn.Sequential(
            conv(in_channels, width, 3, stride),
            nn.BatchNorm2d(width),
            nn.ReLU(),
            conv(width, width, 3),
        )
        same = stride == 1 and in_channels == width
        self.projection = None if same else conv(in_channels, width, 1, stride)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        active = self.preact(x)
        shortcut = x if self.projection is None else self.projection(active)
        return shortcut + self.branch(active)


class PreActResNet18(nn.Module):
    """Images (N, 3, H, W) of any size to logits (N, classes)."""

    def __init__(self, num_classes: int = 1000):
        super().__init__()
        self.stem = stem()
        self.stage1 = nn.Sequential(PreActBlock(64, 64, after_stem=True), PreActBlock(64, 64))
        self.stage2 = nn.Sequential(PreActBlock(64, 128, stride=2), PreActBlock(128, 128))  # (N, 128, 28, 28)
        self.stage3 = nn.Sequential(PreActBlock(128, 256, stride=2), PreActBlock(256, 256))  # (N, 256, 14, 14)
        self.stage4 = nn.Sequential(PreActBlock(256, 512, stride=2), PreActBlock(512, 512))  # (N, 512, 7, 7)
        self.last = nn.Sequential(nn.BatchNorm2d(512), nn.ReLU())  # the activation that no block follows to do
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.classifier = nn.Linear(512, check_classes(num_classes))
        initialise(self)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        check_images(x, channels=3, least=1)
        x = self.stem(x)
        x = self.stage4(self.stage3(self.stage2(self.stage1(x))))
        return self.classifier(self.pool(self.last(x)).flatten(1))
