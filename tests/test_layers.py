"""Every layer of cnnbook.layers against torch in float64, forward and backward, and every error that it promises."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from test_conv import settings

from cnnbook.layers import (
    AvgPool2D,
    BatchNorm2D,
    Conv2D,
    Dense,
    Dropout,
    Flatten,
    GlobalAvgPool2D,
    MaxPool2D,
    ReLU,
    Sequential,
    softmax_cross_entropy,
)


def tensors(*arrays: np.ndarray) -> list[torch.Tensor]:
    """Copies of the arrays that collect gradients."""
    return [torch.tensor(array, requires_grad=True) for array in arrays]


def same(found: np.ndarray, expected: torch.Tensor, note: object = "") -> None:
    expected = expected.detach().numpy()
    assert found.shape == expected.shape, note
    np.testing.assert_allclose(found, expected, rtol=1e-10, atol=1e-10, err_msg=str(note))


def compare(layer, x: np.ndarray, function, training: bool = False, note: object = "", rng=None) -> None:
    """The layer's output, dx and gradients against torch's `function(x, *params)`; neither x nor dout may change."""
    leaves = tensors(x, *layer.params.values())
    expected = function(*leaves)
    dout = (rng or np.random.default_rng(0)).standard_normal(expected.shape)
    wanted = torch.autograd.grad(expected, leaves, torch.from_numpy(dout))
    x_before, dout_before = x.copy(), dout.copy()
    same(layer.forward(x, training), expected, note)
    same(layer.backward(dout), wanted[0], note)
    for name, gradient in zip(layer.params, wanted[1:], strict=True):
        same(layer.grads[name], gradient, (name, note))
    np.testing.assert_array_equal(x, x_before)
    np.testing.assert_array_equal(dout, dout_before)


def conv(s: dict, rng: np.random.Generator, bias: bool = True) -> Conv2D:
    """The convolution of random settings, in float64, its bias not zero."""
    options = {name: s[name] for name in ("stride", "padding", "dilation", "groups")}
    layer = Conv2D(s["shape"][1], s["out"], s["kernel"], **options, bias=bias, rng=rng).astype(np.float64)
    if bias:
        layer.params["bias"] = rng.standard_normal(s["out"])
    return layer


def test_convolution_equals_torch():
    rng = np.random.default_rng(10)
    for case in range(300):
        s = settings(rng)
        options = {name: s[name] for name in ("stride", "padding", "dilation", "groups")}
        compare(
            conv(s, rng, bias=bool(case % 3)),
            rng.standard_normal(s["shape"]),
            lambda x, *params, o=options: F.conv2d(x, *params, **o),
            note=s,
            rng=rng,
        )


def test_a_wide_convolution_equals_torch():
    """Many channels take the whole matrix product at once, few a row of the image at a time."""
    rng = np.random.default_rng(11)
    layer = Conv2D(9, 17, (3, 2), padding=(1, 2), rng=rng).astype(np.float64)
    compare(layer, rng.standard_normal((3, 9, 6, 5)), lambda x, w, b: F.conv2d(x, w, b, padding=(1, 2)))


def test_a_first_layer_may_leave_out_the_gradient_of_the_image():
    rng = np.random.default_rng(12)
    layer, x, dout = Conv2D(2, 3, 3, rng=rng), rng.standard_normal((2, 2, 5, 6)), rng.standard_normal((2, 3, 3, 4))
    layer.forward(x)
    layer.backward(dout)
    whole = dict(layer.grads)
    assert layer.backward(dout, input_gradient=False) is None
    assert all((layer.grads[name] == whole[name]).all() for name in ("weight", "bias"))


def pool_cases(rng: np.random.Generator, count: int = 150):
    """Random pools with overlap, gaps, leftovers and padding; half the images hold few values, so that windows tie."""
    for case in range(count):
        kernel, stride = (tuple(map(int, rng.integers(1, 5, 2))) for _ in range(2))
        padding = tuple(int(rng.integers(0, k // 2 + 1)) for k in kernel)
        x = rng.standard_normal((2, 3, *map(int, rng.integers(5, 12, 2)))) - 1
        yield (np.round(x) if case % 2 else x), kernel, stride, padding


@pytest.mark.parametrize(("layer", "function"), [(MaxPool2D, F.max_pool2d), (AvgPool2D, F.avg_pool2d)])
def test_pooling_equals_torch(layer, function):
    rng = np.random.default_rng(13)
    for x, *pool in pool_cases(rng):
        compare(layer(*pool), x, lambda x, p=pool: function(x, *p), note=pool, rng=rng)
    x = np.round(rng.standard_normal((2, 3, 7, 9)))
    compare(layer((2, 3)), x, lambda x: function(x, (2, 3)))  # stride is the kernel's size
    compare(layer(17, padding=8), rng.standard_normal((2, 1, 5, 6)), lambda x: function(x, 17, padding=8))


def test_the_gradient_of_a_tie_goes_to_the_first_place_once():
    pool = MaxPool2D(2)
    pool.forward(np.full((1, 1, 2, 2), 3.0))
    np.testing.assert_array_equal(pool.backward(np.ones((1, 1, 1, 1)))[0, 0], [[1, 0], [0, 0]])
    overlapping, peak = MaxPool2D(3, 2), np.zeros((1, 1, 5, 5))
    peak[0, 0, 2, 2] = 1  # in all four windows
    overlapping.forward(peak)
    np.testing.assert_array_equal(overlapping.backward(np.ones((1, 1, 2, 2))), 4 * peak)


def test_nan_wins_in_a_pool():
    x = np.zeros((1, 1, 2, 6))
    x[0, 0, 1, 1], x[0, 0, 0, 2] = np.nan, np.nan
    np.testing.assert_array_equal(MaxPool2D(2).forward(x)[0, 0, 0], [np.nan, np.nan, 0])


def batch_norm(rng: np.random.Generator) -> tuple[BatchNorm2D, torch.nn.BatchNorm2d]:
    """Ours and torch's with the same parameters, which are not those of the start."""
    ours, theirs = BatchNorm2D(3, momentum=0.3, eps=1e-3).astype(np.float64), torch.nn.BatchNorm2d(3, 1e-3, 0.3)
    theirs.to(torch.float64)
    for name, param in theirs.named_parameters():
        ours.params[name] = rng.standard_normal(3)
        param.data = torch.tensor(ours.params[name])
    return ours, theirs


