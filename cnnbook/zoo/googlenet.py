"""GoogLeNet as of 2014: 5x5 convolutions, response normalisation, no batch norm, two auxiliary classifiers.

Szegedy et al. 2014, "Going deeper with convolutions", Table 1 and Figure 3. torchvision's GoogLeNet is another network:
with batch norm, and with 3x3 where this has 5x5.
"""

import torch
from torch import nn
from torch.nn.functional import relu

from cnnbook.zoo.checks import check_classes, check_images


def googlenet(num_classes: int = 1000) -> nn.Module:
    """GoogLeNet: 6,998,552 parameters with 1,000 classes, and 13,378,280 with both auxiliary classifiers."""
    return GoogLeNet(num_classes)


class Inception(nn.Module):
    """Four branches side by side, joined along the channels; reduced means a 1x1 convolution that thins them out first.

    Inception(192, 64, (96, 128), (16, 32), 32): 64 maps by 1x1, 128 by 3x3 over 96, 32 by 5x5 over 16, and 32 by
    1x1 over max pooling.
    """

    def __init__(self, in_channels: int, c1: int, c3: tuple[int, int], c5: tuple[int, int], pooled: int):
        super().__init__()
        self.branch1 = nn.Conv2d(in_channels, c1, 1)
        self.reduce3 = nn.Conv2d(in_channels, c3[0], 1)
        self.branch3 = nn.Conv2d(*c3, 3, padding=1)
        self.reduce5 = nn.Conv2d(in_channels, c5[0], 1)
        self.branch5 = nn.Conv2d(*c5, 5, padding=2)
        self.pool = nn.MaxPool2d(3, stride=1, padding=1)
        self.branch_pool = nn.Conv2d(in_channels, pooled, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        branches = (
            self.branch1(x),
            self.branch3(relu(self.reduce3(x))),
            self.branch5(relu(self.reduce5(x))),
            self.branch_pool(self.pool(x)),
        )
        return relu(torch.cat(branches, 1))  # (N, in, H, W) -> (N, c1 + c3[1] + c5[1] + pooled, H, W)


class AuxiliaryHead(nn.Sequential):
    """A small classifier on an inner layer, used in training only; the paper adds 0.3 times its loss."""

    def __init__(self, in_channels: int, num_classes: int):
        super().__init__(
            nn.AvgPool2d(5, stride=3),  # (N, in, 14, 14) -> (N, in, 4, 4)
            nn.AdaptiveAvgPool2d(4),  # changes nothing at 224; it lets other sizes in
            nn.Conv2d(in_channels, 128, 1),
            nn.ReLU(),
            nn.Flatten(),  # (N, 2048)
            nn.Linear(128 * 4 * 4, 1024),
            nn.ReLU(),
            nn.Dropout(0.7),
            nn.Linear(1024, num_classes),
        )


class GoogLeNet(nn.Module):
    """Images (N, 3, H, W) to logits (N, classes); in training mode to (logits, aux1, aux2), each (N, classes).

    Made for 224x224; sides of at least 31 pixels in evaluation mode, 79 in training mode.
    """

    def __init__(self, num_classes: int = 1000):
        super().__init__()
        num_classes = check_classes(num_classes)
        self.stem = nn.Sequential(
            nn.Conv2d(3, 64, 7, stride=2, padding=3),  # (N, 3, 224, 224) -> (N, 64, 112, 112)
            nn.ReLU(),
            _halve(),  # (N, 64, 56, 56)
            _response_norm(),
            nn.Conv2d(64, 64, 1),
            nn.ReLU(),
            nn.Conv2d(64, 192, 3, padding=1),  # (N, 192, 56, 56)
            nn.ReLU(),
            _response_norm(),
            _halve(),  # (N, 192, 28, 28)
        )
        self.inception3a = Inception(192, 64, (96, 128), (16, 32), 32)  # 256 channels
        self.inception3b = Inception(256, 128, (128, 192), (32, 96), 64)  # 480
        self.pool3 = _halve()  # 14x14
        self.inception4a = Inception(480, 192, (96, 208), (16, 48), 64)  # 512
        self.inception4b = Inception(512, 160, (112, 224), (24, 64), 64)  # 512
        self.inception4c = Inception(512, 128, (128, 256), (24, 64), 64)  # 512
        self.inception4d = Inception(512, 112, (144, 288), (32, 64), 64)  # 528
        self.inception4e = Inception(528, 256, (160, 320), (32, 128), 128)  # 832
        self.pool4 = _halve()  # 7x7
        self.inception5a = Inception(832, 256, (160, 320), (32, 128), 128)  # 832
        self.inception5b = Inception(832, 384, (192, 384), (48, 128), 128)  # 1024
        self.head = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(0.4), nn.Linear(1024, num_classes))
        self.aux1 = AuxiliaryHead(512, num_classes)  # on 4a
        self.aux2 = AuxiliaryHead(528, num_classes)  # on 4d
        self.initialise()

    def forward(self, x: torch.Tensor) -> torch.Tensor | tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        check_images(x, channels=3, least=79 if self.training else 31)
        x = self.inception3b(self.inception3a(self.stem(x)))  # (N, 480, 28, 28)
        after_4a = self.inception4a(self.pool3(x))  # (N, 512, 14, 14)
        after_4d = self.inception4d(self.inception4c(self.inception4b(after_4a)))  # (N, 528, 14, 14)
        x = self.pool4(self.inception4e(after_4d))  # (N, 832, 7, 7)
        logits = self.head(self.inception5b(self.inception5a(x)))  # (N, 1024, 7, 7) -> (N, classes)
        return (logits, self.aux1(after_4a), self.aux2(after_4d)) if self.training else logits

    def initialise(self) -> None:
        """He's initialisation of the convolutions; the paper gives none."""
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_in", nonlinearity="relu")
                nn.init.zeros_(module.bias)


def _halve() -> nn.MaxPool2d:
    """3x3 max pooling with stride 2; a window may hang over the far edge, so 112 becomes 56."""
    return nn.MaxPool2d(3, stride=2, ceil_mode=True)


def _response_norm() -> nn.LocalResponseNorm:
    """Over 5 channels with the constants of the Caffe reference model; the paper prints none."""
    return nn.LocalResponseNorm(5, alpha=1e-4, beta=0.75, k=1)
