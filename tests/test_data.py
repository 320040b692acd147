"""The book's data: published checksums and counts, and statistics that each wafer class must show."""

import gzip
import hashlib
import importlib
import struct
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import torchvision
from PIL import Image

from cnnbook.data import PHOTOS, WAFER_CLASSES, images, learned_filters, mnist, photo, wafers
from cnnbook.data.build import PHOTO_SHA256

loader = importlib.import_module("cnnbook.data.mnist")  # the package's attribute of that name is the function

# Of LeCun's four files, decompressed, and how often each digit occurs in them.
MD5 = {
    ("train", "images"): "6bbc9ace898e44ae57da46a324031adb",
    ("train", "labels"): "a25bea736e30d166cdddb491f175f624",
    ("test", "images"): "2646ac647ad5339dbf082846283269ea",
    ("test", "labels"): "27ae3e4e09519cfbb04c329615203637",
}
HISTOGRAM = {
    "train": [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949],
    "test": [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009],
}
RAW = {"images": "t10k-images-idx3-ubyte", "labels": "t10k-labels-idx1-ubyte"}
SHAPES = {
    "astronaut": (512, 512, 3), "brick": (512, 512), "camera": (512, 512), "chelsea": (300, 451, 3),
    "coffee": (400, 600, 3), "grass": (512, 512), "gravel": (512, 512), "rocket": (427, 640, 3),
}  # fmt: skip


def idx(values: np.ndarray) -> bytes:
    """Unsigned bytes in LeCun's file format: magic number with the number of axes, big-endian sizes, values."""
    return struct.pack(f">HBB{values.ndim}i", 0, 8, values.ndim, *values.shape) + values.tobytes()


def load(split: str, root: Path | str = "data") -> tuple[np.ndarray, np.ndarray, str]:
    """Images, labels and what was printed."""
    with redirect_stdout(StringIO()) as printed:
        return *mnist(split, root), printed.getvalue()


@pytest.fixture(scope="module", params=["train", "test"])
def split(request) -> tuple:
    return request.param, *load(request.param)


@pytest.fixture(scope="module")
def raw() -> dict[str, bytes]:
    """The two raw files of the test split, written anew from what the loader gives."""
    pixels, labels, _ = load("test")
    return {"images": idx(np.rint(pixels[:, 0] * 255).astype(np.uint8)), "labels": idx(labels.astype(np.uint8))}


@pytest.fixture
def without_copy(monkeypatch, tmp_path):
    """The book's own copy is missing, and a download that is tried all the same fails."""
    monkeypatch.setattr(loader, "COMMITTED", tmp_path / "gone.npz")

    def refuse(*_, **__):
        raise OSError("no route to host")

    monkeypatch.setattr(torchvision.datasets, "MNIST", refuse)


def test_mnist_is_the_published_files_byte_for_byte(split):
    name, pixels, labels, _ = split
    grey = np.rint(pixels[:, 0] * 255).astype(np.uint8)
    found = {"images": idx(grey), "labels": idx(labels.astype(np.uint8))}
    assert {key: hashlib.md5(content).hexdigest() for key, content in found.items()} == {
        key: MD5[name, key] for key in found
    }
    assert (pixels[:, 0] == grey / np.float32(255)).all()
    assert sorted(loader.RAW_MD5.values()) == sorted(MD5.values())


def test_mnist_has_lecuns_counts_types_and_range(split):
    name, pixels, labels, _ = split
    count = {"train": 60_000, "test": 10_000}[name]
    assert (pixels.shape, pixels.dtype, labels.shape, labels.dtype) == (
        (count, 1, 28, 28),
        np.float32,
        (count,),
        np.int64,
    )
    assert np.bincount(labels).tolist() == HISTOGRAM[name]
    assert (pixels.min(), pixels.max()) == (0, 1)


def test_mnist_says_which_source_it_used(split):
    name, pixels, _, printed = split
    assert printed == f"MNIST {name}: {len(pixels):,} images, from the book's own copy\n"


@pytest.mark.parametrize("bad", ["validation", "Train", "", None])
def test_mnist_refuses_another_split(bad):
    with pytest.raises(ValueError, match="split must be 'train' or 'test', got "):
        mnist(bad)


