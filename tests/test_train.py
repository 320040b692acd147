"""cnnbook.train: runs that repeat bit for bit, checkpoints that are whole or refused, counts against counts by hand."""

import hashlib
import io
import math
import os
import resource
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from cnnbook import train

N, SIZE = 45, 8  # 45 images in batches of 8: five whole ones and one of 5


class Run:
    """A net with dropout, batch norm, momentum and a schedule on asymmetric images, the same for the same seed."""

    def __init__(self, seed: int = 0):
        rng = np.random.default_rng(7)
        self.x = torch.tensor(rng.standard_normal((N, 2, 5, 7)), dtype=torch.float32)
        self.y = torch.tensor(rng.integers(0, 3, N))
        torch.manual_seed(seed)
        self.model = nn.Sequential(
            nn.Conv2d(2, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Dropout(0.4), nn.Linear(60, 3)
        )
        self.optimizer = torch.optim.SGD(self.model.parameters(), lr=0.1, momentum=0.9)
        self.schedule = torch.optim.lr_scheduler.CosineAnnealingLR(self.optimizer, 18)
        self.generator = train.generator(seed)

    @property
    def parts(self) -> tuple:
        return self.model, self.optimizer, self.schedule

    def fit(self, **options) -> list[float]:
        options = {"epochs": 3, "batch_size": SIZE, "schedule": self.schedule, "generator": self.generator, **options}
        return train.fit(self.model, self.x, self.y, optimizer=self.optimizer, **options)

    def save(self, path: Path, step: int, **extra) -> None:
        train.save(path, *self.parts, step=step, generator=self.generator, **extra)

    def load(self, path: Path) -> dict:
        return train.load(path, *self.parts, self.generator)


def same(a: Run, b: Run) -> bool:
    """Weights and buffers, momentum, schedule and both random states, bit for bit."""
    tensors = [(p, q) for p, q in zip(a.model.state_dict().values(), b.model.state_dict().values(), strict=True)]
    momenta = ([s["momentum_buffer"] for s in run.optimizer.state.values()] for run in (a, b))
    tensors += [*zip(*momenta, strict=True), (a.generator.get_state(), b.generator.get_state())]
    return all(torch.equal(p, q) for p, q in tensors) and a.schedule.state_dict() == b.schedule.state_dict()


@pytest.fixture
def checkpoint(tmp_path):
    run = Run()
    run.fit(epochs=1)
    run.save(tmp_path / "net.pt", step=6, note="good")
    return tmp_path / "net.pt"


def test_fit_is_the_loop_written_out():
    run, plain = Run(), Run()
    torch.manual_seed(1)
    losses = run.fit()
    torch.manual_seed(1)
    expected = []
    plain.model.train()
    for _ in range(3):
        order = torch.randperm(N, generator=plain.generator)
        for i in range(0, N, SIZE):
            chosen = order[i : i + SIZE]
            plain.optimizer.zero_grad()
            loss = F.cross_entropy(plain.model(plain.x[chosen]), plain.y[chosen])
            loss.backward()
            plain.optimizer.step()
            plain.schedule.step()
            expected.append(loss.item())
    assert losses == expected
    assert len(losses) == 18
    assert same(run, plain)


def test_two_runs_are_identical_and_another_seed_is_not():
    first = Run(3)
    losses = first.fit()
    second = Run(3)
    assert second.fit() == losses
    assert same(first, second)
    assert Run(4).fit() != losses


@pytest.mark.parametrize("stop", [1, 4, 6, 7, 11, 12, 17, 18])
def test_resume_is_the_uninterrupted_run_bit_for_bit(tmp_path, stop):
    whole, path = Run(), tmp_path / "net.pt"
    losses = whole.fit(after_step=lambda step, _: whole.save(path, step, seen=step * 2) if step == stop else None)
    after = torch.get_rng_state()
    resumed = Run(seed=9)  # other weights, other order, other random state: all must come from the file
    found = resumed.load(path)
    assert found == {"step": stop, "seen": stop * 2}
    assert resumed.fit(start=stop) == losses[stop:]
    assert same(whole, resumed)
    assert torch.equal(torch.get_rng_state(), after)


def test_resume_after_an_interrupted_epoch(tmp_path):
    whole, broken, path = Run(), Run(), tmp_path / "net.pt"
    torch.manual_seed(5)
    losses = whole.fit()

    def interrupt(step, _):
        if step == 9:
            broken.save(path, step)
        if step == 10:
            raise KeyboardInterrupt

    torch.manual_seed(5)
    with pytest.raises(KeyboardInterrupt):
        broken.fit(after_step=interrupt)
    start = broken.load(path)["step"]
    assert broken.fit(start=start) == losses[9:]
    assert same(whole, broken)


def test_adam_resumes_too(tmp_path):
    def fresh():
        run = Run()
        run.optimizer = torch.optim.AdamW(run.model.parameters(), lr=0.01)
        run.schedule = torch.optim.lr_scheduler.OneCycleLR(run.optimizer, 0.02, total_steps=18)
        return run

    whole = fresh()
    losses = whole.fit(after_step=lambda step, _: whole.save(tmp_path / "a.pt", step) if step == 8 else None)
    resumed = fresh()
    assert resumed.fit(start=resumed.load(tmp_path / "a.pt")["step"]) == losses[8:]


def test_batches_hold_every_image_once_with_its_label():
    x, y = torch.arange(11.0)[:, None], torch.arange(11)
    parts = list(train.batches(x, y, 4, train.generator(2)))
    assert [len(labels) for _, labels in parts] == [4, 4, 3]
    assert all(torch.equal(images[:, 0].long(), labels) for images, labels in parts)
    seen = torch.cat([labels for _, labels in parts])
    assert sorted(seen.tolist()) == list(range(11))
    assert seen.tolist() != list(range(11))
    short = list(train.batches(x, y, 4, train.generator(2), drop_last=True))
    assert [labels.tolist() for _, labels in short] == [labels.tolist() for _, labels in parts[:2]]


def test_drop_last_leaves_the_short_batch_out():
    assert len(Run().fit(epochs=2, drop_last=True)) == 2 * (N // SIZE)


class Fixed(nn.Module):
    """Returns its input, halved in train mode: what it was fed tells the mode it was in."""

    def forward(self, x):
        return x / 2 if self.training else x


def test_evaluate_against_a_hand_count():
    x = torch.tensor([[2.0, 0, 0], [0, 1, 0], [0, 1, 0], [0, 0, 3], [5, 0, 0]])
    y = torch.tensor([0, 1, 2, 2, 1])
    z = math.e
    by_hand = [
        -math.log(z**2 / (z**2 + 2)),
        -math.log(z / (z + 2)),
        -math.log(1 / (z + 2)),
        -math.log(z**3 / (z**3 + 2)),
        -math.log(1 / (z**5 + 2)),
    ]
    found = train.evaluate(Fixed().train(), x, y, batch_size=2)
    assert found.accuracy == 3 / 5
    assert found.loss == pytest.approx(sum(by_hand) / 5, rel=1e-6)
    assert torch.equal(train.logits(Fixed(), x, batch_size=2), x)


def test_logits_need_no_gradients_and_change_no_statistics():
    run = Run()
    before = {name: value.clone() for name, value in run.model.state_dict().items()}
    assert not train.logits(run.model, run.x).requires_grad
    assert all(torch.equal(before[name], value) for name, value in run.model.state_dict().items())


def modes(model: nn.Module) -> list[bool]:
    return [module.training for module in model.modules()]


@pytest.mark.parametrize("layer", [1, 4])
def test_every_layer_is_in_its_own_mode_again(layer):
    run = Run()
    run.model[layer].eval()  # one layer in another mode than the rest
    before = modes(run.model)
    seen = []
    run.fit(epochs=1, after_step=lambda *_: seen.append(modes(run.model)))
    assert seen == [[True] * 7] * 6
    assert modes(run.model) == before
    train.evaluate(run.model, run.x, run.y)
    assert modes(run.model) == before
    with pytest.raises(RuntimeError):
        train.logits(run.model, run.x[:, :1])  # one channel too few
    assert modes(run.model) == before
    with pytest.raises(ZeroDivisionError):
        run.fit(after_step=lambda *_: 1 / 0)
    assert modes(run.model) == before


def test_a_loss_that_is_not_finite_stops_with_its_step_and_keeps_the_weights():
    run, calls, kept = Run(), [], []

    def loss(out, labels):
        calls.append(len(labels))
        return F.cross_entropy(out, labels) * (1 if len(calls) < 3 else math.inf)

    def keep(*_):
        kept[:] = [p.detach().clone() for p in run.model.parameters()]

    with pytest.raises(FloatingPointError, match=r"step 3: the loss is inf"):
        run.fit(epochs=1, loss=loss, after_step=keep)
    assert len(calls) == 3
    assert all(torch.equal(p, q) for p, q in zip(kept, run.model.parameters(), strict=True))
    run = Run()
    run.x[:] = math.nan
    before = [p.clone() for p in run.model.parameters()]
    with pytest.raises(FloatingPointError, match="step 1: the loss is nan"):
        run.fit()
    assert all(torch.equal(p, q) for p, q in zip(before, run.model.parameters(), strict=True))


def test_confusion_against_a_count():
    rng = np.random.default_rng(1)
    labels, predictions = rng.integers(0, 4, 200), rng.integers(1, 4, 200)
    expected = [[int(((labels == i) & (predictions == j)).sum()) for j in range(4)] for i in range(4)]
    found = train.confusion(torch.tensor(labels), torch.tensor(predictions), classes=4)
    assert found.tolist() == expected
    assert not found.is_floating_point()


def test_calibration_by_hand():
    p = torch.tensor([[0.5, 0.5], [0.6, 0.4], [0.25, 0.75], [0.7, 0.3], [1.0, 0.0]])
    labels = torch.tensor([0, 1, 1, 0, 0])
    confidence, accuracy, count = train.calibration(p, labels, bins=4)  # (0, .25], (.25, .5], (.5, .75], (.75, 1]
    assert count.tolist() == [0, 1, 3, 1]
    assert [math.isnan(value) for value in confidence] == [True, False, False, False]
    assert confidence[1:].tolist() == pytest.approx([0.5, (0.6 + 0.75 + 0.7) / 3, 1])
    assert accuracy[1:].tolist() == pytest.approx([1, 2 / 3, 1])
    gap = (abs(0.5 - 1) * 1 + abs((0.6 + 0.75 + 0.7) / 3 - 2 / 3) * 3 + 0) / 5
    assert train.expected_calibration_error(p, labels, bins=4) == pytest.approx(gap)


def test_calibration_against_a_plain_loop():
    rng = np.random.default_rng(3)
    p = rng.dirichlet(np.ones(3) * 0.7, 500)
    labels, bins = rng.integers(0, 3, 500), 15
    gap, counts = 0.0, []
    for low in range(bins):
        inside = (p.max(1) > low / bins) & (p.max(1) <= (low + 1) / bins)
        counts.append(int(inside.sum()))
        if inside.any():
            gap += abs(p.max(1)[inside].mean() - (p.argmax(1) == labels)[inside].mean()) * inside.mean()
    assert train.calibration(torch.tensor(p), torch.tensor(labels)).count.tolist() == counts
    assert train.expected_calibration_error(torch.tensor(p), torch.tensor(labels)) == pytest.approx(gap, abs=1e-12)


def test_a_file_cut_off_anywhere_is_refused(checkpoint):
    content, cut = checkpoint.read_bytes(), checkpoint.with_name("cut.pt")
    lengths = {*range(0, 70), *range(0, len(content), 61), *range(len(content) - 70, len(content))}
    run = Run(seed=9)
    before = [p.clone() for p in run.model.parameters()]
    for length in sorted(lengths):
        cut.write_bytes(content[:length])
        with pytest.raises(ValueError, match="cut off, damaged"):
            run.load(cut)
    assert all(torch.equal(p, q) for p, q in zip(before, run.model.parameters(), strict=True))
    assert run.load(checkpoint) == {"step": 6, "note": "good"}


def test_a_flipped_bit_or_a_longer_file_is_refused(checkpoint):
    content, bad = checkpoint.read_bytes(), checkpoint.with_name("bad.pt")
    for at in (*range(0, len(content), 97), len(content) - 1):
        bad.write_bytes(content[:at] + bytes([content[at] ^ 4]) + content[at + 1 :])
        with pytest.raises(ValueError, match="SHA-256"):
            Run().load(bad)
    bad.write_bytes(content + b"\0")
    with pytest.raises(ValueError, match="SHA-256"):
        Run().load(bad)


HARM = []


def harm(word: str) -> None:
    HARM.append(word)


class Harmful:
    def __reduce__(self):
        return harm, ("executed",)


def test_nothing_in_a_file_is_executed(tmp_path):
    buffer = io.BytesIO()
    torch.save({"model": Harmful()}, buffer)
    (tmp_path / "harmful.pt").write_bytes(buffer.getvalue() + hashlib.sha256(buffer.getvalue()).digest())
    HARM.clear()
    with pytest.raises(ValueError, match="more than tensors"):
        train.load(tmp_path / "harmful.pt", Run().model)
    assert HARM == []
    torch.load(tmp_path / "harmful.pt", weights_only=False)
    assert HARM == ["executed"]  # so the file does harm to a careless reader


def test_torch_reads_the_file_even_so(checkpoint):
    saved = torch.load(checkpoint, weights_only=True)["model"]
    run = Run(seed=9)
    run.load(checkpoint)
    assert all(torch.equal(value, saved[name]) for name, value in run.model.state_dict().items())


def test_a_full_disk_leaves_the_checkpoint_before_and_no_draft(checkpoint):
    before = checkpoint.read_bytes()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) // 2, hard))  # the system refuses in the middle of the file
    try:
        with pytest.raises(OSError, match="too large"):
            Run().save(checkpoint, step=0)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert checkpoint.read_bytes() == before
    assert os.listdir(checkpoint.parent) == [checkpoint.name]


def test_what_could_not_be_loaded_is_not_saved(checkpoint):
    before = checkpoint.read_bytes()
    with pytest.raises(ValueError, match="more than tensors"):
        Run().save(checkpoint, step=0, wrong=np.float64(3))
    assert checkpoint.read_bytes() == before


KILLED = """
import os, random, signal, sys, time
import torch
from torch import nn
from cnnbook import train
torch.set_num_threads(1)
path, draft = sys.argv[1], sys.argv[1] + ".tmp"
model = nn.Linear(700, 300)

def write(value):
    with torch.no_grad():
        for p in model.parameters():
            p.fill_(value)
    train.save(path, model, step=value)

write(0)
drafts = 0
for attempt in range(40):
    child = os.fork()
    if child == 0:
        value = train.load(path, model)["step"]
        while True:
            value += 1
            write(value)
    time.sleep(random.Random(attempt).uniform(0.02, 0.06))
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    step = train.load(path, model)["step"]
    assert all((p == step).all() for p in model.parameters()), "weights of another step"
    if os.path.exists(draft):
        drafts += 1
        try:
            step = train.load(draft, model)["step"]  # killed between the last byte and the change of names
            assert all((p == step).all() for p in model.parameters())
        except ValueError as error:
            assert "cut off" in str(error)
print(drafts, step)
"""


def test_kill_in_the_middle_of_writing_leaves_a_whole_checkpoint(tmp_path):
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", KILLED, str(tmp_path / "net.pt")]
    found = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)
    assert found.returncode == 0, found.stderr
    drafts, step = map(int, found.stdout.split())
    assert drafts > 0  # else no kill came in the middle
    assert step > 40


