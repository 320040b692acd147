"""All of MNIST, from the copy that travels with the library, else from local raw files, else downloaded."""

import gzip
import hashlib
import zlib
from pathlib import Path

import numpy as np

HERE = Path(__file__).parent
COMMITTED = HERE / "mnist.npz"
COUNTS = {"train": 60_000, "test": 10_000}
RAW_MD5 = {  # of the decompressed files, LeCun & Cortes
    "train-images-idx3-ubyte": "6bbc9ace898e44ae57da46a324031adb",
    "train-labels-idx1-ubyte": "a25bea736e30d166cdddb491f175f624",
    "t10k-images-idx3-ubyte": "2646ac647ad5339dbf082846283269ea",
    "t10k-labels-idx1-ubyte": "27ae3e4e09519cfbb04c329615203637",
}


def mnist(split: str = "train", root: str | Path = "data") -> tuple[np.ndarray, np.ndarray]:
    """Images (N, 1, 28, 28) float32 in [0, 1] and labels (N,) int64; N is 60,000 for train, 10,000 for test.

    Prints which source was used: the library's own copy, raw files below `root` (idx, plain or .gz, checked by md5),
    or torchvision's download into `root`. There is no stand-in: where all fail, FileNotFoundError says what to do.
    LeCun & Cortes, CC BY-SA 3.0; raises ValueError for another split or a file whose md5 is wrong.
    """
    if split not in COUNTS:
        raise ValueError(f"split must be 'train' or 'test', got {split!r}")
    images, labels, source = _committed(split) or _local(split, Path(root)) or _download(split, Path(root))
    print(f"MNIST {split}: {len(images):,} images, from {source}")
    return images[:, None].astype(np.float32) / 255, labels.astype(np.int64)


def _committed(split: str):
    if not COMMITTED.exists():
        return None
    with np.load(COMMITTED) as archive:
        return archive[f"{split}_images"], archive[f"{split}_labels"], "the book's own copy"


def _local(split: str, root: Path):
    """Raw idx files anywhere below root; torchvision puts them under root/MNIST/raw."""
    names = [name for name in RAW_MD5 if name.startswith("train" if split == "train" else "t10k")]
    found = [next((p for n in (name, f"{name}.gz") for p in sorted(root.rglob(n))), None) for name in names]
    if None in found:
        return None
    images, labels = (parse_idx(read_raw(path)) for path in found)
    return images, labels, f"local files in {found[0].parent}"


def read_raw(path: Path) -> bytes:
    """A raw file's bytes, decompressed; ValueError where it cannot be unpacked or its md5 is not the published one."""
    try:
        content = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:  # a download that broke off
        raise ValueError(f"{path} is damaged: {error}; delete it and download again") from error
    name, found = path.name.removesuffix(".gz"), hashlib.md5(content).hexdigest()
    if found != RAW_MD5[name]:
        raise ValueError(f"{path} is damaged: md5 {found}, expected {RAW_MD5[name]}; delete it and download again")
    return content


def parse_idx(content: bytes) -> np.ndarray:
    """An array of unsigned bytes in the idx format: two zero bytes, type 8, number of axes, sizes, values."""
    if content[:3] != b"\x00\x00\x08":
        raise ValueError(f"not an idx file of unsigned bytes: it starts with {content[:3]!r}")
    axes = content[3]
    shape = np.frombuffer(content, ">i4", count=axes, offset=4)
    return np.frombuffer(content, np.uint8, offset=4 + 4 * axes).reshape(shape)


def _download(split: str, root: Path):
    try:
        from torchvision.datasets import MNIST

        dataset = MNIST(root, train=split == "train", download=True)
    except Exception as error:
        raise FileNotFoundError(
            f"no MNIST: {COMMITTED} is missing, {root} holds no raw files, and the download failed ({error}). "
            f"Put the four files {', '.join(RAW_MD5)} below {root}, or reinstall the library."
        ) from error
    return dataset.data.numpy(), dataset.targets.numpy(), f"a download into {root}"
