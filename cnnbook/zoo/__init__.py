"""The architectures of the book, one readable file each, written from their papers.

    from cnnbook import zoo

    model = zoo.build("resnet18", num_classes=10)
    zoo.names()

A file is imported only when one of its networks is asked for.
"""

from importlib import import_module

from torch import nn

from cnnbook.zoo.checks import check_classes

_FILES = {
    "lenet": ("lenet5_1998", "lenet5"),
    "alexnet": ("alexnet_2012", "alexnet"),
    "vgg": ("vgg16",),
    "googlenet": ("googlenet",),
    "resnet": ("resnet18", "resnet34", "resnet50"),
    "cifar_resnet": ("cifar_resnet20", "cifar_resnet56", "cifar_resnet110"),
    "preact_resnet": ("preact_resnet18",),
    "mobilenet": ("mobilenet_v1", "mobilenet_v2"),
    "efficientnet": ("efficientnet_b0", "efficientnet_lite0"),
    "convnext": ("convnext_tiny",),
}


def names() -> list[str]:
    """The networks that `build` knows, file by file, oldest file first."""
    return [name for group in _FILES.values() for name in group]


def build(name: str, num_classes: int = 1000) -> nn.Module:
    """The network `name`, freshly initialised, with `num_classes` outputs.

    Raises ValueError for an unknown name and for fewer than one class, TypeError for a number of classes that is no
    integer.
    """
    if name not in names():
        raise ValueError(f"the zoo has no {name!r}; it has {', '.join(names())}")
    file = next(file for file, group in _FILES.items() if name in group)
    return getattr(import_module(f"cnnbook.zoo.{file}"), name)(num_classes=check_classes(num_classes))
