"""The shape tracer: shapes and parameters counted by hand, the layer that breaks by name, and nothing left behind."""

import contextlib

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torchvision import models

from cnnbook.trace import Row, shapes, table, trace


class DigitNet(nn.Module):
    """Two convolutions, one pool used twice, functions between them, and a linear layer for `wide` values."""

    def __init__(self, wide: int):
        super().__init__()
        self.conv1, self.pool = nn.Conv2d(1, 16, (5, 3)), nn.MaxPool2d(2)
        self.conv2, self.fc1 = nn.Conv2d(16, 32, 5, stride=(1, 2)), nn.Linear(wide, 10)

    def forward(self, x):
        x = self.pool(F.relu(self.conv1(x)))
        x = self.pool(F.relu(self.conv2(x)))
        return self.fc1(x.view(x.size(0), -1))


class Residual(nn.Module):
    def __init__(self, padding: int):
        super().__init__()
        self.conv = nn.Conv2d(4, 4, 3, padding=padding, dilation=2)

    def forward(self, x):
        return x + self.conv(x)


class Calls(nn.Module):
    """A module that calls a function on its layers and the input."""

    def __init__(self, call, **layers):
        super().__init__()
        self.call = call
        for name, layer in layers.items():
            setattr(self, name, layer)

    def forward(self, x):
        return self.call(self, x)


# Image 28 x 36, batch 3: (5, 3) leaves 24 x 34, pool 12 x 17; 5 with stride (1, 2) leaves 8 x 7, pool 4 x 3 = 384.
CONV1, POOL1 = Row("conv1", "Conv2d", (3, 1, 28, 36), (3, 16, 24, 34), 16 * 15 + 16), (3, 16, 12, 17)
RELU1 = Row("between conv1 and pool", "function", (3, 16, 24, 34), (3, 16, 24, 34), 0)
BY_HAND = [
    CONV1,
    RELU1,
    Row("pool", "MaxPool2d", (3, 16, 24, 34), POOL1, 0),
    Row("conv2", "Conv2d", POOL1, (3, 32, 8, 7), 32 * 16 * 25 + 32),
    Row("between conv2 and pool", "function", (3, 32, 8, 7), (3, 32, 8, 7), 0),
    Row("pool", "MaxPool2d", (3, 32, 8, 7), (3, 32, 4, 3), 0),
    Row("between pool and fc1", "function", (3, 32, 4, 3), (3, 384), 0),
    Row("fc1", "Linear", (3, 384), (3, 10), 3850),
]
IMAGE = torch.zeros(3, 1, 28, 36)


def hooks(model: nn.Module) -> int:
    return sum(len(m._forward_hooks) + len(m._forward_pre_hooks) for m in model.modules())


def test_every_row_as_counted_by_hand():
    model = DigitNet(384)
    assert trace(model, IMAGE) == BY_HAND
    assert hooks(model) == 0


def test_the_table_is_aligned_and_sums_the_parameters():
    lines = table(BY_HAND[:3]).splitlines()
    assert lines == [
        "layer                   type       in               out              parameters",
        "conv1                   Conv2d     (3, 1, 28, 36)   (3, 16, 24, 34)         256",
        "between conv1 and pool  function   (3, 16, 24, 34)  (3, 16, 24, 34)           0",
        "pool                    MaxPool2d  (3, 16, 24, 34)  (3, 16, 12, 17)           0",
        "total                                                                       256",
    ]
    several = table([Row("a", "LSTM", (2, 3), [(2, 4), (1, 4)], 1234)]).splitlines()[1]
    assert several == "a      LSTM  (2, 3)  (2, 4) (1, 4)       1,234"


def test_the_layer_that_breaks_is_named_with_what_it_got_and_wanted():
    model = DigitNet(800)
    with pytest.raises(RuntimeError) as caught:
        trace(model, IMAGE)
    said, cause = caught.value, caught.value.__cause__
    assert str(cause) == "mat1 and mat2 shapes cannot be multiplied (3x384 and 800x10)"
    assert str(said) == f"fc1 (Linear) was given (3, 384) and wants (..., 800): {cause}"
    assert said.__notes__ == [table([*BY_HAND[:-1], Row("fc1", "Linear", (3, 384), None, 8010)])]
    assert said.__notes__[0].splitlines()[-2].split()[-2:] == ["raises", "8,010"]
    assert hooks(model) == 0
    assert model(torch.zeros(2, 1, 32, 48)).shape == (2, 10)  # 32 maps of 5 x 5; no hook is in the way


