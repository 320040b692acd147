"""ResNet-18, -34 and -50.

He, Zhang, Ren & Sun 2015, "Deep residual learning for image recognition", Table 1 and Figure 5. ResNet-50 is the
variant that everybody runs, "v1.5": a stage's stride sits in the 3x3 convolution of its first bottleneck, where the
paper has it in the first 1x1. It costs 6 % more MACs and no parameter.
"""

import torch
from torch import nn

from cnnbook.zoo.checks import check_classes, check_images


def resnet18(num_classes: int = 1000) -> nn.Module:
    """ResNet-18: 11,689,512 parameters with 1,000 classes."""
    return ResNet(BasicBlock, (2, 2, 2, 2), num_classes)


def resnet34(num_classes: int = 1000) -> nn.Module:
    """ResNet-34: 21,797,672 parameters with 1,000 classes."""
    return ResNet(BasicBlock, (3, 4, 6, 3), num_classes)


def resnet50(num_classes: int = 1000) -> nn.Module:
    """ResNet-50 v1.5: 25,557,032 parameters with 1,000 classes."""
    return ResNet(Bottleneck, (3, 4, 6, 3), num_classes)


class BasicBlock(nn.Module):
    """relu(shortcut(x) + branch(x)), the branch two 3x3 convolutions.  (N, in, H, W) -> (N, width, H/s, W/s)."""

    expansion = 1

    def __init__(self, in_channels: int, width: int, stride: int = 1):
        super().__init__()
        self.branch = nn.Sequential(
            conv(in_channels, width, 3, stride),
            nn.BatchNorm2d(width),
            nn.ReLU(),
            conv(width, width, 3),
            nn.BatchNorm2d(width),
        )
        self.shortcut = projection(in_channels, width, stride)
        self.relu = nn.ReLU()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.relu(self.shortcut(x) + self.branch(x))


class Bottleneck(nn.Module):
    """As BasicBlock, the branch 1x1 down to width, 3x3, 1x1 up to 4*width.  (N, in, H, W) -> (N, 4*width, H/s, W/s)."""

    expansion = 4

    def __init__(self, in_channels: int, width: int, stride: int = 1):
        super().__init__()
        self.branch = nn.Sequential(
            conv(in_channels, width, 1),
            nn.BatchNorm2d(width),
            nn.ReLU(),
            conv(width, width, 3, stride),
            nn.BatchNorm2d(width),
            nn.ReLU(),
            conv(width, 4 * width, 1),
            nn.BatchNorm2d(4 * width),
        )
        self.shortcut = projection(in_channels, 4 * width, stride)
        self.relu = nn.ReLU()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.relu(self.shortcut(x) + self.branch(x))


def stem() -> nn.Sequential:
    """The first layers of every ImageNet ResNet: a quarter of the sides before the first block."""
    return nn.Sequential(
        conv(3, 64, 7, stride=2),  # (N, 3, 224, 224) -> (N, 64, 112, 112)
        nn.BatchNorm2d(64),
        nn.ReLU(),
        nn.MaxPool2d(3, stride=2, padding=1),  # (N, 64, 56, 56)
    )


class ResNet(nn.Module):
    """Images (N, 3, H, W) of any size to logits (N, classes); `depths` are the blocks of the four stages."""

    def __init__(self, block: type[nn.Module], depths: tuple[int, int, int, int], num_classes: int = 1000):
        super().__init__()
        self.stem = stem()
        wide = block.expansion
        self.stage1 = stage(block, 64, 64, depths[0], stride=1)  # (N, 64*wide, 56, 56)
        self.stage2 = stage(block, 64 * wide, 128, depths[1], stride=2)  # (N, 128*wide, 28, 28)
        self.stage3 = stage(block, 128 * wide, 256, depths[2], stride=2)  # (N, 256*wide, 14, 14)
        self.stage4 = stage(block, 256 * wide, 512, depths[3], stride=2)  # (N, 512*wide, 7, 7)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.classifier = nn.Linear(512 * wide, check_classes(num_classes))
        initialise(self)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        check_images(x, channels=3, least=1)
        x = self.stem(x)
        x = self.stage4(self.stage3(self.stage2(self.stage1(x))))
        return self.classifier(self.pool(x).flatten(1))


def stage(block: type[nn.Module], in_channels: int, width: int, depth: int, stride: int) -> nn.Sequential:
    """`depth` blocks, of which the first may change the size and the channels."""
    first = block(in_channels, width, stride)
    return nn.Sequential(first, *(block(width * block.expansion, width) for _ in range(depth - 1)))


def projection(in_channels: int, out_channels: int, stride: int) -> nn.Module:
    """The paper's option B: the identity, and a 1x1 convolution only where the sum would not fit."""
    if stride == 1 and in_channels == out_channels:
        return nn.Identity()
    return nn.Sequential(conv(in_channels, out_channels, 1, stride), nn.BatchNorm2d(out_channels))


def conv(in_channels: int, out_channels: int, kernel: int, stride: int = 1) -> nn.Conv2d:
    """A convolution that keeps the size at stride 1, without bias: the batch norm behind it would cancel one."""
    return nn.Conv2d(in_channels, out_channels, kernel, stride, padding=kernel // 2, bias=False)


def initialise(model: nn.Module) -> None:
    """He's initialisation of the convolutions: weights N(0, 2 / (out_channels * kernel^2))."""
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