def other_net(run):
    run.model = nn.Sequential(nn.Conv2d(2, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(60, 4))


def fewer_layers(run):
    run.model = nn.Sequential(nn.Conv2d(2, 4, 3), nn.BatchNorm2d(4))


def double(run):
    run.model.double()


def adam(run):
    run.optimizer = torch.optim.Adam(run.model.parameters())


def fewer_parameters(run):
    run.optimizer = torch.optim.SGD(run.model[5].parameters(), 0.1)


def other_schedule(run):
    run.schedule = torch.optim.lr_scheduler.StepLR(run.optimizer, 3)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (other_net, "of another model: 3.weight is not there in the file"),
        (fewer_layers, r"of another model: 5.weight is \(3, 60\) of torch.float32 in the file, not there in the model"),
        (double, "0.weight is .* torch.float32 in the file, .* torch.float64 in the model"),
        (adam, "saved with SGD as optimizer, not with Adam"),
        (fewer_parameters, r"groups of \[6\] parameters, yours has \[2\]"),
        (other_schedule, "saved with CosineAnnealingLR as schedule, not with StepLR"),
    ],
)
def test_a_checkpoint_of_something_else_is_refused_and_changes_nothing(checkpoint, change, words):
    run = Run(seed=9)
    change(run)
    before, state = [p.clone() for p in run.model.parameters()], torch.get_rng_state()
    with pytest.raises(ValueError, match=words):
        run.load(checkpoint)
    assert all(torch.equal(p, q) for p, q in zip(before, run.model.parameters(), strict=True))
    assert torch.equal(torch.get_rng_state(), state)