def test_batch_norm_equals_torch_in_training_and_in_evaluation():
    rng = np.random.default_rng(14)
    ours, theirs = batch_norm(rng)
    for training in (True, True, False, True, False):  # running statistics over several batches
        x = 5 + 2 * rng.standard_normal((4, 3, 2, 5))
        theirs.train(training)
        leaf, dout = torch.tensor(x, requires_grad=True), rng.standard_normal(x.shape)
        expected = theirs(leaf)
        wanted = torch.autograd.grad(expected, [leaf, theirs.weight, theirs.bias], torch.from_numpy(dout))
        same(ours.forward(x, training), expected, training)
        same(ours.backward(dout), wanted[0], training)
        same(ours.grads["weight"], wanted[1], training)
        same(ours.grads["bias"], wanted[2], training)
        same(ours.running_mean, theirs.running_mean)
        same(ours.running_var, theirs.running_var)


def test_dropout_drops_with_probability_p_and_keeps_the_expected_value():
    layer, x = Dropout(0.3, np.random.default_rng(15)), np.ones((400, 500))
    out = layer.forward(x, training=True)
    assert set(np.unique(out)) == {0, 1 / 0.7}
    assert abs((out == 0).mean() - 0.3) < 0.005  # 4.9 standard deviations of 200,000 draws
    assert abs(out.mean() - 1) < 0.008
    dout = np.random.default_rng(16).standard_normal(x.shape)
    np.testing.assert_array_equal(layer.backward(dout), dout * out)
    assert (layer.forward(x, training=True) != out).any()


def test_dropout_does_nothing_in_evaluation():
    x = np.random.default_rng(17).standard_normal((3, 4))
    layer = Dropout(0.9)
    np.testing.assert_array_equal(layer.forward(x), x)
    np.testing.assert_array_equal(layer.backward(x), x)


@pytest.mark.parametrize("bias", [True, False])
def test_dense_equals_torch(bias):
    rng = np.random.default_rng(18)
    layer = Dense(7, 4, bias=bias, rng=rng).astype(np.float64)
    if bias:
        layer.params["bias"] = rng.standard_normal(4)
    compare(layer, rng.standard_normal((5, 7)), F.linear)