@pytest.mark.parametrize(("folder", "ending"), [(".", ""), ("MNIST/raw", ".gz")])
def test_without_the_copy_raw_files_are_read(without_copy, tmp_path, raw, folder, ending):
    target = tmp_path / folder
    target.mkdir(parents=True, exist_ok=True)
    for key, content in raw.items():
        packed = gzip.compress(content, compresslevel=1) if ending else content
        (target / f"{RAW[key]}{ending}").write_bytes(packed)
    pixels, labels, printed = load("test", tmp_path)
    assert printed == f"MNIST test: 10,000 images, from local files in {target.resolve()}\n"
    assert idx(np.rint(pixels[:, 0] * 255).astype(np.uint8)) == raw["images"]
    assert idx(labels.astype(np.uint8)) == raw["labels"]
    assert (pixels.shape, pixels.dtype, labels.dtype) == ((10_000, 1, 28, 28), np.float32, np.int64)


def test_the_books_copy_comes_before_raw_files(tmp_path, raw):
    (tmp_path / RAW["images"]).write_bytes(b"damaged")
    (tmp_path / RAW["labels"]).write_bytes(raw["labels"])
    assert "the book's own copy" in load("test", tmp_path)[2]


def test_a_damaged_raw_file_is_named_with_both_checksums(without_copy, tmp_path, raw):
    damaged = raw["labels"][:-1] + bytes([raw["labels"][-1] ^ 1])
    (tmp_path / RAW["images"]).write_bytes(raw["images"])
    (tmp_path / RAW["labels"]).write_bytes(damaged)
    with pytest.raises(ValueError) as caught:
        mnist("test", tmp_path)
    found = hashlib.md5(damaged).hexdigest()
    for words in (
        str(tmp_path / RAW["labels"]),
        f"md5 {found}",
        f"expected {MD5['test', 'labels']}",
        "delete it and download",
    ):
        assert words in str(caught.value)


HARM = {
    "cut off": lambda packed: packed[:-20],
    "not an archive": lambda packed: b"<html>" + packed,
    "garbled": lambda packed: packed[:40] + b"\xff" * 40 + packed[80:],
}


@pytest.mark.parametrize("harm", HARM.values(), ids=HARM)
def test_a_damaged_archive_is_said_to_be_damaged(without_copy, tmp_path, raw, harm):
    (tmp_path / RAW["images"]).write_bytes(raw["images"])
    (tmp_path / f"{RAW['labels']}.gz").write_bytes(harm(gzip.compress(raw["labels"])))
    with pytest.raises(ValueError, match=r"labels-idx1-ubyte\.gz is damaged.*delete it and download again"):
        mnist("test", tmp_path)


@pytest.mark.parametrize("there", [[], ["labels"]])
def test_where_nothing_is_to_be_had_the_error_says_what_to_do(without_copy, tmp_path, raw, there):
    for key in there:
        (tmp_path / RAW[key]).write_bytes(raw[key])
    with pytest.raises(FileNotFoundError) as caught:
        mnist("test", tmp_path)
    for words in (
        "gone.npz is missing",
        "no route to host",
        f"below {tmp_path}",
        "reinstall the library",
        *loader.RAW_MD5,
    ):
        assert words in str(caught.value)
    assert isinstance(caught.value.__cause__, OSError)


def test_no_folder_at_all_is_an_error_in_words_too(without_copy, tmp_path):
    with pytest.raises(FileNotFoundError, match="Put the four files"):
        mnist("train", tmp_path / "nowhere")


@pytest.mark.parametrize("name", ["train", "test"])
def test_the_download_is_last_and_asks_for_the_split(without_copy, tmp_path, monkeypatch, name):
    asked = []

    def dataset(root, train, download):
        asked.append((root, train, download))
        pixels = torch.arange(2 * 784).reshape(2, 28, 28).to(torch.uint8)
        return SimpleNamespace(data=pixels, targets=torch.tensor([7, 2]))

    monkeypatch.setattr(torchvision.datasets, "MNIST", dataset)
    pixels, labels, printed = load(name, tmp_path)
    assert asked == [(tmp_path, name == "train", True)]
    assert printed == f"MNIST {name}: 2 images, from a download into {tmp_path}\n"
    assert np.rint(pixels.ravel() * 255).tolist() == [value % 256 for value in range(2 * 784)]
    assert labels.tolist() == [7, 2]


