"""LeNet-5, as printed in 1998 and as it is copied today.

LeCun, Bottou, Bengio & Haffner 1998, "Gradient-based learning applied to document recognition", section II-B.
"""

import numpy as np
import torch
from torch import nn

from cnnbook.zoo.checks import check_classes, check_images

# Which maps of S2 each map of C3 sees (the paper's Table I): six triples and six quadruples of neighbours (0 follows
# 5), three quadruples with a gap, and one map that sees all.
C3_TABLE = (
    *((0, 1, 2), (1, 2, 3), (2, 3, 4), (3, 4, 5), (0, 4, 5), (0, 1, 5)),
    *((0, 1, 2, 3), (1, 2, 3, 4), (2, 3, 4, 5), (0, 3, 4, 5), (0, 1, 4, 5), (0, 1, 2, 5)),
    *((0, 1, 3, 4), (1, 2, 4, 5), (0, 2, 3, 5)),
    (0, 1, 2, 3, 4, 5),
)

# The ten digits as 7x12 bitmaps. The paper's Figure 3 prints its own; these are drawn for this book.
DIGITS = """
.......  .......  .......  .......  .......  .......  .......  .......  .......  .......
..###..  ...#...  ..###..  .####..  ....##.  ######.  ..####.  #######  ..###..  ..###..
.#...#.  ..##...  .#...#.  #....#.  ...#.#.  #......  .#.....  ......#  .#...#.  .#...#.
#.....#  .#.#...  #.....#  ......#  ..#..#.  #......  #......  .....#.  .#...#.  #.....#
#.....#  ...#...  ......#  .....#.  .#...#.  #......  #......  .....#.  .#...#.  #.....#
#.....#  ...#...  .....#.  ..###..  #....#.  #####..  #.###..  ....#..  ..###..  .#...##
#.....#  ...#...  ....#..  .....#.  #....#.  .....#.  ##...#.  ....#..  .#...#.  ..###.#
#.....#  ...#...  ...#...  ......#  #######  ......#  #.....#  ...#...  #.....#  ......#
#.....#  ...#...  ..#....  ......#  .....#.  ......#  #.....#  ...#...  #.....#  ......#
.#...#.  ...#...  .#.....  #....#.  .....#.  #....#.  .#...#.  ..#....  #.....#  .....#.
..###..  .#####.  #######  .####..  .....#.  .####..  ..###..  ..#....  .#####.  .####..
.......  .......  .......  .......  .......  .......  .......  .......  .......  .......
"""


def lenet5_1998(num_classes: int = 10) -> nn.Module:
    """LeNet-5 as the paper describes it: 60,000 trainable parameters, 340,908 connections with ten classes."""
    return LeNet5_1998(num_classes)


def lenet5(num_classes: int = 10) -> nn.Module:
    """LeNet-5 as it is written today: 61,706 parameters with ten classes."""
    return LeNet5(num_classes)


class Squash(nn.Module):
    """f(a) = A tanh(S a) with A = 1.7159 and S = 2/3, so that f(1) = 1 and f(-1) = -1 to four digits."""

    def forward(self, a: torch.Tensor) -> torch.Tensor:
        return 1.7159 * torch.tanh(2 / 3 * a)


class Subsample(nn.Module):
    """The trainable pooling of 1998: the sum of a 2x2 window, times one coefficient a map, plus one bias a map."""

    def __init__(self, channels: int):
        super().__init__()
        self.coefficient = nn.Parameter(torch.empty(channels))
        self.bias = nn.Parameter(torch.empty(channels))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        total = 4 * nn.functional.avg_pool2d(x, 2)  # (N, C, H, W) -> (N, C, H/2, W/2)
        return total * self.coefficient[:, None, None] + self.bias[:, None, None]


