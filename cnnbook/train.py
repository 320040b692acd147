"""Training, evaluation and checkpoints of a classifier, once page 14 has written the loop out; nothing magic."""

import hashlib
import io
import math
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from tqdm import tqdm

DIGEST = hashlib.sha256().digest_size


class Evaluation(NamedTuple):
    """Mean cross-entropy in nats, and the fraction of images whose largest logit is the right one."""

    loss: float
    accuracy: float


class Calibration(NamedTuple):
    """One value a bin: mean confidence and accuracy (NaN where a bin is empty), and how many images fell into it."""

    confidence: Tensor
    accuracy: Tensor
    count: Tensor


def device(name: str | None = None) -> torch.device:
    """The device called `name` ('cuda', 'cuda:1', 'mps', 'cpu'), or the first of cuda, mps and cpu that is there.

    Raises ValueError for a device that this machine or this build of torch does not have.
    """
    counts = {"cuda": torch.cuda.device_count(), "mps": int(torch.backends.mps.is_available()), "cpu": 1}
    there = [kind for kind, count in counts.items() if count]
    kind, _, index = (there[0] if name is None else name).partition(":")
    if kind not in counts or (index and not index.isdecimal()):
        raise ValueError(f"no device is called {name!r}; use 'cuda', 'mps' or 'cpu'")
    if int(index or 0) >= counts[kind]:
        raise ValueError(f"device {name!r} is not there; torch finds {', '.join(there)} ({counts['cuda']} GPUs)")
    return torch.device(f"{kind}:{index}" if index else kind)


def generator(seed: int, device: str | torch.device = "cpu") -> torch.Generator:
    """A source of random numbers of its own, for the order of the images.

    It does not cover what draws from torch's global state: a net's first weights, and dropout. For those:

        with torch.random.fork_rng():   # puts the global state back afterwards
            torch.manual_seed(seed)
            net = Net()
            train.fit(net, ...)

    Then a run on the CPU repeats bit for bit, on the same machine with the same torch and number of threads. A GPU
    adds in an order that varies, unless torch.use_deterministic_algorithms(True) is set.
    """
    return torch.Generator(device).manual_seed(seed)


def batches(
    x: Tensor, y: Tensor, size: int, generator: torch.Generator, drop_last: bool = False
) -> Iterator[tuple[Tensor, Tensor]]:
    """Every image of x (N, ...) and its label of y (N,) once, `size` at a time, in an order that `generator` draws.

    The tensors are not copied to another device: have them there before. The last batch holds what is left; with
    drop_last it is left out. Raises ValueError for lengths that differ and where not one batch would come.
    """
    steps = _batch_count(x, y, size, drop_last)
    order = torch.randperm(len(x), generator=generator, device=generator.device).to(x.device)
    return ((x[chosen], y[chosen]) for chosen in islice(order.split(size), steps))


def fit(
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    *,
    epochs: int,
    batch_size: int,
    optimizer: torch.optim.Optimizer,
    generator: torch.Generator,
    schedule: torch.optim.lr_scheduler.LRScheduler | None = None,
    loss: Callable[[Tensor, Tensor], Tensor] = F.cross_entropy,
    drop_last: bool = False,
    start: int = 0,
    after_step: Callable[[int, float], Any] | None = None,
) -> list[float]:
    """Train the model on images x (N, ...) with classes y (N,) int64; returns the loss of every step.

    The schedule steps once a batch. after_step(steps done, loss) runs after each, say to `save` or to `evaluate`.
    To resume, `load` and pass the step as `start`: the generator moves on only when an epoch is complete, so it and
    the step say at any time where the run stands. Every layer is in train mode, and then in the mode it had before.
    Raises ValueError for images, labels, model and devices that do not fit each other, and FloatingPointError, the
    weights still those of the step before, where the loss is NaN or infinite.
    """
    classes = _check_images(model, x, y)
    order, total = _order(x, y, epochs, batch_size, generator, drop_last, start)
    losses = []
    with _mode(model, training=True):
        for step, images, labels in tqdm(order, total=total, initial=start, unit="step"):
            optimizer.zero_grad()
            value = loss(_enough_outputs(model(images), classes), labels)
            losses.append(_finite(value.item(), step))
            value.backward()
            optimizer.step()
            if schedule is not None:
                schedule.step()
            if after_step is not None:
                after_step(step, losses[-1])
    return losses