def test_parse_idx_reads_axes_of_any_number():
    for shape in [(5,), (2, 3), (2, 1, 3, 4)]:
        values = np.random.default_rng(len(shape)).integers(0, 256, shape, dtype=np.uint8)
        assert (loader.parse_idx(idx(values)) == values).all()
    with pytest.raises(ValueError, match="not an idx file of unsigned bytes"):
        loader.parse_idx(b"\x00\x00\x0d\x01" + struct.pack(">if", 1, 1.0))


def test_the_photos_are_the_checked_files_and_all_of_them():
    files = sorted((images.HERE / "photos").glob("*.*g"))
    assert {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in files} == PHOTO_SHA256
    assert sorted(SHAPES) == list(PHOTOS)


@pytest.mark.parametrize("name", SHAPES)
def test_a_photo_is_its_files_bytes_in_0_to_1(name):
    with Image.open(next((images.HERE / "photos").glob(f"{name}.*"))) as image:
        stored = np.frombuffer(image.tobytes(), np.uint8).reshape(SHAPES[name])
    found = photo(name)
    assert (found.shape, found.dtype) == (SHAPES[name], np.float32)
    assert 0 <= found.min() < found.max() <= 1
    assert (found == stored / np.float32(255)).all()


@pytest.mark.parametrize("name", SHAPES)
def test_shrinking_keeps_the_mean_and_the_proportions(name):
    whole = photo(name)
    for height in (50, 64, 100, 128, whole.shape[0] // 2, whole.shape[0]):
        small = photo(name, height)
        assert small.shape[0] == height
        assert abs(small.shape[1] - whole.shape[1] * height / whole.shape[0]) <= 0.5
        assert small.shape[2:] == whole.shape[2:]
        assert small.dtype == np.float32
        assert small.mean(dtype=np.float64) == pytest.approx(whole.mean(dtype=np.float64), abs=1e-3)


def test_shrinking_averages_areas():
    for name, factor in [("camera", 2), ("grass", 8), ("astronaut", 4)]:
        whole = photo(name)
        side = 512 // factor
        blocks = whole.reshape(side, factor, side, factor, -1).mean((1, 3)).reshape(side, side, *whole.shape[2:])
        assert np.abs(photo(name, side) - blocks).max() < 1.01 / 255
    assert (photo("chelsea", 300) == photo("chelsea")).all()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("cat",), "no photo 'cat'; there are: astronaut, brick, camera, chelsea, coffee, grass, gravel, rocket"),
        (("../photos/camera",), "no photo"),
        (("chelsea", 301), "height must be in 1..300 for 'chelsea', got 301"),
        (("camera", 0), "height must be in 1..512 for 'camera', got 0"),
        (("camera", -8), "height must be in 1..512"),
    ],
)
def test_photo_says_what_is_wrong(arguments, words):
    with pytest.raises(ValueError, match=words):
        photo(*arguments)


def test_learned_filters_lie_on_the_stored_grid_between_its_ends():
    with np.load(images.HERE / "filters_7x7.npz") as archive:
        scale, low = float(archive["scale"]), float(archive["low"])
    filters = learned_filters()
    assert (filters.shape, filters.dtype) == ((32, 3, 7, 7), np.float32)
    assert filters.min() == np.float32(low)
    assert filters.max() == pytest.approx(low + 255 * scale, rel=1e-6)
    steps = (filters.astype(np.float64) - low) / scale
    assert np.abs(steps - steps.round()).max() < 1e-4
    assert np.unique(steps.round()).size > 128


def test_learned_filters_differ_and_their_axes_stand_where_they_should():
    filters = learned_filters()
    flat = filters.reshape(32, -1)
    assert flat.std(1).min() > 0.004
    assert (np.corrcoef(flat) - np.eye(32)).max() < 0.7
    apart = {axis: np.abs(np.diff(filters, axis=axis)).mean() for axis in range(4)}
    # A trained filter is smooth over its taps and alike in R, G and B; two filters have nothing in common.
    assert max(apart[1], apart[2], apart[3]) < 0.6 * apart[0]