def test_relu_flatten_and_global_average_equal_torch():
    rng = np.random.default_rng(19)
    x = np.round(rng.standard_normal((2, 3, 4, 5)))  # with zeros, where the gradient is 0
    compare(ReLU(), x, F.relu)
    compare(ReLU(), x[:, 0, 0], F.relu)
    for laid_out in (x, x.transpose(1, 2, 3, 0).copy().transpose(3, 0, 1, 2)):
        compare(Flatten(), laid_out, lambda x: x.flatten(1))
        compare(GlobalAvgPool2D(), laid_out, lambda x: x.mean((2, 3)))


def network(rng: np.random.Generator) -> Sequential:
    return Sequential(
        Conv2D(2, 5, 3, padding=1, rng=rng), BatchNorm2D(5), ReLU(), MaxPool2D(3, 2, 1),
        Conv2D(5, 4, (2, 3), stride=(1, 2), rng=rng), ReLU(), AvgPool2D(2, 1), Flatten(), Dense(8, 6, rng=rng),
    )  # fmt: skip


def test_a_network_equals_torch_with_its_loss():
    rng = np.random.default_rng(20)
    net = network(rng).astype(np.float64)
    x, labels = rng.standard_normal((4, 2, 8, 9)), np.array([0, 5, 2, 2])
    leaf, *params = tensors(x, *net.params.values())
    y = F.batch_norm(F.conv2d(leaf, *params[:2], padding=1), None, None, *params[2:4], training=True)
    y = F.conv2d(F.max_pool2d(F.relu(y), 3, 2, 1), *params[4:6], stride=(1, 2))
    expected = F.cross_entropy(F.linear(F.avg_pool2d(F.relu(y), 2, 1).flatten(1), *params[6:]), torch.tensor(labels))
    loss, dlogits = softmax_cross_entropy(net.forward(x, training=True), labels)
    wanted = torch.autograd.grad(expected, [leaf, *params])
    assert abs(loss - expected.item()) < 1e-12
    same(net.backward(dlogits), wanted[0])
    assert list(net.params) == list(net.grads)
    assert list(net.params)[:3] == ["0.weight", "0.bias", "1.weight"]
    for name, gradient in zip(net.params, wanted[1:], strict=True):
        same(net.grads[name], gradient, name)


def test_a_network_leaves_out_the_images_gradient_only_where_told():
    rng = np.random.default_rng(21)
    net, x = network(rng), rng.standard_normal((4, 2, 8, 9))
    dlogits = rng.standard_normal(net.forward(x).shape)
    assert net.backward(dlogits).shape == x.shape
    whole = dict(net.grads)
    assert net.backward(dlogits, input_gradient=False) is None
    assert all((net.grads[name] == whole[name]).all() for name in whole)
    other = Sequential(ReLU(), Flatten())
    other.forward(x)
    assert other.backward(np.ones((4, 144)), input_gradient=False).shape == x.shape


def test_params_are_the_layers_own_arrays():
    net = network(np.random.default_rng(22))
    net.params["8.bias"] += 7
    assert (net.layers[8].params["bias"] == 7).all()


LAYERS = {
    "conv": lambda: Conv2D(3, 4, (3, 2), padding=1, groups=1, rng=np.random.default_rng(23)),
    "grouped": lambda: Conv2D(3, 6, 3, stride=2, groups=3, rng=np.random.default_rng(23)),
    "max": lambda: MaxPool2D(3, 2, 1),
    "avg": lambda: AvgPool2D(2),
    "global": GlobalAvgPool2D,
    "norm": lambda: BatchNorm2D(3),
    "relu": ReLU,
    "dropout": lambda: Dropout(0.5, np.random.default_rng(24)),
    "flatten": Flatten,
}


def run(layer, x: np.ndarray, dout: np.ndarray | None = None) -> list[np.ndarray]:
    out = layer.forward(x, training=True)
    if dout is None:
        dout = np.random.default_rng(25).standard_normal(out.shape).astype(out.dtype)
    return [out, layer.backward(dout), *layer.grads.values()]


