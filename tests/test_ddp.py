"""examples/ddp_mnist.py: two processes train as one does, and what would not is refused in words."""

import argparse
import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from cnnbook import data

SCRIPT = Path(__file__).resolve().parent.parent / "examples" / "ddp_mnist.py"
TORCHRUN = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2")  # it picks a free port itself
STEPS, BATCH, SEED = 12, 50, 3


def run(*arguments: object, world: int = 1) -> subprocess.CompletedProcess:
    command = [sys.executable, *(TORCHRUN if world == 2 else ()), SCRIPT, *arguments]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    return subprocess.run(list(map(str, command)), env=environment, capture_output=True, text=True, timeout=120)


def script():
    """The example as a module."""
    spec = importlib.util.spec_from_file_location("ddp_mnist", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def curve(folder: Path, world: int, dtype: str) -> list[float]:
    out = folder / f"{world}-{dtype}.json"
    options = ("--steps", STEPS, "--batch", BATCH, "--seed", SEED, "--dtype", dtype, "--out", out)
    found = run(*options, world=world)
    assert found.returncode == 0, found.stderr
    written = json.loads(out.read_text())
    assert (written["world"], written["batch"], written["dtype"]) == (world, BATCH, dtype)
    return written["losses"]


def expected(dtype: torch.dtype) -> list[float]:
    """The same training by hand: one process, SGD with momentum written out, the whole batch at once."""
    x, y = map(torch.from_numpy, data.mnist("train"))
    torch.manual_seed(SEED)
    shapes = [(8, 1, 5, 5), (16, 8, 5, 5), (10, 256)]
    p = []
    for make, shape in zip([torch.nn.Conv2d, torch.nn.Conv2d, torch.nn.Linear], shapes, strict=True):
        layer = make(*shape[1::-1], *shape[2:3])  # as torch draws the first weights
        p += [layer.weight.detach().to(dtype).requires_grad_(), layer.bias.detach().to(dtype).requires_grad_()]
    velocity = [torch.zeros_like(value) for value in p]
    order = torch.randperm(len(x), generator=torch.Generator().manual_seed(SEED))
    losses = []
    for step in range(STEPS):
        chosen = order[step * BATCH : (step + 1) * BATCH]
        maps = F.relu(F.conv2d(x[chosen].to(dtype), p[0], p[1], stride=2))
        maps = F.relu(F.conv2d(maps, p[2], p[3], stride=2))
        loss = F.cross_entropy(maps.flatten(1) @ p[4].T + p[5], y[chosen])
        for value, moving, slope in zip(p, velocity, torch.autograd.grad(loss, p), strict=True):
            moving.mul_(0.9).add_(slope)
            value.data -= 0.1 * moving
        losses.append(loss.item())
    return losses


def test_two_processes_give_the_curve_of_one(tmp_path):
    by_hand = expected(torch.float64)
    assert by_hand[-1] < by_hand[0] - 0.1  # the weights moved, so the gradients matter
    np.testing.assert_allclose(curve(tmp_path, 1, "float64"), by_hand, rtol=0, atol=1e-10)
    np.testing.assert_allclose(curve(tmp_path, 2, "float64"), by_hand, rtol=0, atol=1e-10)


def test_in_float32_they_agree_up_to_rounding(tmp_path):
    np.testing.assert_allclose(curve(tmp_path, 2, "float32"), expected(torch.float32), rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    ("options", "world", "words"),
    [
        ("--batch 51", 2, "2 processes cannot share a batch of 51 equally: choose a multiple of 2"),
        ("--batch 128 --steps 469", 1, "step 469 would be an uneven last batch of 96 images: take at most 468 steps"),
        ("--steps 0", 1, "--steps must be at least 1, and --batch lie in 1..60000"),
        ("--batch 70000", 1, "--batch lie in 1..60000"),
    ],
)
def test_shares_that_are_not_equal_are_refused_in_words(monkeypatch, capsys, options, world, words):
    monkeypatch.setattr(sys, "argv", [str(SCRIPT), *options.split()])
    with pytest.raises(SystemExit):
        script().arguments(world)
    assert words in " ".join(capsys.readouterr().err.split())


def test_an_epoch_that_divides_may_be_repeated(monkeypatch):
    monkeypatch.setattr(sys, "argv", [str(SCRIPT), "--batch", "120", "--steps", "501"])
    assert script().arguments(4).steps == 501


def test_the_shares_of_all_processes_are_the_batch():
    x, y = torch.arange(24.0)[:, None], torch.arange(24)
    args = argparse.Namespace(seed=5, batch=6)
    shares = [script().shares(x, y, args, rank, 3) for rank in range(3)]
    order = torch.Generator().manual_seed(5)
    for _ in range(2):  # epochs
        for whole in torch.randperm(24, generator=order).split(6):
            parts = [next(share) for share in shares]
            assert [len(labels) for _, labels in parts] == [2, 2, 2]
            assert sorted(torch.cat([labels for _, labels in parts]).tolist()) == sorted(whole.tolist())
            assert all(torch.equal(images[:, 0].long(), labels) for images, labels in parts)
