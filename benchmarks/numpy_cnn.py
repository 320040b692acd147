"""How fast is a CNN in NumPy? python benchmarks/numpy_cnn.py (about three minutes on two quiet cores)

One training step (64 images of 28×28; 8 and 16 filters of 3×3, each with ReLU and 2×2 max pooling, then 10 outputs)
with Python loops in float64, with cnnbook.layers and with torch, both in float32; and convolutions alone, against
torch and against the bare matrix products of their sizes. Each contestant runs in a process of its own, so that their
threads do not get into each other's way; they take turns, the shortest call of a round counts, and a ratio is the
median over rounds of the ratio of that round.
Prints tables, and writes cnnbook/data/results/numpy_cnn.json for page 13.
"""

import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F
from machine import save
from source_loops import Conv2D, Dense, Flatten, MaxPool2D, ReLU, train_step
from tqdm import tqdm

from cnnbook import layers

ROUNDS, LR, CHECKED_STEPS = 15, 0.01, 5
SIZES = [(1, 8, 28, 64), (8, 16, 14, 64), (64, 64, 32, 16), (128, 128, 16, 16)]  # in, out, height = width, batch
PASSES = ("forward", "forward and backward")
Jobs = dict[str, Callable[[], object]]


def batch() -> tuple[np.ndarray, np.ndarray]:
    """64 images of noise, as in the lesson's own trial run, and labels; no ties, which its pooling would get wrong."""
    rng = np.random.default_rng(0)
    return rng.standard_normal((64, 1, 28, 28)).astype(np.float32), rng.integers(0, 10, 64)


def network() -> layers.Sequential:
    rng = np.random.default_rng(1)
    first, second = layers.Conv2D(1, 8, 3, padding=1, rng=rng), layers.Conv2D(8, 16, 3, padding=1, rng=rng)
    stages = [part for conv in (first, second) for part in (conv, layers.ReLU(), layers.MaxPool2D(2))]
    return layers.Sequential(*stages, layers.Flatten(), layers.Dense(784, 10, rng=rng))


def loops_jobs() -> Jobs:
    """The loops, with the same weights as the others."""
    net, (x, labels) = network(), batch()
    stages = [part for sizes in ((1, 8), (8, 16)) for part in (Conv2D(*sizes, 3, padding=1), ReLU(), MaxPool2D())]
    stages += [Flatten(), Dense(784, 10)]
    for index in (0, 3, 7):
        weight = net.params[f"{index}.weight"].astype(float)
        stages[index].W = weight.T.copy() if index == 7 else weight
    return {"step": lambda: train_step(stages, x.astype(float), labels, LR)}


def numpy_jobs() -> Jobs:
    """Our layers, and the bare matrix products."""
    net, (x, labels) = network(), batch()
    optimizer = layers.SGD(net, LR)

    def step() -> float:
        loss, dlogits = layers.softmax_cross_entropy(net.forward(x, training=True), labels)
        net.backward(dlogits, input_gradient=False)
        optimizer.step()
        return loss

    return {"step": step} | {key: job for size in SIZES for key, job in numpy_convolution(*size).items()}


def image(seed: int, channels: int, side: int, count: int) -> np.ndarray:
    """A batch that lies in memory as the layer before leaves it."""
    rng = np.random.default_rng(seed)
    return rng.standard_normal((channels, side, side, count), np.float32).transpose(3, 0, 1, 2)


def numpy_convolution(c_in: int, c_out: int, side: int, count: int) -> Jobs:
    """A convolution, and its three matrix products."""
    layer = layers.Conv2D(c_in, c_out, 3, padding=1, rng=np.random.default_rng(2))
    x, dout = image(3, c_in, side, count), image(4, c_out, side, count)
    weight, flat = layer.params["weight"].reshape(c_out, -1), dout.transpose(1, 2, 3, 0).reshape(c_out, -1)
    columns = np.ones((c_in * 9, side * side * count), np.float32)
    key = name(c_in, c_out, side, count)
    return {
        f"{key} forward": lambda: layer.forward(x),
        f"{key} forward and backward": lambda: (layer.forward(x), layer.backward(dout)),
        f"{key} forward, product": lambda: np.matmul(weight, columns),
        f"{key} forward and backward, product": lambda: (weight @ columns, flat @ columns.T, weight.T @ flat),
    }


