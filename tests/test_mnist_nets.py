"""cnnbook.mnist_nets against hand counts and the same arithmetic written out, and the results stored about them."""

import math
import statistics

import pytest
import torch
import torch.nn.functional as F

from benchmarks import mnist_accuracy
from cnnbook.data import results
from cnnbook.mnist_nets import PoolFirstNet, SourceNet

# weights (and biases) of the convolutions; scale and shift of batch norm; the linear layers
SOURCE = (32 * 9 + 32) + (64 * 32 * 9 + 64) + (128 * 64 * 9 + 128) + 2 * (32 + 64 + 128) + 513 * 128 + 129 * 10
SMALL = 16 * 25 + 32 * 16 * 9 + 32 * 32 * 9 + 64 * 32 * 9 + 2 * (16 + 32 + 32 + 64) + 257 * 10
LARGE = 32 * 25 + 64 * 32 * 9 + 64 * 64 * 9 + 128 * 64 * 9 + 2 * (32 + 64 + 64 + 128) + 513 * 10


def parameters(net: torch.nn.Module) -> int:
    return sum(p.numel() for p in net.parameters())


def shaken(net: torch.nn.Module) -> torch.nn.Module:
    """The net in float64 with every weight, scale, shift and running statistic away from its default."""
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for tensor in net.double().state_dict().values():
            if tensor.is_floating_point():
                tensor += 0.6 * torch.rand(tensor.shape, generator=generator, dtype=torch.float64) - 0.3
    return net


def images(count: int) -> torch.Tensor:
    return torch.randn(count, 1, 28, 28, generator=torch.Generator().manual_seed(4), dtype=torch.float64)


def norm(x: torch.Tensor, state: dict, name: str, training: bool) -> torch.Tensor:
    """Batch norm written out: (x - mean) / sqrt(var + 1e-5) * scale + shift, the variance of a batch over all N*H*W."""
    if training:
        mean, var = x.mean((0, 2, 3)), x.var((0, 2, 3), correction=0)
    else:
        mean, var = state[f"{name}.running_mean"], state[f"{name}.running_var"]
    scale, shift = state[f"{name}.weight"], state[f"{name}.bias"]
    mean, var, scale, shift = (value[:, None, None] for value in (mean, var, scale, shift))
    return (x - mean) / (var + 1e-5).sqrt() * scale + shift


def largest(x: torch.Tensor) -> torch.Tensor:
    """The largest of each 2×2, an odd last row and column left out."""
    h, w = x.shape[2] // 2 * 2, x.shape[3] // 2 * 2
    return x[..., :h, :w].unflatten(3, (-1, 2)).amax(4).unflatten(2, (-1, 2)).amax(3)


def test_parameters_by_hand():
    assert parameters(SourceNet()) == SOURCE == 160_074
    assert parameters(SourceNet(conv_bias=False)) == SOURCE - 32 - 64 - 128 == 159_850
    assert parameters(PoolFirstNet()) == SMALL == 35_514
    assert parameters(PoolFirstNet((32, 64, 64, 128))) == LARGE == 135_530


@pytest.mark.parametrize("conv_bias", [True, False])
def test_source_net_written_out(conv_bias):
    net, x = shaken(SourceNet(conv_bias)).eval(), images(3)
    s, hidden = net.state_dict(), x
    for index, padding in ((0, 1), (4, 1), (8, 0)):
        bias = s[f"features.{index}.bias"] if conv_bias else None
        hidden = F.conv2d(hidden, s[f"features.{index}.weight"], bias, padding=padding)
        hidden = largest(norm(hidden, s, f"features.{index + 1}", training=False).clamp(min=0))
    assert hidden.shape == (3, 128, 2, 2)  # not 3×3, as the source's comment has it
    hidden = (hidden.reshape(3, 512) @ s["classifier.1.weight"].T + s["classifier.1.bias"]).clamp(min=0)
    expected = hidden @ s["classifier.4.weight"].T + s["classifier.4.bias"]
    torch.testing.assert_close(net(x), expected, rtol=1e-10, atol=1e-10)
    net.train()
    assert not torch.allclose(net(x), net(x))  # dropout draws anew


@pytest.mark.parametrize("training", [True, False])
def test_pool_first_net_written_out(training):
    net, x = shaken(PoolFirstNet((3, 5, 4, 6))).train(training), images(4)
    s, hidden = {name: value.clone() for name, value in net.state_dict().items()}, x
    for conv, batch_norm, pools in ((0, 2, True), (4, 5, False), (7, 9, True), (11, 12, False)):
        hidden = F.conv2d(hidden, s[f"features.{conv}.weight"])
        hidden = largest(hidden) if pools else hidden
        hidden = norm(hidden, s, f"features.{batch_norm}", training).clamp(min=0)
    expected = hidden.reshape(4, 24) @ s["classifier.1.weight"].T + s["classifier.1.bias"]
    torch.testing.assert_close(net(x), expected, rtol=1e-10, atol=1e-10)