PER_CLASS = 40


@pytest.fixture(scope="module")
def drawn() -> SimpleNamespace:
    """Wafers of every class, failed dies as True, and the dies' own polar grid (radius 1 at the rim)."""
    maps, labels = wafers(PER_CLASS, np.random.default_rng(5))
    y, x = (np.mgrid[:40, :40] - 19.5) / 15
    radius = np.hypot(y, x)
    return SimpleNamespace(maps=maps, labels=labels, failed=maps[:, 0] == 1, radius=radius, angle=np.arctan2(y, x))


def rates(drawn: SimpleNamespace, name: str, low: float, high: float) -> np.ndarray:
    """Share of failed dies between two radii, for each wafer of a class."""
    ring = (drawn.radius >= low) & (drawn.radius < high)
    return drawn.failed[drawn.labels == WAFER_CLASSES.index(name)][:, ring].mean(1)


def of(drawn: SimpleNamespace, name: str) -> np.ndarray:
    return drawn.failed[drawn.labels == WAFER_CLASSES.index(name)]


def neighbours(failed: np.ndarray) -> np.ndarray:
    """How many of a die's eight neighbours failed; the margin keeps the two ends of a frame apart."""
    shifts = [(i, j) for i in (-1, 0, 1) for j in (-1, 0, 1) if (i, j) != (0, 0)]
    return sum(np.roll(failed, shift, (1, 2)).astype(int) for shift in shifts)


def densest(drawn: SimpleNamespace, name: str) -> tuple[np.ndarray, np.ndarray]:
    """For each wafer of a class, the 5 x 5 window with most failed dies: their share, and its centre's radius."""
    share = np.stack([np.roll(of(drawn, name), (i, j), (1, 2)) for i in range(-2, 3) for j in range(-2, 3)]).mean(0)
    flat = share.reshape(PER_CLASS, -1)
    return flat.max(1), drawn.radius.ravel()[flat.argmax(1)]


def one_sidedness(drawn: SimpleNamespace, name: str) -> np.ndarray:
    """Length of the mean direction of the failed dies beyond radius 0.84: 1 on one side, near 0 all around."""
    rim = of(drawn, name) & (drawn.radius > 0.84)
    return np.abs((rim * np.exp(1j * drawn.angle)).sum((1, 2))) / rim.sum((1, 2))


def test_wafers_are_balanced_shuffled_and_hold_three_values(drawn):
    assert (drawn.maps.shape, drawn.maps.dtype, drawn.labels.dtype) == ((360, 1, 40, 40), np.float32, np.int64)
    assert np.bincount(drawn.labels).tolist() == [PER_CLASS] * 9
    assert (np.diff(drawn.labels) < 0).mean() > 0.3
    assert np.unique(drawn.maps).tolist() == [0, 0.5, 1]
    assert WAFER_CLASSES == (
        "none",
        "Center",
        "Donut",
        "Edge-Loc",
        "Edge-Ring",
        "Loc",
        "Near-full",
        "Random",
        "Scratch",
    )


def test_the_same_seed_draws_the_same_wafers():
    first, again, other = (wafers(2, np.random.default_rng(seed)) for seed in (7, 7, 8))
    assert all((one == two).all() for one, two in zip(first, again, strict=True))
    assert (first[0] != other[0]).mean() > 0.01
    assert (first[1] != other[1]).any()
    assert len({wafer.tobytes() for wafer in first[0]}) == 18


@pytest.mark.parametrize(("size", "margin"), [(40, 5), (26, 5), (16, 0), (33, 3), (64, 10)])
def test_the_wafer_is_a_disc_with_an_empty_margin(size, margin):
    maps, _ = wafers(2, np.random.default_rng(3), size, margin)
    twice = 2 * np.arange(size) - (size - 1)  # whole numbers: twice the distance from the middle
    outside = twice[:, None] ** 2 + twice**2 > (size - 2 * margin) ** 2
    assert maps.shape == (18, 1, size, size)
    assert ((maps[:, 0] == 0) == outside).all()
    frame = np.pad(np.zeros((size - 2 * margin,) * 2, bool), margin, constant_values=True)
    assert (maps[:, 0][:, frame] == 0).all()