def test_hooks_of_others_stay():
    model, calls = DigitNet(800), []
    model.conv1.register_forward_hook(lambda *_: calls.append(1))
    with pytest.raises(RuntimeError):
        trace(model, IMAGE)
    assert hooks(model) == 1
    assert calls == [1]


@pytest.mark.parametrize(
    ("layer", "x", "kind", "words"),
    [
        (nn.Conv2d(3, 8, 3), torch.zeros(2, 5, 6, 3), RuntimeError, r"^0 \(Conv2d\) was given \(2, 5, 6, 3\) and wants "
         r"\(N, 3, H, W\): Given groups=1"),
        (nn.Conv1d(4, 8, 3), torch.zeros(2, 5, 6), RuntimeError, r"wants \(N, 4, W\)"),
        (nn.Conv3d(4, 8, 3), torch.zeros(2, 5, 6, 7, 8), RuntimeError, r"wants \(N, 4, D, H, W\)"),
        (nn.BatchNorm2d(6), torch.zeros(6, 7, 8), ValueError, "wants 6 channels in axis 1: expected 4D input .got 3D"),
        (nn.BatchNorm1d(6), torch.zeros(1, 6), ValueError, "Expected more than 1 value per channel"),
        (nn.Embedding(5, 2), torch.tensor([7]), IndexError, r"wants what Embedding\(5, 2\) takes: index out of range"),
    ],
)  # fmt: skip
def test_the_error_keeps_its_type(layer, x, kind, words):
    model = nn.Sequential(layer)
    with pytest.raises(kind, match=words) as caught:
        trace(model, x)
    assert type(caught.value) is type(caught.value.__cause__) is kind
    assert hooks(model) == 0


def test_an_error_whose_type_takes_no_message():
    def call(model, x):
        raise UnicodeDecodeError("utf-8", b"\xff", 0, 1, "no text")

    with pytest.raises(RuntimeError, match="before fc, where the latest shape was .2, 3.: 'utf-8' codec") as caught:
        trace(Calls(call, fc=nn.Linear(3, 4)), torch.zeros(2, 3))
    assert type(caught.value.__cause__) is UnicodeDecodeError


def test_functions_between_layers_are_named():
    steps = {"a": nn.Linear(3, 4), "b": nn.Linear(5, 6)}
    between = Calls(lambda m, x: m.b(m.a(x).view(7, 5)), **steps)
    with pytest.raises(RuntimeError, match=r"^between a and b, where the latest shape was \(2, 4\): shape '\[7, 5\]'"):
        trace(between, torch.zeros(2, 3))
    with pytest.raises(RuntimeError, match=r"^before a, where the latest shape was \(2, 3\): "):
        trace(Calls(lambda m, x: m.a(x.view(5)), **steps), torch.zeros(2, 3))
    after = Calls(lambda m, x: m.b(F.pad(m.a(x), (0, 1))).view(5), **steps)
    with pytest.raises(RuntimeError, match=r"^after b, where the latest shape was \(2, 6\): "):
        trace(after, torch.zeros(2, 3))
    assert [hooks(model) for model in (between, after)] == [0, 0]
    fine = Calls(lambda m, x: m.b(F.pad(m.a(x.flip(0)), (0, 1))).sum(1), **steps)
    assert [row[:4] for row in trace(fine, torch.zeros(2, 3))] == [
        ("before a", "function", (2, 3), (2, 3)),
        ("a", "Linear", (2, 3), (2, 4)),
        ("between a and b", "function", (2, 4), (2, 5)),
        ("b", "Linear", (2, 5), (2, 6)),
        ("after b", "function", (2, 6), (2,)),
    ]


def test_a_function_inside_a_nested_module_is_placed():
    blocks = nn.Sequential(Residual(2), nn.Sequential(Residual(0), nn.Conv2d(4, 1, 1)))
    with pytest.raises(RuntimeError) as caught:
        trace(blocks, torch.zeros(2, 4, 9, 7))
    assert str(caught.value).startswith(
        "in 1.0 (Residual), between 1.0.conv and 1.1, where the latest shape was (2, 4, 5, 3): The size of tensor a (7)"
    )
    assert "1.0.conv" in caught.value.__notes__[0]
    fine = trace(nn.Sequential(Residual(2), nn.Conv2d(4, 1, 1)), torch.zeros(2, 4, 9, 7))
    assert [row.name for row in fine] == ["0.conv", "between 0.conv and 1", "1"]
    assert [row.parameters for row in fine] == [4 * 4 * 9 + 4, 0, 5]