def logits(model: nn.Module, x: Tensor, batch_size: int = 1000) -> Tensor:
    """What the model returns for x (N, ...), one row an image, in eval mode and without gradients.

    Every layer is then in the mode it had before. Raises ValueError for images that do not fit the model's device.
    """
    _check_images(model, x)
    with _mode(model, training=False), torch.no_grad():
        return torch.cat([model(part) for part in x.split(batch_size)])


def evaluate(model: nn.Module, x: Tensor, y: Tensor, batch_size: int = 1000) -> Evaluation:
    """Mean cross-entropy and accuracy on images x (N, ...) with classes y (N,), as `logits` computes them.

    Raises ValueError as `fit` does.
    """
    classes = _check_images(model, x, y)
    out = _enough_outputs(logits(model, x, batch_size), classes)
    right = (out.argmax(1) == y).sum().item()
    return Evaluation(F.cross_entropy(out, y).item(), right / len(y))


def confusion(labels: Tensor, predictions: Tensor, classes: int = 10) -> Tensor:
    """How often each class (row) was taken for each class (column): (classes, classes) int64, on the CPU.

    Raises ValueError for lengths that differ and for a class outside 0..classes-1.
    """
    labels, predictions = _classes("labels", labels, classes), _classes("predictions", predictions, classes)
    if len(labels) != len(predictions):
        raise ValueError(f"{len(labels)} labels but {len(predictions)} predictions: one of each an image is needed")
    return torch.bincount(labels * classes + predictions, minlength=classes**2).reshape(classes, classes)


def calibration(probabilities: Tensor, labels: Tensor, bins: int = 15) -> Calibration:
    """Confidence against accuracy, in bins of equal width (0, 1/bins], ..., (1 - 1/bins, 1], on the CPU.

    The confidence is the largest probability of a row of (N, classes). Guo et al. 2017, arXiv 1706.04599, section 2.
    Raises ValueError for rows that are no probabilities (logits?) and labels that do not fit them.
    """
    p = torch.as_tensor(probabilities).detach().cpu().double()
    if p.ndim != 2 or not len(p) or not (p >= 0).all() or not ((p.sum(1) - 1).abs() < 1e-2).all():
        raise ValueError("probabilities must be (N, classes), no negative ones, each row summing to 1: try softmax")
    if bins < 1:
        raise ValueError(f"bins must be at least 1, got {bins}")
    labels = _classes("labels", labels, p.shape[1])
    if len(labels) != len(p):
        raise ValueError(f"{len(p)} rows of probabilities but {len(labels)} labels")
    confidence, predicted = p.max(1)
    chosen = torch.bucketize(confidence, torch.linspace(0, 1, bins + 1, dtype=torch.float64)[1:-1])
    count = torch.bincount(chosen, minlength=bins)
    right = torch.bincount(chosen, (predicted == labels).double(), minlength=bins)
    return Calibration(torch.bincount(chosen, confidence, minlength=bins) / count, right / count, count)


def expected_calibration_error(probabilities: Tensor, labels: Tensor, bins: int = 15) -> float:
    """Mean gap between confidence and accuracy over the bins of `calibration`, each weighted by its images."""
    confidence, accuracy, count = calibration(probabilities, labels, bins)
    return ((confidence - accuracy).abs().nan_to_num() * count / count.sum()).sum().item()


def save(
    path: str | Path,
    model: nn.Module,
    optimizer: torch.optim.Optimizer | None = None,
    schedule: torch.optim.lr_scheduler.LRScheduler | None = None,
    *,
    step: int = 0,
    generator: torch.Generator | None = None,
    **extra: Any,
) -> None:
    """Write a checkpoint: all that `load` needs to go on as if nothing had happened, torch's global random state too.

    Whole or not at all: it goes to `path`.tmp, to the disk, and only then takes the place of the checkpoint before.
    Its last 32 bytes are the SHA-256 of the rest (torch.load notices no flipped byte; it reads the file even so).
    `extra` holds what you like of numbers, strings, tensors, lists and dicts; anything else raises ValueError.
    One process may write a path at a time.
    """
    parts = {"model": model, "optimizer": optimizer, "schedule": schedule}
    state = {name: part.state_dict() for name, part in parts.items() if part is not None}
    state |= {"kinds": {name: type(part).__name__ for name, part in parts.items() if part is not None}}
    state |= {"step": step, "extra": extra, "random": _random_state(model)}
    if generator is not None:
        state["generator"] = generator.get_state()
    buffer = io.BytesIO()
    torch.save(state, buffer)
    _unpack(buffer.getvalue(), "what you want to save")
    _replace(Path(path), buffer.getvalue() + hashlib.sha256(buffer.getvalue()).digest())