def test_widths_must_be_four():
    with pytest.raises(ValueError, match="four convolutions, got 3"):
        PoolFirstNet((16, 32, 64))


def test_a_bias_before_batch_norm_learns_nothing():
    torch.manual_seed(0)
    net = SourceNet()
    labels = torch.arange(64) % 10
    F.cross_entropy(net(images(64).float()), labels).backward()
    for index in (0, 4, 8):
        conv = net.features[index]
        assert conv.bias.grad.abs().max() <= 1e-5
        assert conv.weight.grad.abs().max() >= 1e-3
    assert net.features[1].bias.grad.abs().max() >= 1e-3  # the shift of batch norm does the work


def test_varied_shifts_by_two_pixels_at_most(monkeypatch):
    extremes = torch.tensor([[0.5, 0.5], [0.5, 0.5], [1.0, 0.0], [0.0, 0.5]])  # angle, scale, x, y; one column an image
    monkeypatch.setattr(torch, "rand", lambda *size, generator: extremes)
    x = images(2).float().abs()
    expected = torch.zeros_like(x)
    expected[0, :, 2:, :-2] = x[0, :, :-2, 2:]  # 2 px down and to the left
    expected[1, :, :, 2:] = x[1, :, :, :-2]
    torch.testing.assert_close(mnist_accuracy.varied(x, torch.Generator()), expected, rtol=0, atol=1e-4)


def test_varied_turns_and_scales(monkeypatch):
    extremes = torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.5, 0.5], [0.5, 0.5]])  # 10 degrees, 110 %; -10 degrees, 90 %
    monkeypatch.setattr(torch, "rand", lambda *size, generator: extremes)
    row, column = torch.meshgrid(torch.arange(28.0), torch.arange(28.0), indexing="ij")
    x = (3 * row + column).expand(2, 1, 28, 28)
    found = mnist_accuracy.varied(x, torch.Generator())
    for image, turn, scale in ((0, math.radians(10), 1.1), (1, math.radians(-10), 0.9)):
        right, down = 20 - 13.5, 9 - 13.5  # seen from the centre, which stays where it is
        from_column = 13.5 + scale * (math.cos(turn) * right - math.sin(turn) * down)
        from_row = 13.5 + scale * (math.sin(turn) * right + math.cos(turn) * down)
        assert found[image, 0, 9, 20].item() == pytest.approx(3 * from_row + from_column, abs=1e-3)


def test_stored_nets_reach_what_the_book_says():
    nets = results("mnist_nets")["nets"]
    assert nets["SourceNet"]["parameters"] == SOURCE
    assert nets["PoolFirstNet"]["parameters"] == LARGE
    for name, least, seeds in (("SourceNet", 0.985, 3), ("PoolFirstNet", 0.994, 5)):
        accuracies = [run["accuracy"] for run in nets[name]["runs"]]
        assert len(accuracies) >= seeds
        assert min(accuracies) >= least


@pytest.mark.parametrize("name", ["SourceNet", "PoolFirstNet"])
def test_stored_closer_look_agrees_with_itself(name):
    net = results("mnist_nets")["nets"][name]
    closer, run = net["closer"], next(run for run in net["runs"] if run["seed"] == net["closer"]["seed"])
    confusion, bins = torch.tensor(closer["confusion"]), closer["calibration"]
    assert confusion.sum(1).tolist() == [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]  # MNIST's test digits
    assert confusion.trace().item() / 10_000 == pytest.approx(run["accuracy"], abs=1e-9)
    gaps = [
        abs(c - a) * n for c, a, n in zip(*(bins[k] for k in ("confidence", "accuracy", "count")), strict=True) if n
    ]
    assert sum(bins["count"]) == 10_000
    assert sum(gaps) / 10_000 == pytest.approx(bins["ece"], abs=1e-4)
    assert all(mistake["label"] != mistake["predicted"] for mistake in closer["mistakes"])


def test_stored_speed():
    rows = {row["name"]: row for row in results("mnist_speed")["rows"]}
    listing = {run["seed"]: run["seconds"] for run in rows["the source's listing"]["runs"]}
    for row in rows.values():
        ratios = [listing[run["seed"]] / run["seconds"] for run in row["runs"] if run["seed"] in listing]
        assert row["median_ratio"] == pytest.approx(statistics.median(ratios), abs=0.006)
        assert row["reached"] == sum(run["accuracies"][-1] >= 0.99 for run in row["runs"])
    best = max((row for row in rows.values() if row["name"].startswith("+")), key=lambda row: row["median_ratio"])
    assert best["median_ratio"] >= 12
    assert best["reached"] >= 0.8 * len(best["runs"])
    assert len(best["runs"]) >= 5
