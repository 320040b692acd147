"""How long networks of the zoo take for one image on one core, beside their multiply-accumulates.

    OMP_NUM_THREADS=1 python benchmarks/latency.py   # under a minute; writes cnnbook/data/results/latency.json

One image of 224x224, float32, evaluation mode, PyTorch as it comes (no fused batch norm, no compiler). The networks
take turns, so that a busy moment of the machine hits all of them; what counts is the median. MobileNetV1's
convolutions are timed one by one as well, each on an input of its own size, to tell the kinds apart.
"""

import statistics
import time
from collections.abc import Callable

import torch
from machine import save
from torch import nn
from tqdm import tqdm

from cnnbook import zoo
from cnnbook.zoo import count
from cnnbook.zoo.mobilenet import ConvNormAct, DepthwiseSeparable

NAMES = (
    "alexnet", "vgg16", "resnet18", "resnet50", "mobilenet_v1", "mobilenet_v2", "efficientnet_b0",
    "efficientnet_lite0", "convnext_tiny",
)  # fmt: skip
TWIN, ROUNDS = "mobilenet_v1, full convolutions", 25


def full_twin() -> nn.Module:
    """MobileNetV1 with one ordinary 3x3 convolution in the place of each depthwise separable one."""
    model = zoo.build("mobilenet_v1")
    for index, block in enumerate(model.features):
        if isinstance(block, DepthwiseSeparable):
            depthwise, pointwise = block.depthwise.conv, block.pointwise.conv
            sizes = depthwise.in_channels, pointwise.out_channels, 3, depthwise.stride[0]
            model.features[index] = ConvNormAct(*sizes, act=nn.ReLU)
    return model


def milliseconds(calls: dict[str, Callable], rounds: int = ROUNDS) -> dict[str, list[float]]:
    """The time of each call in each round, the calls taking turns; one round before them is not counted."""
    found = {name: [] for name in calls}
    for turn in tqdm(range(rounds + 1)):
        for name, call in calls.items():
            start = time.perf_counter()
            call()
            if turn:
                found[name].append(1000 * (time.perf_counter() - start))
    return found


def quartiles(times: list[float]) -> dict[str, float]:
    low, middle, high = statistics.quantiles(times, n=4)
    return {"ms": round(middle, 3), "quartiles": [round(low, 3), round(high, 3)]}


def costs(model: nn.Module) -> dict[str, int]:
    return {"macs": count.macs(model, (3, 224, 224)), "parameters": count.parameters(model)}


def convolutions(model: nn.Module, x: torch.Tensor) -> list[tuple[str, nn.Conv2d, torch.Tensor]]:
    """(kind, layer, its input) of every convolution of the model."""
    found, hooks = [], []
    for layer in model.modules():
        if isinstance(layer, nn.Conv2d):
            hooks.append(layer.register_forward_pre_hook(lambda m, args: found.append((kind(m), m, args[0].clone()))))
    model(x)
    for hook in hooks:
        hook.remove()
    return found


def kind(layer: nn.Conv2d) -> str:
    if layer.groups > 1:
        return "depthwise 3x3"
    return "pointwise 1x1" if layer.kernel_size == (1, 1) else "standard 3x3"


def by_kind(model: nn.Module, x: torch.Tensor) -> dict[str, dict]:
    """Layers, MACs and the sum of the median times of each kind of convolution."""
    layers = convolutions(model, x)
    calls = {str(n): (lambda layer=layer, x=x: layer(x)) for n, (_, layer, x) in enumerate(layers)}
    times = [statistics.median(each) for each in milliseconds(calls).values()]
    found: dict[str, dict] = {}
    for (name, layer, each), ms in zip(layers, times, strict=True):
        entry = found.setdefault(name, {"layers": 0, "macs": 0, "ms": 0.0})
        entry["layers"] += 1
        entry["macs"] += count.macs(layer, tuple(each.shape[1:]))
        entry["ms"] = round(entry["ms"] + ms, 3)
    return found


@torch.inference_mode()
def main() -> None:
    torch.set_num_threads(1)
    x = torch.randn(1, 3, 224, 224, generator=torch.Generator().manual_seed(0))
    models = {**{name: zoo.build(name).eval() for name in NAMES}, TWIN: full_twin().eval()}
    times = milliseconds({name: (lambda model=model: model(x)) for name, model in models.items()})
    networks = {name: costs(model) | quartiles(times[name]) for name, model in models.items()}
    for model in ("mobilenet_v1", TWIN):
        networks[model]["kinds"] = by_kind(models[model], x)
    print(save("latency", "benchmarks/latency.py", threads=1, rounds=ROUNDS, networks=networks))


if __name__ == "__main__":
    main()