def test_a_layer_called_twice_and_a_weight_used_twice_count_once():
    shared = nn.Linear(3, 3)
    tied = nn.Linear(3, 3, bias=False)
    tied.weight = shared.weight
    rows = trace(nn.Sequential(shared, shared, tied), torch.zeros(2, 3))
    assert [(row.name, row.parameters) for row in rows] == [("0", 12), ("0", 0), ("2", 0)]


def test_several_tensors_in_and_out():
    model = Calls(lambda m, x: m.fc(m.rnn(x["words"], hx=x["state"])[0]), rnn=nn.LSTM(3, 4), fc=nn.Linear(4, 2))
    x = {"words": torch.zeros(5, 2, 3), "state": (torch.zeros(1, 2, 4), torch.zeros(1, 2, 4))}
    assert trace(model, x) == [
        Row("rnn", "LSTM", [(5, 2, 3), (1, 2, 4), (1, 2, 4)], [(5, 2, 4), (1, 2, 4), (1, 2, 4)], 4 * 4 * (3 + 4 + 2)),
        Row("fc", "Linear", (5, 2, 4), (5, 2, 2), 10),
    ]
    assert shapes(3) == []
    assert shapes([torch.zeros(2, 3)]) == (2, 3)


def test_a_module_with_layers_and_parameters_of_its_own():
    class Scaled(nn.Module):
        def __init__(self):
            super().__init__()
            self.scale, self.fc = nn.Parameter(torch.ones(4)), nn.Linear(3, 4)

        def forward(self, x):
            return self.scale[:wide] * self.fc(x)

    wide = 4
    rows = trace(nn.Sequential(Scaled()), torch.zeros(2, 3))
    assert [row[:4] for row in rows[:1]] == [("0.fc", "Linear", (2, 3), (2, 4))]
    assert rows[-1] == Row("0", "Scaled", (2, 3), (2, 4), 4)
    wide = 3
    with pytest.raises(RuntimeError, match=r"^0 \(Scaled\) was given \(2, 3\) and wants what Scaled\("):
        trace(nn.Sequential(Scaled()), torch.zeros(2, 3))


def test_an_error_that_the_model_catches_itself():
    class Guarded(nn.Module):
        def __init__(self):
            super().__init__()
            self.scale, self.fc = nn.Parameter(torch.ones(3)), nn.Linear(9, 4)

        def forward(self, x):
            with contextlib.suppress(RuntimeError):
                self.fc(x[:, :2])
            return self.scale * x

    rows = trace(nn.Sequential(Guarded()), torch.zeros(5, 3))
    assert rows[-1] == Row("0", "Guarded", (5, 3), (5, 3), 3)
    assert "Linear" not in [row.kind for row in rows]


def test_the_model_is_left_as_it_was():
    model = nn.Sequential(nn.Conv2d(1, 3, 3), nn.BatchNorm2d(3), nn.Dropout(), nn.Flatten(), nn.Linear(9, 2))
    x = torch.randn(4, 1, 5, 4, generator=torch.Generator().manual_seed(0))
    before = {name: value.clone() for name, value in model.state_dict().items()}
    random = torch.get_rng_state()
    for _ in range(2):
        with pytest.raises(RuntimeError, match=r"^4 \(Linear\) was given \(4, 18\) and wants \(\.\.\., 9\)"):
            trace(model, x)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert torch.equal(torch.get_rng_state(), random)
    assert model.training
    assert all(parameter.grad is None for parameter in model.parameters())
    seen = []
    trace(Calls(lambda m, x: seen.append(torch.is_grad_enabled()), fc=nn.Linear(3, 4)), x)
    assert seen == [False]
    assert torch.is_grad_enabled()


def test_resnet18_sums_to_its_parameters():
    model = models.resnet18(weights=None)
    rows = trace(model, torch.zeros(2, 3, 64, 96))
    assert sum(row.parameters for row in rows) == 11_689_512
    found = {row.name: row.output for row in rows if row.kind != "function"}
    assert found["conv1"] == (2, 64, 32, 48)
    assert found["layer2.0.downsample.0"] == (2, 128, 8, 12)
    assert found["layer4.1.bn2"] == (2, 512, 2, 3)
    assert found["avgpool"] == (2, 512, 1, 1)
    assert rows[-2] == Row("between avgpool and fc", "function", (2, 512, 1, 1), (2, 512), 0)
    assert len([row for row in rows if row.kind == "ReLU"]) == 17


def test_what_is_no_module():
    with pytest.raises(TypeError, match="model must be a torch.nn.Module, got function"):
        trace(lambda x: x, torch.zeros(1))