def load(
    path: str | Path,
    model: nn.Module,
    optimizer: torch.optim.Optimizer | None = None,
    schedule: torch.optim.lr_scheduler.LRScheduler | None = None,
    generator: torch.Generator | None = None,
) -> dict[str, Any]:
    """Put a checkpoint of `save` into the model and what else is given; returns {"step": ..., **extra}.

    With an optimizer, that is to resume, torch's global random state is set as well. On the CPU the run then goes on
    bit for bit as it would have. Raises ValueError, and changes nothing, for a file that is cut off or damaged and
    for a checkpoint of another model, optimizer or schedule. Nothing in the file is executed (weights_only).
    """
    content = Path(path).read_bytes()
    payload, digest = content[:-DIGEST], content[-DIGEST:]
    if hashlib.sha256(payload).digest() != digest:
        raise ValueError(f"{path} is cut off, damaged or no checkpoint of this library: its SHA-256 does not match")
    state = _unpack(payload, str(path))
    given = {"model": model, "optimizer": optimizer, "schedule": schedule, "generator": generator}
    given = {name: part for name, part in given.items() if part is not None}
    _check_checkpoint(path, state, given)
    for name, part in given.items():
        part.set_state(state[name]) if name == "generator" else part.load_state_dict(state[name])
    if optimizer is not None:
        _set_random_state(model, state["random"])
    return {"step": state["step"], **state["extra"]}


@contextmanager
def _mode(model: nn.Module, training: bool) -> Iterator[None]:
    """All layers in train or eval mode, and afterwards each in its own mode again, whatever happened."""
    found = [(module, module.training) for module in model.modules()]
    model.train(training)
    try:
        yield
    finally:
        for module, before in found:
            module.training = before