@pytest.mark.parametrize("name", LAYERS)
def test_the_memory_layout_does_not_matter(name):
    x = np.round(np.random.default_rng(26).standard_normal((4, 3, 6, 7)), 1)
    batch_last = x.transpose(1, 2, 3, 0).copy().transpose(3, 0, 1, 2)
    every_second = np.repeat(x, 2, axis=3)[..., ::2]
    expected = run(LAYERS[name](), x)
    strided_dout = np.random.default_rng(25).standard_normal(expected[0].shape)[..., ::-1].copy()[..., ::-1]
    for laid_out in (batch_last, every_second, np.asfortranarray(x)):
        for found, wanted in zip(run(LAYERS[name](), laid_out, strided_dout), expected, strict=True):
            np.testing.assert_allclose(found, wanted, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("name", LAYERS)
def test_float32_stays_float32(name):
    x = np.random.default_rng(27).standard_normal((4, 3, 6, 7))
    small, large = run(LAYERS[name](), x.astype(np.float32)), run(LAYERS[name](), x)
    assert [a.dtype for a in small] == [np.float32] * len(small)
    assert [a.dtype for a in large[:2]] == [np.float64] * 2
    assert all(a.dtype == np.float32 for a in large[2:])  # gradients have their parameters' type
    for a, b in zip(small, large, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4)


def test_dense_keeps_float32_and_its_input():
    layer, x = Dense(4, 3, rng=np.random.default_rng(28)), np.ones((2, 4), np.float32)
    assert {a.dtype for a in run(layer, x)} == {np.dtype(np.float32)}
    assert (x == 1).all()


def test_weights_start_he_normal_and_follow_their_generator():
    weight = Conv2D(16, 64, (5, 3), groups=2, rng=np.random.default_rng(29)).params["weight"]
    assert weight.shape == (64, 8, 5, 3)
    assert weight.dtype == np.float32
    assert abs(weight.std() / np.sqrt(2 / (8 * 15)) - 1) < 0.03
    again = Conv2D(16, 64, (5, 3), groups=2, rng=np.random.default_rng(29)).params["weight"]
    np.testing.assert_array_equal(weight, again)
    assert "bias" not in Conv2D(1, 2, 3, bias=False).params
    assert not Conv2D(1, 2, 3).params["bias"].any()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_cross_entropy_equals_torch(dtype):
    rng = np.random.default_rng(30)
    logits, labels = 5 * rng.standard_normal((6, 4)).astype(dtype), rng.integers(0, 4, 6)
    leaf = torch.tensor(logits, requires_grad=True)
    expected = F.cross_entropy(leaf, torch.tensor(labels))
    expected.backward()
    loss, dlogits = softmax_cross_entropy(logits, labels)
    tolerance = 1e-12 if dtype == np.float64 else 1e-6
    assert isinstance(loss, float)
    assert dlogits.dtype == dtype
    assert abs(loss - expected.item()) < tolerance
    np.testing.assert_allclose(dlogits, leaf.grad.numpy(), atol=tolerance)


def test_cross_entropy_is_exact_for_extreme_logits():
    """No epsilon caps the loss, and nothing overflows."""
    logits = np.array([[1e4, -1e4, 0], [-1e4, 1e4, 0]])
    assert softmax_cross_entropy(logits, np.array([0, 1]))[0] == 0
    loss, dlogits = softmax_cross_entropy(logits, np.array([1, 2]))
    assert loss == (2e4 + 1e4) / 2
    np.testing.assert_array_equal(dlogits, [[0.5, -0.5, 0], [0, 0.5, -0.5]])
    assert softmax_cross_entropy(np.array([[100.0, 0.0]], np.float32), np.array([1]))[0] == 100


def test_cross_entropy_changes_nothing():
    logits, labels = np.ones((2, 3)), np.array([0, 1])
    softmax_cross_entropy(logits, labels)
    assert (logits == 1).all()
    assert (labels == [0, 1]).all()


@pytest.mark.parametrize(
    ("logits", "labels", "error", "message"),
    [
        (np.zeros((2, 3)), np.array([0.0, 1.0]), TypeError, "labels must be integers, the index of each class; got fl"),
        (np.zeros((2, 3)), np.array([True, False]), TypeError, "labels must be integers"),
        (np.zeros((2, 3)), np.array([0, 3]), ValueError, r"labels must lie in 0 … 2; got 0 … 3"),
        (np.zeros((2, 3)), np.array([-1, 0]), ValueError, r"labels must lie in 0 … 2; got -1 … 0"),
        (np.zeros((2, 3)), np.array([0]), ValueError, r"got \(2, 3\), \(1,\)"),
        (np.zeros((2, 3)), np.eye(3, dtype=int)[:2], ValueError, r"labels \(N,\) with N of at least 1"),
        (np.zeros(3), np.array([0]), ValueError, r"logits must be \(N, K\)"),
        (np.zeros((0, 3)), np.zeros(0, int), ValueError, "N of at least 1"),
        (np.zeros((2, 3), int), np.array([0, 1]), TypeError, "floats are needed, got int64"),
    ],
)
def test_cross_entropy_errors(logits, labels, error, message):
    with pytest.raises(error, match=message):
        softmax_cross_entropy(logits, labels)


@pytest.mark.parametrize("name", LAYERS)
def test_backward_needs_a_forward_and_a_gradient_of_the_outputs_shape(name):
    layer = LAYERS[name]()
    with pytest.raises(RuntimeError, match=f"{type(layer).__name__}.backward needs what forward computed; call forw"):
        layer.backward(np.zeros((4, 3, 6, 7)))
    out = layer.forward(np.zeros((4, 3, 6, 7)), training=True)
    with pytest.raises(ValueError, match=r"backward needs dout shaped like the output, \(4, "):
        layer.backward(np.zeros((*out.shape, 1)))


@pytest.mark.parametrize("name", ["conv", "max", "avg", "global", "norm"])
def test_images_must_be_float_and_have_four_axes(name):
    with pytest.raises(ValueError, match=r"x must be \(N, C, H, W\), got shape \(3, 6, 7\)"):
        LAYERS[name]().forward(np.zeros((3, 6, 7)))
    with pytest.raises(TypeError, match="floats are needed, got int64: integers would overflow"):
        LAYERS[name]().forward(np.zeros((4, 3, 6, 7), int))


def raised(call, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()


def test_settings_that_cannot_be():
    raised(lambda: Conv2D(4, 6, 3, groups=4), "groups=4 must divide in_channels=4 and out_channels=6")
    raised(lambda: Conv2D(4, 6, 3, groups=0), "groups=0 must divide")
    raised(lambda: Conv2D(1, 1, 0), "kernel_size must be an integer of at least 1")
    raised(lambda: Conv2D(1, 1, 3, padding=-1), "padding must be an integer of at least 0")
    raised(lambda: Conv2D(1, 1, 3, stride=(1, 2, 3)), "stride must be an integer of at least 1, or two of them")
    raised(lambda: MaxPool2D(2, padding=2), "more than half the kernel")
    raised(lambda: AvgPool2D(2, stride=0), "stride must be an integer of at least 1")
    raised(lambda: Dropout(1), "the probability of dropping a value, at least 0 and below 1; got 1")


def test_inputs_that_do_not_fit():
    raised(lambda: Conv2D(3, 4, 3).forward(np.zeros((1, 2, 5, 5))), "takes 3 channels, got x with 2")
    raised(lambda: Conv2D(1, 4, 6).forward(np.zeros((1, 1, 5, 9))), "spans 6, but the padded input has only 5")
    raised(lambda: MaxPool2D(6).forward(np.zeros((1, 1, 9, 5))), "spans 6, but the padded input has only 5")
    raised(lambda: BatchNorm2D(3).forward(np.zeros((2, 4, 5, 5))), "takes 3 channels, got x with 4")
    raised(lambda: BatchNorm2D(3).forward(np.zeros((1, 3, 1, 1)), training=True), "more than one value a channel")
    raised(lambda: Dense(4, 3).forward(np.zeros((2, 5))), r"Dense needs x of shape \(N, 4\), got \(2, 5\); flatten")
    raised(lambda: Dense(4, 3).forward(np.zeros((2, 4, 1))), "flatten images first")
    with pytest.raises(TypeError, match="floats are needed, got int64"):
        Dense(4, 3).forward(np.zeros((2, 4), int))