def test_a_checkpoint_without_optimizer_gives_none_and_weights_alone_touch_no_random_state(checkpoint, tmp_path):
    run = Run(seed=9)
    state = torch.get_rng_state()
    assert train.load(checkpoint, run.model)["note"] == "good"
    assert torch.equal(torch.get_rng_state(), state)
    train.save(tmp_path / "weights.pt", run.model)
    with pytest.raises(ValueError, match="holds no optimizer"):
        run.load(tmp_path / "weights.pt")


def test_the_device_that_is_there(monkeypatch):
    found = train.device()
    assert torch.zeros(2, device=found).device.type == found.type
    assert train.device("cpu") == torch.device("cpu")
    for mps, cuda, expected in [(True, 2, "cuda"), (True, 0, "mps"), (False, 0, "cpu")]:
        monkeypatch.setattr(torch.backends.mps, "is_available", lambda mps=mps: mps)
        monkeypatch.setattr(torch.cuda, "device_count", lambda cuda=cuda: cuda)
        assert train.device() == torch.device(expected)
    with pytest.raises(ValueError, match="'cuda' is not there; torch finds cpu"):
        train.device("cuda")
    with pytest.raises(ValueError, match="'mps' is not there"):
        train.device("mps")
    with pytest.raises(ValueError, match="'cpu:1' is not there"):
        train.device("cpu:1")
    for name in ("gpu", "cuda:x", ""):
        with pytest.raises(ValueError, match="use 'cuda', 'mps' or 'cpu'"):
            train.device(name)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert train.device("cuda:1") == torch.device("cuda:1")
    with pytest.raises(ValueError, match="'cuda:2' is not there"):
        train.device("cuda:2")