class PartialConv(nn.Module):
    """C3: each of the 16 maps sees only its row of C3_TABLE, 60 of the 96 possible pairs of maps.

    Rows of one length are one convolution with a group a map, over the maps of S2 laid side by side as the table lists.
    """

    def __init__(self):
        super().__init__()
        self.triples = nn.Conv2d(6 * 3, 6, 5, groups=6)
        self.quadruples = nn.Conv2d(9 * 4, 9, 5, groups=9)
        self.all = nn.Conv2d(6, 1, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        triples = x[:, [i for row in C3_TABLE[:6] for i in row]]  # (N, 6, 14, 14) -> (N, 18, 14, 14)
        quadruples = x[:, [i for row in C3_TABLE[6:15] for i in row]]  # -> (N, 36, 14, 14)
        return torch.cat([self.triples(triples), self.quadruples(quadruples), self.all(x)], 1)  # -> (N, 16, 10, 10)


class RBF(nn.Module):
    """y_i = sum_j (x_j - w_ij)^2: how far F6 is from the bitmap of class i. The codes w are fixed, not trained."""

    def __init__(self, num_classes: int):
        super().__init__()
        self.register_buffer("codes", class_codes(num_classes))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return (x[:, None] - self.codes).square().sum(2)  # (N, 84) -> (N, classes)


class LeNet5_1998(nn.Module):
    """Images (N, 1, 32, 32) to PENALTIES (N, classes): the recognised class is the SMALLEST, `argmin`.

    The paper sets the ink of a digit to 1.175 and the background to -0.1. Its training criterion, equation 9, is
    cross_entropy(-penalties) but for a constant in the denominator.
    """

    def __init__(self, num_classes: int = 10):
        super().__init__()
        num_classes = check_classes(num_classes)
        self.squash = Squash()
        self.c1 = nn.Conv2d(1, 6, 5)
        self.s2 = Subsample(6)
        self.c3 = PartialConv()
        self.s4 = Subsample(16)
        self.c5 = nn.Conv2d(16, 120, 5)
        self.f6 = nn.Linear(120, 84)
        self.output = RBF(num_classes)
        self.initialise()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        check_images(x, channels=1, least=32, exact=32)
        x = self.squash(self.c1(x))  # (N, 6, 28, 28)
        x = self.squash(self.s2(x))  # (N, 6, 14, 14)
        x = self.squash(self.c3(x))  # (N, 16, 10, 10)
        x = self.squash(self.s4(x))  # (N, 16, 5, 5)
        x = self.squash(self.c5(x)).flatten(1)  # (N, 120, 1, 1) -> (N, 120)
        x = self.squash(self.f6(x))  # (N, 84)
        return self.output(x)  # (N, classes)

    def initialise(self) -> None:
        """Uniform within 2.4 / fan-in, the number of inputs of a unit (the paper's appendix A)."""
        for module in self.modules():
            if isinstance(module, (nn.Conv2d, nn.Linear, Subsample)):
                bound = 2.4 / (4 if isinstance(module, Subsample) else module.weight[0].numel())
                for parameter in module.parameters():
                    nn.init.uniform_(parameter, -bound, bound)

    def connections(self) -> dict[str, int]:
        """Connections by layer, the bias of a unit counted as one: what the paper's 340,908 adds up."""
        trained = {name: sum(p.numel() for p in layer.parameters()) for name, layer in self.named_children()}
        return {
            "C1": trained["c1"] * 28 * 28,
            "S2": (4 + 1) * 6 * 14 * 14,
            "C3": trained["c3"] * 10 * 10,
            "S4": (4 + 1) * 16 * 5 * 5,
            "C5": trained["c5"],
            "F6": trained["f6"],
            "output": self.output.codes.numel(),
        }


class LeNet5(nn.Module):
    """Images (N, 1, 28, 28) to logits (N, classes): full C3, ReLU, max pooling without parameters, a linear output."""

    def __init__(self, num_classes: int = 10):
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(1, 6, 5, padding=2),  # (N, 1, 28, 28) -> (N, 6, 28, 28), as from 32x32 without padding
            nn.ReLU(),
            nn.MaxPool2d(2),  # (N, 6, 14, 14)
            nn.Conv2d(6, 16, 5),  # (N, 16, 10, 10)
            nn.ReLU(),
            nn.MaxPool2d(2),  # (N, 16, 5, 5)
        )
        self.classifier = nn.Sequential(
            nn.Linear(16 * 5 * 5, 120),
            nn.ReLU(),
            nn.Linear(120, 84),
            nn.ReLU(),
            nn.Linear(84, check_classes(num_classes)),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        check_images(x, channels=1, least=28, exact=28)
        return self.classifier(self.features(x).flatten(1))


def class_codes(num_classes: int) -> torch.Tensor:
    """The codes (num_classes, 84) of the RBF output, +1 for ink and -1 for paper.

    The first ten are the bitmaps of DIGITS, row by row. Further classes get random codes from a fixed seed, which the
    paper names as the alternative to drawing them.
    """
    rows = np.array([[list(digit) for digit in line.split()] for line in DIGITS.split("\n") if line])  # (12, 10, 7)
    drawn = np.where(rows == "#", 1.0, -1.0).transpose(1, 0, 2).reshape(10, 84)
    more = np.random.default_rng(1998).choice([-1.0, 1.0], (max(num_classes - 10, 0), 84))
    return torch.tensor(np.concatenate([drawn, more])[:num_classes], dtype=torch.get_default_dtype())
