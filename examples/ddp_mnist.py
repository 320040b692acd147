"""Data-parallel training: every process holds the whole net and a part of each batch, and gradients are averaged.

    torchrun --standalone --nproc-per-node 2 examples/ddp_mnist.py --steps 20     # two processes
    python examples/ddp_mnist.py --steps 20                                       # one: the same loss curve

`--batch` is the GLOBAL batch. All processes draw the same order from the same seed, and each takes its own rows of
every batch. The mean over equal shares is the mean over the batch, so the curves agree up to rounding: over the first
12 steps within 1e-10 in float64 and 1e-5 in float32, which the tests check. Sums in another order round differently,
and training makes the difference grow: after 300 steps the float32 curves lay up to 0.03 apart, those of float64
less than 1e-14 (at the default learning rate). Unequal shares would be weighted wrongly, so they are refused.

Gloo carries the gradients on the CPU, NCCL between GPUs (one process a GPU).

The net has no batch norm: each process would normalise with the statistics of its own share, which is another
function than one process computes (SyncBatchNorm exchanges them, on GPUs only). Nor dropout: the masks would differ.
"""

import argparse
import contextlib
import io
import json
import os
from collections.abc import Iterator
from pathlib import Path

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from tqdm import tqdm

from cnnbook import data, train

IMAGES = 60_000


def arguments(world: int) -> argparse.Namespace:
    """The command line, or an exit that says in words what does not go."""
    parser = argparse.ArgumentParser(description="Data-parallel training on MNIST", allow_abbrev=False)
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--batch", type=int, default=128, help="images a step, over all processes")
    parser.add_argument("--lr", type=float, default=0.1)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--dtype", choices=("float32", "float64"), default="float32")
    parser.add_argument("--device", choices=("cuda", "cpu"), help="unless given, cuda if every process can have a GPU")
    parser.add_argument("--out", type=Path, default=Path("ddp_mnist.json"))
    args = parser.parse_args()
    if args.steps < 1 or not 1 <= args.batch <= IMAGES:
        parser.error(f"--steps must be at least 1, and --batch lie in 1..{IMAGES}")
    if args.batch % world:
        parser.error(f"{world} processes cannot share a batch of {args.batch} equally: choose a multiple of {world}")
    if args.steps > IMAGES // args.batch and IMAGES % args.batch:
        parser.error(
            f"step {IMAGES // args.batch + 1} would be an uneven last batch of {IMAGES % args.batch} images: take at "
            f"most {IMAGES // args.batch} steps, or a batch that divides {IMAGES}, such as 120 or 480"
        )
    return args


def net() -> nn.Sequential:
    """A small CNN whose output for one image depends on that image alone."""
    return nn.Sequential(
        nn.Conv2d(1, 8, 5, stride=2),
        nn.ReLU(),
        nn.Conv2d(8, 16, 5, stride=2),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(16 * 4 * 4, 10),
    )


def shares(x: Tensor, y: Tensor, args: argparse.Namespace, rank: int, world: int) -> Iterator[tuple[Tensor, Tensor]]:
    """For ever: the rows of each global batch that belong to process `rank`."""
    order = train.generator(args.seed)  # the same on every process
    while True:
        for images, labels in train.batches(x, y, args.batch, order):
            yield images[rank::world], labels[rank::world]


def losses(x: Tensor, y: Tensor, args: argparse.Namespace, rank: int, world: int) -> list[float]:
    """The mean loss over the global batch, at every step."""
    torch.manual_seed(args.seed)  # the first weights; DistributedDataParallel also sends those of rank 0 to all
    model = net().to(x.device, x.dtype)
    model = DistributedDataParallel(model) if world > 1 else model
    optimizer = torch.optim.SGD(model.parameters(), lr=args.lr, momentum=0.9)
    found, mine = [], shares(x, y, args, rank, world)
    for _ in tqdm(range(args.steps), unit="step", disable=True if rank else None):
        images, labels = next(mine)
        loss = F.cross_entropy(model(images), labels)
        optimizer.zero_grad()
        loss.backward()  # here the gradients are averaged over the processes
        optimizer.step()
        mean = loss.detach() / world
        if world > 1:
            dist.all_reduce(mean)  # the sum over the processes
        found.append(mean.item())
    return found


def load(args: argparse.Namespace, device: torch.device, rank: int) -> tuple[Tensor, Tensor]:
    """All training images and labels; only process 0 says where they are from."""
    with contextlib.redirect_stdout(io.StringIO()) if rank else contextlib.nullcontext():
        x, y = data.mnist("train")
    return torch.from_numpy(x).to(device, getattr(torch, args.dtype)), torch.from_numpy(y).to(device)


def choose(name: str | None, local_rank: int, processes: int) -> torch.device:
    """One GPU a process where there are enough, else the CPU; the device that was asked for, or ValueError."""
    if name is None:
        name = "cuda" if torch.cuda.device_count() >= processes else "cpu"
    return train.device(f"cuda:{local_rank}" if name == "cuda" else name)


def main() -> None:
    rank, world = int(os.environ.get("RANK", 0)), int(os.environ.get("WORLD_SIZE", 1))  # torchrun sets these
    args = arguments(world)
    device = choose(args.device, int(os.environ.get("LOCAL_RANK", 0)), int(os.environ.get("LOCAL_WORLD_SIZE", 1)))
    if device.type == "cuda":
        torch.cuda.set_device(device)
    if world > 1:
        dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
    try:
        curve = losses(*load(args, device, rank), args, rank, world)
    finally:
        if world > 1:
            dist.destroy_process_group()
    if rank == 0:
        run = {"world": world, "batch": args.batch, "dtype": args.dtype, "device": str(device), "losses": curve}
        args.out.write_text(json.dumps(run) + "\n", encoding="utf-8")
        print(f"{world} process(es), loss {curve[0]:.4f} to {curve[-1]:.4f} in {args.steps} steps: {args.out}")


if __name__ == "__main__":
    main()