def torch_jobs() -> Jobs:
    """The same in torch, with the same weights in the step."""
    net, (x, labels) = network(), map(torch.from_numpy, batch())
    params = [torch.tensor(value, requires_grad=True) for value in net.params.values()]
    optimizer = torch.optim.SGD(params, LR)

    def step() -> float:
        y = F.max_pool2d(F.relu(F.conv2d(x, *params[:2], padding=1)), 2)
        y = F.max_pool2d(F.relu(F.conv2d(y, *params[2:4], padding=1)), 2)
        loss = F.cross_entropy(F.linear(y.flatten(1), *params[4:]), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss.item()

    return {"step": step} | {key: job for size in SIZES for key, job in torch_convolution(*size).items()}


def torch_convolution(c_in: int, c_out: int, side: int, count: int) -> Jobs:
    generator = torch.Generator().manual_seed(2)
    x, dout = (torch.randn(count, c, side, side, generator=generator) for c in (c_in, c_out))
    leaves = [x.requires_grad_(), torch.randn(c_out, c_in, 3, 3, generator=generator).requires_grad_()]
    leaves.append(torch.zeros(c_out, requires_grad=True))

    @torch.no_grad()
    def forward() -> torch.Tensor:
        return F.conv2d(*leaves, padding=1)

    key = name(c_in, c_out, side, count)
    both = lambda: torch.autograd.grad(F.conv2d(*leaves, padding=1), leaves, dout)  # noqa: E731
    return {f"{key} forward": forward, f"{key} forward and backward": both}


def name(c_in: int, c_out: int, side: int, count: int) -> str:
    return f"{c_in} to {c_out}, {side}×{side}, batch {count}"


CONTESTANTS = {"loops": loops_jobs, "numpy": numpy_jobs, "torch": torch_jobs}


def serve(contestant: str) -> None:
    """Run the jobs that the parent names, a line each: "<repeats> <job>"; answer with what the last call returned in
    a checked step, else with the seconds of every call."""
    jobs = CONTESTANTS[contestant]()
    for line in sys.stdin:
        repeats, job = line.rstrip("\n").split(" ", 1)
        if job == "losses":
            print(json.dumps([float(jobs["step"]()) for _ in range(int(repeats))]), flush=True)
        else:
            print(json.dumps([seconds(jobs[job]) for _ in range(int(repeats))]), flush=True)


def seconds(job: Callable[[], object]) -> float:
    start = time.perf_counter()
    job()
    return time.perf_counter() - start


class Worker:
    """A contestant in its own process, with this many threads."""

    def __init__(self, contestant: str, threads: int) -> None:
        limits = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), str(threads))
        command = [sys.executable, __file__, contestant]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
        self.process = subprocess.Popen(command, env={**os.environ, **limits}, **pipes)

    def ask(self, repeats: int, job: str) -> list[float]:
        self.process.stdin.write(f"{repeats} {job}\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())

    def close(self) -> None:
        self.process.stdin.close()
        self.process.wait()


def race(entries: dict[str, tuple[Worker, str, int]], bar: tqdm) -> dict[str, list[float]]:
    """Each entry's shortest call of each round in milliseconds; an entry is (worker, job, repeats)."""
    found = {entry: [] for entry in entries}
    for _ in range(ROUNDS):
        for entry, (worker, job, repeats) in entries.items():
            found[entry].append(1000 * min(worker.ask(repeats + 1, job)[1:]))  # the first call warms up
        bar.update()
    return found


def summary(times: dict[str, list[float]], over: dict[str, tuple[str, str]]) -> dict:
    """Median milliseconds, and for each ratio its quartiles over the rounds."""
    found = {f"{entry}_ms": round(statistics.median(values), 3) for entry, values in times.items()}
    for ratio, (above, below) in over.items():
        each = [a / b for a, b in zip(times[above], times[below], strict=True)]
        found[ratio] = [round(value, 2) for value in statistics.quantiles(each, n=4)]
    return found


def measure(threads: int, bar: tqdm) -> dict:
    """The step and all convolutions on this many threads."""
    workers = {contestant: Worker(contestant, threads) for contestant in CONTESTANTS}
    losses = np.array([worker.ask(CHECKED_STEPS, "losses") for worker in workers.values()])
    np.testing.assert_allclose(losses, losses[:1].repeat(3, 0), rtol=1e-4)  # all three train the same network
    repeats = {"loops": 2, "numpy": 20, "torch": 20}
    step = race({contestant: (workers[contestant], "step", repeats[contestant]) for contestant in workers}, bar)
    found = {
        "threads": threads,
        "step": summary(step, {"speedup": ("loops", "numpy"), "over_torch": ("numpy", "torch")}),
        "convolutions": [convolution(workers["numpy"], workers["torch"], size, bar) for size in SIZES],
    }
    for worker in workers.values():
        worker.close()
    return found


def convolution(ours: Worker, theirs: Worker, size: tuple[int, int, int, int], bar: tqdm) -> dict:
    """One size, forward alone and with its backward pass."""
    row = dict(zip(("in", "out", "side", "batch"), size, strict=True))
    for part in PASSES:
        job = f"{name(*size)} {part}"
        entries = {"numpy": (ours, job, 7), "torch": (theirs, job, 7), "product": (ours, f"{job}, product", 7)}
        row[part] = summary(
            race(entries, bar), {"over_torch": ("numpy", "torch"), "over_product": ("numpy", "product")}
        )
    return row


def show(found: dict) -> None:
    """Markdown tables: medians, and the quartiles of each ratio in brackets."""
    ratio = lambda quartiles: "{1} ({0} to {2})".format(*quartiles)  # noqa: E731
    step = found["step"]
    print(f"\n{found['threads']} thread(s)\n\n| | loops | NumPy | torch | loops / NumPy | NumPy / torch |")
    print("|---|---|---|---|---|---|")
    print(f"| training step, ms | {step['loops_ms']:.0f} | {step['numpy_ms']:.2f} | {step['torch_ms']:.2f} "
          f"| {ratio(step['speedup'])} | {ratio(step['over_torch'])} |")  # fmt: skip
    print("\n| convolution | NumPy, ms | torch, ms | product, ms | NumPy / torch | NumPy / product |")
    print("|---|---|---|---|---|---|")
    for row in found["convolutions"]:
        for part in PASSES:
            cell = row[part]
            print(f"| {name(row['in'], row['out'], row['side'], row['batch'])}, {part} | {cell['numpy_ms']:.2f} "
                  f"| {cell['torch_ms']:.2f} | {cell['product_ms']:.2f} | {ratio(cell['over_torch'])} "
                  f"| {ratio(cell['over_product'])} |")  # fmt: skip


def main() -> None:
    with tqdm(total=2 * ROUNDS * (1 + len(SIZES) * len(PASSES)), unit="round") as bar:
        runs = [measure(threads, bar) for threads in (1, 2)]
    for found in runs:
        show(found)
    print(save("numpy_cnn", "benchmarks/numpy_cnn.py", rounds=ROUNDS, runs=runs))


if __name__ == "__main__":
    serve(sys.argv[1]) if len(sys.argv) > 1 else main()
