"""Real photographs, and the first-layer filters of a trained network."""

from pathlib import Path

import numpy as np
from PIL import Image

HERE = Path(__file__).parent
PHOTOS = tuple(sorted(path.stem for path in (HERE / "photos").glob("*.*g")))


def photo(name: str, height: int | None = None) -> np.ndarray:
    """A photograph, (H, W) float32 where it is grey and (H, W, 3) where it is colour, in [0, 1].

    `height` shrinks it with an area-averaging filter and keeps its proportions. Names are in PHOTOS; sources and
    licences (CC0 or public domain) in photos/LICENSE.md. Raises ValueError for another name or an enlargement.
    """
    if name not in PHOTOS:
        raise ValueError(f"no photo {name!r}; there are: {', '.join(PHOTOS)}")
    with Image.open(next((HERE / "photos").glob(f"{name}.*g"))) as image:
        if height is not None:
            if not 1 <= height <= image.height:
                raise ValueError(f"height must be in 1..{image.height} for {name!r}, got {height}")
            return _shrunk(image, round(image.width * height / image.height), height) / 255
        return np.asarray(image, dtype=np.float32) / 255


def _shrunk(image: Image.Image, width: int, height: int) -> np.ndarray:
    """Area averages, band by band in floating point: on bytes the filter rounds halves up, which brightens."""
    bands = [np.asarray(band.convert("F").resize((width, height), Image.Resampling.BOX)) for band in image.split()]
    return np.stack(bands, axis=-1) if len(bands) > 1 else bands[0]


def learned_filters() -> np.ndarray:
    """The 32 first-layer filters, (32, 3, 7, 7) float32, of dlib's face recognition network (CC0, D. King).

    Learned from face photographs, stored as uint8 with one scale and offset; input channels are R, G, B.
    """
    with np.load(HERE / "filters_7x7.npz") as archive:
        return (archive["values"] * archive["scale"] + archive["low"]).astype(np.float32)
