"""VGG-16: nothing but 3x3 convolutions, 2x2 pooling, and three very large dense layers.

Simonyan & Zisserman 2014, "Very deep convolutional networks for large-scale image recognition", configuration D.
"""

import torch
from torch import nn

from cnnbook.zoo.checks import check_classes, check_images

# Output channels of the convolutions of each stage; a 2x2 max pooling ends a stage.
STAGES = ((64, 64), (128, 128), (256, 256, 256), (512, 512, 512), (512, 512, 512))


def vgg16(num_classes: int = 1000) -> nn.Module:
    """VGG-16 without batch norm: 138,357,544 parameters with 1,000 classes."""
    return VGG16(num_classes)


class VGG16(nn.Module):
    """Images (N, 3, H, W) with sides of at least 32 pixels to logits (N, classes); made for 224x224.

    The paper takes other sizes by turning the dense layers into convolutions; this does as torchvision does, and
    averages the last maps to 7x7.
    """

    def __init__(self, num_classes: int = 1000):
        super().__init__()
        layers, in_channels = [], 3
        for stage in STAGES:
            for channels in stage:
                layers += [nn.Conv2d(in_channels, channels, 3, padding=1), nn.ReLU()]
                in_channels = channels
            layers.append(nn.MaxPool2d(2))
        self.features = nn.Sequential(*layers)
        self.pool = nn.AdaptiveAvgPool2d(7)  # changes nothing at 224
        self.classifier = nn.Sequential(
            nn.Linear(512 * 7 * 7, 4096),  # 102,764,544 parameters, 74 % of the network
            nn.ReLU(),
            nn.Dropout(0.5),
            nn.Linear(4096, 4096),
            nn.ReLU(),
            nn.Dropout(0.5),
            nn.Linear(4096, check_classes(num_classes)),
        )
        self.initialise()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        check_images(x, channels=3, least=32)
        x = self.features(x)  # (N, 3, 224, 224) -> (N, 512, 7, 7)
        return self.classifier(self.pool(x).flatten(1))  # (N, 25088) -> (N, classes)

    def initialise(self) -> None:
        """He's initialisation of the convolutions, which the paper did not have yet: it began from a shallower net."""
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
                nn.init.zeros_(module.bias)
            elif isinstance(module, nn.Linear):
                nn.init.normal_(module.weight, std=0.01)
                nn.init.zeros_(module.bias)
