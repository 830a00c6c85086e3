# SPDX-License-Identifier: Apache-2.0
"""Layers against NumPy, with Keras's names and defaults."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import ostria as ost
from ostria import nn

RNG = np.random.default_rng(0)


def data(*shape: int) -> Any:
    return RNG.standard_normal(shape).astype(np.float32)


def weights(layer: Any) -> dict[str, Any]:
    """Random values for every weight, by the last part of its name."""
    for v in layer.variables:
        v.assign(RNG.random(v.shape, np.float32) + 0.5)
    return {v.name.split("/")[-1]: v.numpy() for v in layer.variables}


def close(ours: Any, theirs: Any, tolerance: float = 1e-5) -> None:
    np.testing.assert_allclose(ours.numpy(), theirs, rtol=tolerance, atol=tolerance)


# --- Layers ---------------------------------------------------------------------------------------


def test_dense() -> None:
    layer = nn.Dense(4, "relu")
    x = data(5, 3)
    layer(x)
    w = weights(layer)
    assert {k: v.shape for k, v in w.items()} == {"kernel": (3, 4), "bias": (4,)}
    close(layer(x), np.maximum(x @ w["kernel"] + w["bias"], 0))
    x = data(2, 5, 3)
    close(layer(x), np.maximum(x @ w["kernel"] + w["bias"], 0))
    bare = nn.Dense(1, use_bias=False)
    bare(x)
    assert [v.name for v in bare.variables] == ["kernel"]


def correlate(x: Any, k: Any, strides: Any, pads: Any, dilation: Any, groups: int) -> Any:
    """Convolution by the definition: NHWC, kernel [out, kh, kw, in / groups]."""
    x = np.pad(x, ((0, 0), pads[:2], pads[2:], (0, 0)))
    out, kh, kw, depth = k.shape
    rows = (x.shape[1] - (kh - 1) * dilation[0] - 1) // strides[0] + 1
    cols = (x.shape[2] - (kw - 1) * dilation[1] - 1) // strides[1] + 1
    y = np.zeros((x.shape[0], rows, cols, out), np.float64)
    per = out // groups
    for o in range(out):
        g = o // per
        part = x[..., g * depth : (g + 1) * depth]
        for i in range(rows):
            for j in range(cols):
                a, b = i * strides[0], j * strides[1]
                down = slice(a, a + kh * dilation[0], dilation[0])
                right = slice(b, b + kw * dilation[1], dilation[1])
                window = part[:, down, right]
                y[:, i, j, o] = (window[:, :kh, :kw] * k[o]).sum((1, 2, 3))
    return y


@pytest.mark.parametrize(
    ("options", "pads"),
    [
        ({}, (0, 0, 0, 0)),
        ({"padding": "same"}, (1, 1, 0, 1)),
        ({"padding": "same", "strides": 2}, (0, 1, 0, 1)),
        ({"strides": (2, 1), "padding": (1, 0, 2, 1)}, (1, 0, 2, 1)),
        ({"dilation_rate": 2}, (0, 0, 0, 0)),
        ({"groups": 2}, (0, 0, 0, 0)),
        ({"groups": 4, "padding": "same", "use_bias": False}, (1, 1, 0, 1)),
    ],
    ids=str,
)
def test_conv2d(options: dict[str, Any], pads: Any) -> None:
    layer = nn.Conv2D(8, (3, 2), **options)
    x = data(2, 8, 6, 4)
    layer(x)
    w = weights(layer)
    groups = options.get("groups", 1)
    assert w["kernel"].shape == (8, 3, 2, 4 // groups)
    expected = correlate(x, w["kernel"], layer.strides, pads, layer.dilation_rate, groups)
    close(layer(x), expected + w.get("bias", 0), 1e-4)


def windows(x: Any, size: int, stride: int) -> Any:
    view = np.lib.stride_tricks.sliding_window_view(x, (size, size), axis=(1, 2))
    return view[:, ::stride, ::stride]


def test_pooling() -> None:
    x = data(2, 7, 7, 3)
    close(nn.MaxPool2D()(x), windows(x, 2, 2).max((-2, -1)))
    close(nn.MaxPool2D(3, strides=1)(x), windows(x, 3, 1).max((-2, -1)))
    close(nn.AvgPool2D(3, strides=2)(x), windows(x, 3, 2).mean((-2, -1)))
    close(nn.GlobalAveragePooling2D()(x), x.mean((1, 2)))
    close(nn.GlobalAveragePooling2D(keepdims=True)(x), x.mean((1, 2), keepdims=True))


def test_padding_does_not_count_in_pools() -> None:
    x = -np.ones((1, 3, 3, 1), np.float32)
    assert (nn.AvgPool2D(2, padding="same")(x).numpy() == -1).all()
    assert (nn.MaxPool2D(2, padding="same")(x).numpy() == -1).all()


@pytest.mark.parametrize("shape", [(6, 4), (3, 5, 5, 4)])
def test_batch_normalization(shape: tuple[int, ...]) -> None:
    layer = nn.BatchNormalization()
    x = data(*shape) * 3 + 1
    layer(x)
    w = weights(layer)
    axes = tuple(range(len(shape) - 1))
    scaled = (x - w["moving_mean"]) / np.sqrt(w["moving_variance"] + 1e-3)
    close(layer(x), scaled * w["gamma"] + w["beta"], 1e-4)
    mean, var = x.mean(axes), x.var(axes)
    close(layer(x, training=True), (x - mean) / np.sqrt(var + 1e-3) * w["gamma"] + w["beta"], 1e-4)
    close(layer.moving_mean, w["moving_mean"] * 0.99 + mean * 0.01)
    close(layer.moving_variance, w["moving_variance"] * 0.99 + var * 0.01)


def test_a_frozen_batch_normalization_uses_its_averages() -> None:
    layer = nn.BatchNormalization()
    x = data(6, 4)
    layer(x)
    layer.trainable = False
    before = layer.moving_mean.numpy()
    close(layer(x, training=True), layer(x).numpy())
    np.testing.assert_array_equal(layer.moving_mean.numpy(), before)
    assert layer.trainable_variables == []


def test_layer_normalization() -> None:
    layer = nn.LayerNormalization()
    x = data(2, 3, 8) * 2 + 1
    layer(x)
    w = weights(layer)
    mean, var = x.mean(-1, keepdims=True), x.var(-1, keepdims=True)
    close(layer(x), (x - mean) / np.sqrt(var + 1e-3) * w["gamma"] + w["beta"], 1e-4)


def test_embedding_flatten_activation_dropout() -> None:
    table = nn.Embedding(10, 3)
    ids = np.array([[1, 2], [9, 0]])
    y = table(ids)
    close(y, table.embeddings.numpy()[ids])
    assert nn.Flatten()(data(2, 3, 4)).shape == (2, 12)
    x = data(4, 100)
    close(nn.Activation("tanh")(x), np.tanh(x))
    layer = nn.Dropout(0.25)
    np.testing.assert_array_equal(layer(x).numpy(), x)
    dropped = layer(x, training=True).numpy()
    kept = dropped != 0
    np.testing.assert_allclose(dropped[kept], (x / 0.75)[kept], rtol=1e-6)
    assert 0.6 < kept.mean() < 0.9


ACTIVATIONS: dict[str, Callable[[Any], Any]] = {
    "linear": lambda x: x,
    "relu": lambda x: np.maximum(x, 0),
    "sigmoid": lambda x: 1 / (1 + np.exp(-x)),
    "tanh": np.tanh,
    "elu": lambda x: np.where(x > 0, x, np.expm1(x)),
    "silu": lambda x: x / (1 + np.exp(-x)),
    "swish": lambda x: x / (1 + np.exp(-x)),
    "softplus": lambda x: np.log1p(np.exp(x)),
    "leaky_relu": lambda x: np.where(x > 0, x, 0.2 * x),
    "softmax": lambda x: np.exp(x) / np.exp(x).sum(-1, keepdims=True),
    "log_softmax": lambda x: x - np.log(np.exp(x).sum(-1, keepdims=True)),
}


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activations_by_name(name: str) -> None:
    x = data(3, 7)
    close(nn.activations.get(name)(ost.asarray(x)), ACTIVATIONS[name](x))


# --- Keras's names and defaults -------------------------------------------------------------------

DEFAULTS: dict[Any, dict[str, Any]] = {
    nn.Dense: {
        "activation": None, "use_bias": True, "kernel_initializer": "glorot_uniform",
        "bias_initializer": "zeros", "kernel_regularizer": None, "bias_regularizer": None,
    },
    nn.Conv2D: {
        "strides": 1, "padding": "valid", "dilation_rate": 1, "groups": 1, "activation": None,
        "use_bias": True, "kernel_initializer": "glorot_uniform", "bias_initializer": "zeros",
    },
    nn.MaxPool2D: {"pool_size": 2, "strides": None, "padding": "valid"},
    nn.AvgPool2D: {"pool_size": 2, "strides": None, "padding": "valid"},
    nn.GlobalAveragePooling2D: {"keepdims": False},
    nn.BatchNormalization: {"momentum": 0.99, "epsilon": 1e-3, "center": True, "scale": True},
    nn.LayerNormalization: {"epsilon": 1e-3, "center": True, "scale": True},
    nn.Embedding: {"embeddings_initializer": "uniform"},
}  # fmt: skip


@pytest.mark.parametrize("layer", DEFAULTS, ids=lambda c: c.__name__)
def test_defaults_are_those_of_keras(layer: Any) -> None:
    given = {k: p.default for k, p in inspect.signature(layer.__init__).parameters.items()}
    assert {k: given[k] for k in DEFAULTS[layer]} == DEFAULTS[layer]


@pytest.mark.parametrize(
    ("name", "shape", "deviation"),
    [
        ("glorot_uniform", (300, 200), np.sqrt(2 / 500)),
        ("glorot_normal", (300, 200), np.sqrt(2 / 500)),
        ("he_normal", (300, 200), np.sqrt(2 / 300)),
        ("he_uniform", (64, 3, 3, 32), np.sqrt(2 / (9 * 32))),
        ("lecun_normal", (64, 3, 3, 32), np.sqrt(1 / (9 * 32))),
        ("glorot_uniform", (64, 3, 3, 32), np.sqrt(2 / (9 * 96))),
        ("random_normal", (300, 200), 0.05),
        ("uniform", (300, 200), 0.05 / np.sqrt(3)),
    ],
)
def test_initializers_have_the_spread_they_promise(name: str, shape: Any, deviation: float) -> None:
    values = nn.initializers.get(name)(shape, "float32", "some/kernel").numpy()
    assert values.std() == pytest.approx(deviation, rel=0.03)
    assert abs(values.mean()) < 0.05 * deviation
    again = nn.initializers.get(name)(shape, "float32", "some/kernel").numpy()
    np.testing.assert_array_equal(values, again)
    other = nn.initializers.get(name)(shape, "float32", "other/kernel").numpy()
    assert not np.array_equal(values, other)


def test_regularizers_add_to_the_losses() -> None:
    layer = nn.Dense(2, kernel_regularizer="l2", bias_regularizer=nn.regularizers.L1(0.5))
    layer(data(1, 3))
    w = weights(layer)
    penalties = sorted(float(loss) for loss in layer.losses)
    expected = sorted([0.01 * (w["kernel"] ** 2).sum(), 0.5 * abs(w["bias"]).sum()])
    np.testing.assert_allclose(penalties, expected, rtol=1e-5)


def test_names_in_a_sequence_are_numbered() -> None:
    model = nn.Sequential(
        [nn.Dense(2), nn.Activation("relu"), nn.Dense(2), nn.Dense(2, name="out")]
    )
    assert [layer.name for layer in model.layers] == ["dense", "activation", "dense_1", "out"]
    model(data(1, 2))
    assert list(model.state_dict()) == [
        "dense/kernel", "dense/bias", "dense_1/kernel", "dense_1/bias", "out/kernel", "out/bias",
    ]  # fmt: skip


def test_training_reaches_the_layers_that_ask() -> None:
    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = nn.Sequential([nn.Dropout(0.5), nn.Flatten()])

        def call(self, x: Any, training: bool = False) -> Any:
            return self.body(x, training=training)

    x = np.ones((4, 50), np.float32)
    assert (Model()(x).numpy() == 1).all()
    assert (Model()(x, training=True).numpy() == 0).any()


def test_a_shared_layer_counts_once() -> None:
    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a = nn.Dense(3)
            self.b = self.a

        def call(self, x: Any) -> Any:
            return self.b(self.a(x))

    model = Model()
    model(data(1, 3))
    assert len(model.variables) == 2


@pytest.mark.parametrize("kind", [np.int64, np.uint8])
def test_sizes_may_be_numpy_integers(kind):
    x = np.ones((2, 3, 4), np.float32)
    assert nn.Dense(kind(5))(x).shape == (2, 3, 5)
    assert nn.GRU(kind(5))(x).shape == (2, 5)
    assert nn.Embedding(kind(5), kind(2))(np.array([1])).shape == (1, 2)
    assert nn.MultiHeadAttention(kind(2), kind(3))(x, x).shape == (2, 3, 4)


def test_tables_have_positive_sizes():
    for sizes in ((0, 2), (5, 2.5), (True, 2)):
        with pytest.raises(ValueError, match=r"Embedding: .* give a positive integer"):
            nn.Embedding(*sizes)


@pytest.mark.parametrize(
    "make",
    [
        lambda: nn.BatchNormalization(momentum="high"),
        lambda: nn.BatchNormalization(momentum=1.5),
        lambda: nn.LayerNormalization(epsilon=-1.0),
        lambda: nn.regularizers.L2("strong"),
        lambda: nn.regularizers.L1(-0.1),
        lambda: nn.Dense(2, kernel_regularizer=["l2"]),
    ],
)
def test_numbers_of_layers_are_checked_when_they_are_made(make):
    with pytest.raises(ValueError, match=r" (not accepted; give|not known; accepted are) .*\[test"):
        make()
