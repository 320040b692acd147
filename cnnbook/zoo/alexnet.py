"""AlexNet, as entered in 2012 and as torchvision ships it. They are different networks.

Krizhevsky, Sutskever & Hinton 2012, "ImageNet classification with deep convolutional neural networks";
Krizhevsky 2014, "One weird trick for parallelizing convolutional neural networks".
"""

import torch
from torch import nn

from cnnbook.zoo.checks import check_classes, check_images


def alexnet_2012(num_classes: int = 1000) -> nn.Module:
    """The network of 2012: 60,965,224 parameters with 1,000 classes."""
    return AlexNet2012(num_classes)


def alexnet(num_classes: int = 1000) -> nn.Module:
    """The network of 2014, in one column, that torchvision calls AlexNet: 61,100,840 parameters with 1,000 classes."""
    return AlexNet(num_classes)


class ResponseNorm(nn.LocalResponseNorm):
    """b_i = a_i / (k + alpha * sum of a_j^2 over the 5 neighbouring channels)^beta  (section 3.3).

    k = 2, alpha = 1e-4, beta = 0.75. torch divides alpha by the number of neighbours, the paper does not, hence 5e-4.
    """

    def __init__(self):
        super().__init__(size=5, alpha=5 * 1e-4, beta=0.75, k=2)


class AlexNet2012(nn.Module):
    """Images (N, 3, 227, 227) to logits (N, classes).

    groups=2 is what is left of the two GPUs: half of the channels lived on each, and conv2, conv4 and conv5 did not
    look across. The paper says 224, which gives no 55: (224 - 11) / 4 + 1 = 54.25.
    """

    def __init__(self, num_classes: int = 1000):
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(3, 96, 11, stride=4),  # (N, 3, 227, 227) -> (N, 96, 55, 55)
            nn.ReLU(),
            ResponseNorm(),
            nn.MaxPool2d(3, stride=2),  # (N, 96, 27, 27): windows overlap by one
            nn.Conv2d(96, 256, 5, padding=2, groups=2),  # (N, 256, 27, 27)
            nn.ReLU(),
            ResponseNorm(),
            nn.MaxPool2d(3, stride=2),  # (N, 256, 13, 13)
            nn.Conv2d(256, 384, 3, padding=1),  # (N, 384, 13, 13): here the two halves meet
            nn.ReLU(),
            nn.Conv2d(384, 384, 3, padding=1, groups=2),
            nn.ReLU(),
            nn.Conv2d(384, 256, 3, padding=1, groups=2),  # (N, 256, 13, 13)
            nn.ReLU(),
            nn.MaxPool2d(3, stride=2),  # (N, 256, 6, 6)
        )
        self.classifier = _classifier(num_classes)
        self.initialise()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        check_images(x, channels=3, least=227, exact=227)
        return self.classifier(self.features(x).flatten(1))

    def initialise(self) -> None:
        """Weights N(0, 0.01^2); biases 1 in conv2, 4, 5 and the hidden dense layers, 0 elsewhere (section 5)."""
        layers = [m for m in self.modules() if isinstance(m, (nn.Conv2d, nn.Linear))]
        for layer, bias in zip(layers, (0, 1, 0, 1, 1, 1, 1, 0), strict=True):
            nn.init.normal_(layer.weight, std=0.01)
            nn.init.constant_(layer.bias, bias)


class AlexNet(nn.Module):
    """Images (N, 3, H, W) with sides of at least 63 pixels to logits (N, classes); made for 224x224."""

    def __init__(self, num_classes: int = 1000):
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(3, 64, 11, stride=4, padding=2),  # (N, 3, 224, 224) -> (N, 64, 55, 55)
            nn.ReLU(),
            nn.MaxPool2d(3, stride=2),  # (N, 64, 27, 27)
            nn.Conv2d(64, 192, 5, padding=2),  # (N, 192, 27, 27)
            nn.ReLU(),
            nn.MaxPool2d(3, stride=2),  # (N, 192, 13, 13)
            nn.Conv2d(192, 384, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(384, 256, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(256, 256, 3, padding=1),  # (N, 256, 13, 13)
            nn.ReLU(),
            nn.MaxPool2d(3, stride=2),  # (N, 256, 6, 6)
        )
        self.pool = nn.AdaptiveAvgPool2d(6)  # changes nothing at 224; torchvision's way to take other sizes
        self.classifier = _classifier(num_classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        check_images(x, channels=3, least=63)
        return self.classifier(self.pool(self.features(x)).flatten(1))


def _classifier(num_classes: int) -> nn.Sequential:
    """(N, 9216) -> (N, classes): 58.6 of the 61 million parameters."""
    return nn.Sequential(
        nn.Dropout(0.5),
        nn.Linear(256 * 6 * 6, 4096),
        nn.ReLU(),
        nn.Dropout(0.5),
        nn.Linear(4096, 4096),
        nn.ReLU(),
        nn.Linear(4096, check_classes(num_classes)),
    )