def test_a_generator_is_its_own_and_repeats():
    state = torch.get_rng_state()
    first, second = (torch.rand(3, generator=train.generator(5)) for _ in range(2))
    assert torch.equal(first, second)
    assert not torch.equal(first, torch.rand(3, generator=train.generator(6)))
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"y": lambda y: y.float()}, "labels must be .N,. of int64.* torch.float32"),
        ({"y": lambda y: F.one_hot(y)}, r"labels must be .*got \(45, 3\)"),
        ({"y": lambda y: y + 1}, r"labels go up to 3, but the model returns \(\d+, 3\)"),
        ({"y": lambda y: y - 1}, "labels count from 0; the smallest is -1"),
        ({"y": lambda y: y[:-1]}, "45 images but 44 labels"),
        ({"x": lambda x: x[:0], "y": lambda y: y[:0]}, "at least one"),
        ({"x": lambda x: (x * 255).byte()}, "floats such as .* torch.uint8"),
        ({"x": lambda x: x.to("meta")}, "the model is on cpu but the images on meta"),
        ({"y": lambda y: y.to("meta")}, "the model is on cpu but the labels on meta"),
    ],
)
def test_data_that_do_not_fit_are_refused_in_words(change, words):
    run = Run()
    for name, how in change.items():
        setattr(run, name, how(getattr(run, name)))
    with pytest.raises(ValueError, match=words):
        run.fit()
    with pytest.raises(ValueError, match=words):
        train.evaluate(run.model, run.x, run.y)