def _order(
    x: Tensor, y: Tensor, epochs: int, size: int, generator: torch.Generator, drop_last: bool, start: int
) -> tuple[Iterator[tuple[int, Tensor, Tensor]], int]:
    """(number of the step, images, labels) for every step after `start`, and how many steps a whole run has."""
    an_epoch = _batch_count(x, y, size, drop_last)
    if not 0 <= start <= epochs * an_epoch:
        raise ValueError(f"start must lie in 0..{epochs * an_epoch}, the steps of {epochs} epochs; got {start}")

    def steps() -> Iterator[tuple[int, Tensor, Tensor]]:
        step = start
        for _ in range(start // an_epoch, epochs):
            ahead = torch.Generator(generator.device)
            ahead.set_state(generator.get_state())
            for images, labels in islice(batches(x, y, size, ahead, drop_last), step % an_epoch, None):
                step += 1
                if step % an_epoch == 0:
                    generator.set_state(ahead.get_state())
                yield step, images, labels

    return steps(), epochs * an_epoch


def _batch_count(x: Tensor, y: Tensor, size: int, drop_last: bool) -> int:
    _check_lengths(x, y)
    if size < 1:
        raise ValueError(f"the batch size must be at least 1, got {size}")
    count = len(x) // size if drop_last else math.ceil(len(x) / size)
    if not count:
        raise ValueError(f"{len(x)} images make no batch of {size}")
    return count


def _check_lengths(x: Tensor, y: Tensor) -> None:
    if len(x) != len(y):
        raise ValueError(f"{len(x)} images but {len(y)} labels: one label an image is needed")


def _check_images(model: nn.Module, x: Tensor, y: Tensor | None = None) -> int:
    """The classes that the labels need, 0 without labels; ValueError where images, labels and model do not fit."""
    if not len(x) or not x.is_floating_point():
        raise ValueError(f"images must be at least one, and floats such as x.float() / 255; got {len(x)} of {x.dtype}")
    for name, tensor in {"the images": x, "the labels": y}.items():
        if tensor is not None and tensor.device != _device(model, x):
            raise ValueError(f"the model is on {_device(model, x)} but {name} on {tensor.device}: move one with .to()")
    if y is None:
        return 0
    _check_lengths(x, y)
    if y.ndim != 1 or y.dtype != torch.int64:
        raise ValueError(f"labels must be (N,) of int64, one class an image; got {tuple(y.shape)} of {y.dtype}")
    if y.min() < 0:
        raise ValueError(f"labels count from 0; the smallest is {y.min().item()}")
    return y.max().item() + 1


def _classes(name: str, values: Tensor, classes: int) -> Tensor:
    values = torch.as_tensor(values).cpu()
    if values.ndim != 1 or values.is_floating_point() or values.dtype == torch.bool:
        raise ValueError(f"{name} must be (N,) integers, one class an image; got {tuple(values.shape)} {values.dtype}")
    if len(values) and not 0 <= values.min() <= values.max() < classes:
        raise ValueError(f"{name} must lie in 0..{classes - 1}; they go from {values.min()} to {values.max()}")
    return values.long()


def _enough_outputs(out: Tensor, classes: int) -> Tensor:
    if out.ndim != 2 or out.shape[1] < classes:
        raise ValueError(f"labels go up to {classes - 1}, but the model returns {tuple(out.shape)}, not (N, classes)")
    return out


def _finite(loss: float, step: int) -> float:
    if not math.isfinite(loss):
        raise FloatingPointError(f"step {step}: the loss is {loss}; try a smaller learning rate, or look at the input")
    return loss


def _device(model: nn.Module, x: Tensor | None = None) -> torch.device:
    """Where the model's parameters are; where it has none, where x is."""
    return next((p.device for p in model.parameters()), torch.device("cpu") if x is None else x.device)


def _random_state(model: nn.Module) -> dict[str, Tensor]:
    """Torch's global random state on the CPU, and on the model's own device."""
    states, where = {"cpu": torch.get_rng_state()}, _device(model)
    if where.type == "cuda":
        states["cuda"] = torch.cuda.get_rng_state(where)
    elif where.type == "mps":
        states["mps"] = torch.mps.get_rng_state()
    return states


def _set_random_state(model: nn.Module, states: dict[str, Tensor]) -> None:
    torch.set_rng_state(states["cpu"])
    where = _device(model)
    if where.type == "cuda" and "cuda" in states:
        torch.cuda.set_rng_state(states["cuda"], where)
    elif where.type == "mps" and "mps" in states:
        torch.mps.set_rng_state(states["mps"])


def _unpack(payload: bytes, name: str) -> dict[str, Any]:
    try:
        return torch.load(io.BytesIO(payload), map_location="cpu", weights_only=True)
    except Exception as error:
        raise ValueError(f"{name} holds more than tensors, numbers, strings, lists and dicts: {error}") from error


def _replace(path: Path, content: bytes) -> None:
    """Write to a draft in the same folder, to the disk, then take the place of `path` in one act."""
    draft = path.with_name(f"{path.name}.tmp")
    try:
        with draft.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(draft, path)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise


def _check_checkpoint(path: str | Path, state: dict[str, Any], given: dict[str, Any]) -> None:
    """ValueError where what is given is not what was saved, before anything is changed."""
    for name, part in given.items():
        if name not in state:
            raise ValueError(f"{path} holds no {name}")
        saved, found = state["kinds"].get(name), type(part).__name__
        if name in ("optimizer", "schedule") and saved != found:
            raise ValueError(f"{path} was saved with {saved} as {name}, not with {found}")
    _check_model(path, state["model"], given["model"].state_dict())
    if "optimizer" in given:
        parts = (state["optimizer"], given["optimizer"].state_dict())
        saved, found = ([len(group["params"]) for group in part["param_groups"]] for part in parts)
        if saved != found:
            raise ValueError(f"{path} has an optimizer over groups of {saved} parameters, yours has {found}")
    if "generator" in given and state["generator"].shape != given["generator"].get_state().shape:
        raise ValueError(f"{path} was saved with a generator of another device, not {given['generator'].device}")


def _check_model(path: str | Path, saved: dict[str, Any], given: dict[str, Any]) -> None:
    for name in [*given, *saved]:
        before, now = (_layout(part[name]) if name in part else "not there" for part in (saved, given))
        if before != now:
            raise ValueError(f"{path} is of another model: {name} is {before} in the file, {now} in the model")


def _layout(value: Any) -> str:
    return f"{tuple(value.shape)} of {value.dtype}" if isinstance(value, Tensor) else type(value).__name__
