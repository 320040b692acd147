"""How good two nets get on all of MNIST, over several seeds: called by `python benchmarks/mnist.py --nets`.

The source's net is trained as its listing says: batches of 128, Adam at 1e-3, 5 epochs, normalised; the images lie in
memory, which changes no number. PoolFirstNet is trained on images that are turned, scaled and shifted anew in every
batch. Its widths and its recipe were chosen with `--held-out`: trained on the first 50,000 training images, compared
on the other 10,000. The test set is looked at after every epoch, for the curve; nothing is selected by it: the result
is that of the last epoch, and no picture is shown to a net in more than one version (no test-time augmentation).
"""

import math
import time

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from tqdm import trange

from cnnbook import train
from cnnbook.data import mnist
from cnnbook.mnist_nets import PoolFirstNet, SourceNet

MEAN, STD = 0.1307, 0.3081
WIDTHS, EPOCHS, BATCH, RATE = (32, 64, 64, 128), 10, 128, 0.01
Data = tuple[Tensor, Tensor, Tensor, Tensor]  # images in [0, 1] and labels to train on, and to test on


def load(device: torch.device, held_out: bool = False, count: int | None = None) -> Data:
    """All of MNIST, or `count` a split; held_out: the first 50,000 training images, and the others as the test."""
    x, y = (torch.from_numpy(part[:count]).to(device) for part in mnist("train"))
    if held_out:
        cut = len(x) * 5 // 6
        return x[:cut], y[:cut], x[cut:], y[cut:]
    return x, y, *(torch.from_numpy(part[:count]).to(device) for part in mnist("test"))


def train_source(data: Data, seed: int) -> tuple[nn.Module, dict]:
    """The listing's training, on tensors: the net, and what it reached."""
    torch.manual_seed(seed)
    net = SourceNet().to(data[0].device, memory_format=torch.channels_last)
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-3)
    return net, fit(net, data, seed, optimizer, epochs=5, batch=128)


def train_pool_first(data: Data, seed: int) -> tuple[nn.Module, dict]:
    """PoolFirstNet on images that are never twice the same, labels softened, at a rate that ends at zero."""
    torch.manual_seed(seed)
    net = PoolFirstNet(WIDTHS).to(data[0].device, memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(net.parameters(), lr=RATE, weight_decay=0.05)
    steps = EPOCHS * math.ceil(len(data[0]) / BATCH)
    cycle = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, steps, pct_start=0.2, anneal_strategy="linear")
    return net, fit(net, data, seed, optimizer, EPOCHS, BATCH, cycle, smoothing=0.1, vary=True, autocast=True)


def fit(net, data, seed, optimizer, epochs, batch, cycle=None, smoothing=0.0, vary=False, autocast=False) -> dict:
    """Train the net in place; its test accuracy after each epoch, and the seconds without the evaluations."""
    x, y, test_x, test_y = data
    generator = torch.Generator().manual_seed(seed)
    curve, seconds = [], 0.0
    for _ in trange(epochs, desc=f"{type(net).__name__}, seed {seed}", unit="epoch"):
        start = time.perf_counter()
        for chosen in torch.randperm(len(x), generator=generator).split(batch):
            images = varied(x[chosen], generator) if vary else x[chosen]
            optimizer.zero_grad()
            F.cross_entropy(logits(net, images, autocast), y[chosen], label_smoothing=smoothing).backward()
            optimizer.step()
            if cycle:
                cycle.step()
        seconds += time.perf_counter() - start
        curve.append(round((predict(net, test_x, autocast).argmax(1) == test_y).float().mean().item(), 4))
    run = {"seed": seed, "accuracy": curve[-1], "seconds": round(seconds, 1), "epochs": epochs}
    return run | {"threads": torch.get_num_threads(), "curve": curve}


def logits(net: nn.Module, images: Tensor, autocast: bool) -> Tensor:
    """(N, 10) float32 for images (N, 1, 28, 28) in [0, 1]; the net's convolutions run in bfloat16 with autocast."""
    images = ((images - MEAN) / STD).contiguous(memory_format=torch.channels_last)
    with torch.autocast(images.device.type, torch.bfloat16, enabled=autocast):
        return net(images).float()


@torch.no_grad()
def predict(net: nn.Module, images: Tensor, autocast: bool) -> Tensor:
    """Probabilities (N, 10), in eval mode."""
    net.eval()
    found = torch.cat([logits(net, part, autocast) for part in images.split(1000)]).softmax(1)
    net.train()
    return found


def varied(x: Tensor, generator: torch.Generator) -> Tensor:
    """Square images (N, 1, S, S), each turned by up to 10 degrees, scaled by up to 10 %, shifted by up to 2 px.

    Bilinear; what comes in from beyond the border is background, so x must be 0 there: raw values, not normalised.
    """
    draw = 2 * torch.rand(4, len(x), generator=generator) - 1
    angle, scale = draw[0] * math.radians(10), 1 + 0.1 * draw[1]
    shift = draw[2:] * 2 * 2 / x.shape[-1]  # 2 px; the grid runs from -1 to 1, so a pixel is 2 / S
    cos, sin = angle.cos() * scale, angle.sin() * scale
    matrix = torch.stack([torch.stack([cos, -sin, shift[0]], 1), torch.stack([sin, cos, shift[1]], 1)], 1)
    grid = F.affine_grid(matrix.to(x.device), x.shape, align_corners=False)
    return F.grid_sample(x, grid, align_corners=False)


def look_closer(probabilities: Tensor, labels: Tensor, worst: int = 24) -> dict:
    """Confusion, calibration in 15 bins, and the mistakes in which the net gave the right class the least."""
    bins = train.calibration(probabilities, labels)
    right = probabilities.gather(1, labels[:, None])[:, 0]
    confidence, predicted = probabilities.max(1)
    wrong = (predicted != labels).nonzero()[:, 0]
    chosen = wrong[right[wrong].argsort()][:worst]
    rounded = {name: [None if v != v else round(v, 4) for v in getattr(bins, name).tolist()] for name in bins._fields}
    mistakes = [
        {"index": i, "label": int(labels[i]), "predicted": int(predicted[i]), "probability": round(float(p), 4)}
        for i, p in zip(chosen.tolist(), confidence[chosen], strict=True)
    ]
    return {
        "confusion": train.confusion(labels, predicted).tolist(),
        "calibration": rounded | {"ece": round(train.expected_calibration_error(probabilities, labels), 5)},
        "mistakes": mistakes,
    }


def measure(name: str, data: Data, seed: int, before: list[dict]) -> dict:
    """Train one net; its run after those `before`, and a closer look at the first of them."""
    net, run = TRAINERS[name](data, seed)
    found = {"parameters": sum(p.numel() for p in net.parameters()), "epochs": run["epochs"], "runs": [*before, run]}
    if not before:
        probabilities = predict(net, data[2], AUTOCAST[name])
        found["closer"] = {"seed": seed} | look_closer(probabilities.cpu(), data[3].cpu())
    return found


TRAINERS = {"SourceNet": train_source, "PoolFirstNet": train_pool_first}
AUTOCAST = {"SourceNet": False, "PoolFirstNet": True}
