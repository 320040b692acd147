"""The checks at the front door of every network of the zoo: what cannot be run is refused in words."""

from numbers import Integral

import torch


def check_images(x: torch.Tensor, channels: int, least: int, exact: int | None = None) -> None:
    """Refuse what is no batch of images (N, channels, H, W) of a float type with sides of at least `least` pixels.

    With `exact`, both sides must be exactly that. Raises TypeError for what is no tensor or not of a float type,
    ValueError for a wrong rank, channel count or size; each says what would be right.
    """
    if not isinstance(x, torch.Tensor):
        raise TypeError(f"the network takes a torch.Tensor (N, {channels}, H, W), got {type(x).__name__}")
    shape, wanted = tuple(x.shape), f"images must be (N, {channels}, H, W)"
    if x.ndim == 3:
        raise ValueError(f"{wanted}, got {shape}: a single image needs a batch axis, x[None]")
    if x.ndim != 4:
        raise ValueError(f"{wanted}, got {x.ndim} axes: {shape}")
    if not x.is_floating_point():
        raise TypeError(f"images must be of a float type, got {x.dtype}; scale them, for example x.float() / 255")
    if x.shape[1] != channels:
        raise ValueError(f"{wanted}, got {x.shape[1]} channels (axis 1): {shape}")
    if exact is not None and shape[2:] != (exact, exact):
        raise ValueError(f"the network takes {exact}x{exact} pixels only, got {shape[2]}x{shape[3]}: resize or crop")
    if min(shape[2:]) < least:
        raise ValueError(f"the network needs sides of at least {least} pixels, got {shape[2]}x{shape[3]}: enlarge them")


def check_classes(num_classes: int) -> int:
    """The number of classes as an int; TypeError for what is no integer (a bool is none), ValueError below 1."""
    if isinstance(num_classes, bool) or not isinstance(num_classes, Integral):
        raise TypeError(f"num_classes must be an integer, got {num_classes!r} ({type(num_classes).__name__})")
    if num_classes < 1:
        raise ValueError(f"num_classes must be at least 1, got {num_classes}")
    return int(num_classes)