def test_numbers_that_do_not_fit_are_refused_in_words():
    run = Run()
    for options, words in [
        ({"batch_size": 0}, "batch size must be at least 1, got 0"),
        ({"batch_size": 46, "drop_last": True}, "45 images make no batch of 46"),
        ({"start": 19}, r"start must lie in 0..18, the steps of 3 epochs; got 19"),
        ({"start": -1}, "start must lie in"),
    ]:
        with pytest.raises(ValueError, match=words):
            run.fit(**options)
    one = torch.tensor([0, 1])
    for call, words in [
        (lambda: train.batches(torch.ones(3), one, 1, train.generator(0)), "3 images but 2 labels"),
        (lambda: train.confusion(one, one[:1], 2), "2 labels but 1 predictions"),
        (lambda: train.confusion(one, one + 1, 2), "predictions must lie in 0..1; they go from 1 to 2"),
        (lambda: train.confusion(one.float(), one, 2), "labels must be"),
        (lambda: train.calibration(torch.tensor([[2.0, -1.0], [0, 1]]), one), "try softmax"),
        (lambda: train.calibration(torch.tensor([[2.0, 3.0], [0, 1]]), one), "try softmax"),
        (lambda: train.calibration(torch.eye(2), one[:1]), "2 rows of probabilities but 1 labels"),
        (lambda: train.calibration(torch.eye(2), one + 1), "labels must lie in 0..1"),
        (lambda: train.calibration(torch.eye(2), one, bins=0), "bins must be at least 1"),
    ]:
        with pytest.raises(ValueError, match=words):
            call()