def test_a_wafer_without_a_pattern_has_few_stray_failures(drawn):
    assert 0.01 < rates(drawn, "none", 0, 1).min() <= rates(drawn, "none", 0, 1).max() < 0.11
    stray = {name: rates(drawn, name, 0.62, 0.74).mean() for name in ("none", "Center", "Edge-Ring")}
    assert max(stray.values()) < 0.1


def test_center_fails_inside_and_not_outside(drawn):
    assert rates(drawn, "Center", 0, 0.2).min() > 0.4
    assert rates(drawn, "Center", 0.6, 1).max() < 0.15


def test_donut_fails_on_a_ring_and_not_in_its_hole(drawn):
    assert (rates(drawn, "Donut", 0.38, 0.58) > rates(drawn, "Donut", 0, 0.2) + 0.2).all()
    assert (rates(drawn, "Donut", 0.38, 0.58) > rates(drawn, "Donut", 0.8, 1) + 0.2).all()
    ring = of(drawn, "Donut").mean(0)[(drawn.radius > 0.4) & (drawn.radius < 0.55)]
    assert ring.min() > 0.3, "the ring is open somewhere"


def test_edge_ring_fails_mostly_at_the_rim_and_all_around(drawn):
    failed = of(drawn, "Edge-Ring")
    assert ((failed & (drawn.radius > 0.84)).sum((1, 2)) / failed.sum((1, 2))).min() > 0.7
    assert rates(drawn, "Edge-Ring", 0.93, 1).min() > 0.6
    assert one_sidedness(drawn, "Edge-Ring").max() < 0.2


def test_edge_loc_fails_at_one_side_of_the_rim(drawn):
    assert np.median(one_sidedness(drawn, "Edge-Loc")) > 0.5 > one_sidedness(drawn, "none").mean()
    _, place = densest(drawn, "Edge-Loc")
    assert place.min() > 0.75
    assert rates(drawn, "Edge-Loc", 0, 0.7).max() < 0.15


def test_loc_is_a_blob_between_the_centre_and_the_rim(drawn):
    share, place = densest(drawn, "Loc")
    assert 0.25 < place.min() < place.max() < 0.75
    assert share.mean() > 2 * densest(drawn, "none")[0].mean()
    assert rates(drawn, "Loc", 0, 1).max() < 0.2


def test_near_full_fails_almost_everywhere(drawn):
    assert rates(drawn, "Near-full", 0, 1).min() > 0.7


def test_random_fails_evenly_and_without_clusters(drawn):
    zones = [rates(drawn, "Random", *ends).mean() for ends in ((0, 0.4), (0.4, 0.7), (0.7, 0.9), (0.9, 1))]
    assert max(zones) - min(zones) < 0.03
    assert 0.15 < rates(drawn, "Random", 0, 1).min() <= rates(drawn, "Random", 0, 1).max() < 0.45
    inner = drawn.radius < 0.85
    failed = of(drawn, "Random")
    clustering = neighbours(failed)[failed & inner].mean() / neighbours(failed)[:, inner].mean()
    assert clustering == pytest.approx(1, abs=0.1)


def test_scratch_is_a_thin_line_of_failures(drawn):
    counts = {name: of(drawn, name).sum((1, 2)).mean() for name in ("none", "Scratch", "Random")}
    assert counts["none"] + 8 < counts["Scratch"] < counts["Random"] / 3
    failed, stray = of(drawn, "Scratch"), of(drawn, "none")
    assert neighbours(failed)[failed].mean() > 2 * neighbours(stray)[stray].mean()
    share, _ = densest(drawn, "Scratch")
    assert share.max() < 0.6, "a line cannot fill a window as a blob does"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (dict(per_class=0), "per_class must be at least 1, got 0"),
        (dict(per_class=-2), "per_class must be at least 1, got -2"),
        (dict(per_class=1, size=25), "size 25 with margin 5 leaves a wafer under 16 dies across; enlarge size"),
        (dict(per_class=1, margin=-1), "size 40 with margin -1"),
        (dict(per_class=1, size=40, margin=13), "under 16 dies across"),
    ],
)
def test_wafers_says_what_is_wrong(arguments, words):
    with pytest.raises(ValueError, match=words):
        wafers(rng=np.random.default_rng(0), **arguments)
