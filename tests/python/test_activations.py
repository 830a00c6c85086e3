# SPDX-License-Identifier: Apache-2.0
"""Activations by name and as layers: Keras's names, parameters, learned slopes, messages."""

from __future__ import annotations

import numpy as np
import pytest
from mistakes import Mistakes, check

import ostria as ost
from ostria import nn

X = np.random.default_rng(0).normal(size=(3, 4)).astype(np.float32) * 3
mistake = Mistakes()

NAMED = {  # every name that Keras has, and the value at X
    "celu": np.where(X > 0, X, np.expm1(np.minimum(X, 0))),
    "elu": np.where(X > 0, X, np.expm1(np.minimum(X, 0))),
    "exponential": np.exp(X),
    "gelu": None,
    "glu": X[:, :2] / (1 + np.exp(-X[:, 2:])),
    "hard_shrink": np.where(np.abs(X) > 0.5, X, 0),
    "hard_sigmoid": np.clip(X / 6 + 0.5, 0, 1),
    "hard_silu": X * np.clip(X / 6 + 0.5, 0, 1),
    "hard_swish": X * np.clip(X / 6 + 0.5, 0, 1),
    "hard_tanh": np.clip(X, -1, 1),
    "leaky_relu": np.where(X > 0, X, 0.2 * X),
    "linear": X,
    "log_sigmoid": -np.log1p(np.exp(-X)),
    "log_softmax": X - np.log(np.exp(X).sum(-1, keepdims=True)),
    "mish": X * np.tanh(np.log1p(np.exp(X))),
    "relu": np.maximum(X, 0),
    "relu6": np.clip(X, 0, 6),
    "selu": None,
    "sigmoid": 1 / (1 + np.exp(-X)),
    "silu": X / (1 + np.exp(-X)),
    "soft_shrink": X - np.clip(X, -0.5, 0.5),
    "softmax": np.exp(X) / np.exp(X).sum(-1, keepdims=True),
    "softplus": np.log1p(np.exp(X)),
    "softsign": X / (1 + np.abs(X)),
    "sparse_plus": np.where(X >= 1, X, np.clip(X + 1, 0, 2) ** 2 / 4),
    "sparse_sigmoid": np.clip((X + 1) / 2, 0, 1),
    "sparsemax": None,
    "squareplus": (X + np.sqrt(X**2 + 4)) / 2,
    "swish": X / (1 + np.exp(-X)),
    "tanh": np.tanh(X),
    "tanh_shrink": X - np.tanh(X),
}


@pytest.mark.parametrize("name", NAMED)
def test_layers_take_every_name(name):
    got = nn.Activation(name)(X).numpy()
    module_function = getattr(nn.activations, name)(ost.asarray(X)).numpy()
    np.testing.assert_array_equal(got, module_function)
    if NAMED[name] is not None:
        np.testing.assert_allclose(got, NAMED[name], 1e-5, 1e-6)
    assert name in dir(nn.activations)


def test_a_layer_activates_with_it():
    layer = nn.Dense(4, activation="mish", use_bias=False, kernel_initializer="ones")
    total = X.sum(-1, keepdims=True) * np.ones(4)
    np.testing.assert_allclose(layer(X), total * np.tanh(np.log1p(np.exp(total))), 1e-4, 1e-5)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"max_value": 1.0},
        {"negative_slope": 0.1},
        {"threshold": 0.5},
        {"max_value": 2.0, "negative_slope": 0.3, "threshold": 1.0},
    ],
)
def test_relu_has_a_slope_a_limit_and_a_threshold(options):
    slope, top = options.get("negative_slope", 0.0), options.get("max_value", np.inf)
    start = options.get("threshold", 0.0)
    want = np.where(X >= top, top, np.where(X >= start, X, slope * (X - start)))
    np.testing.assert_allclose(nn.ReLU(**options)(X).numpy(), want, 1e-6)
    np.testing.assert_allclose(nn.activations.relu(X, **options).numpy(), want, 1e-6)
    gradient = ost.grad(lambda x: ost.sum(nn.activations.relu(x, **options)))(ost.asarray(X))
    slopes = np.where(X >= top, 0, np.where(X >= start, 1, slope))
    np.testing.assert_allclose(gradient.numpy(), slopes, 1e-6)


def test_leaky_and_exponential_units():
    np.testing.assert_allclose(nn.LeakyReLU()(X).numpy(), np.where(X > 0, X, 0.3 * X), 1e-6)
    np.testing.assert_allclose(nn.LeakyReLU(0.1)(X).numpy(), np.where(X > 0, X, 0.1 * X), 1e-6)
    want = np.where(X > 0, X, 2 * np.expm1(np.minimum(X, 0)))
    np.testing.assert_allclose(nn.ELU(alpha=2.0)(X).numpy(), want, 1e-5, 1e-6)


def test_prelu_learns_its_slopes():
    layer = nn.PReLU()
    np.testing.assert_array_equal(layer(X).numpy(), np.maximum(X, 0))
    (alpha,) = layer.trainable_variables
    assert alpha.name.endswith("alpha") and alpha.shape == (4,)
    alpha.assign(np.float32([0.1, 0.2, 0.3, 0.4]))
    np.testing.assert_allclose(layer(X).numpy(), np.where(X > 0, X, alpha.numpy() * X), 1e-6)
    with ost.GradientTape() as tape:
        loss = ost.sum(layer(X))
    np.testing.assert_allclose(
        tape.gradient(loss, alpha).numpy(), np.minimum(X, 0).sum(0), 1e-5, 1e-6
    )


def test_prelu_shares_axes():
    images = np.random.default_rng(1).normal(size=(2, 3, 5, 4)).astype(np.float32)
    layer = nn.PReLU("ones", shared_axes=[1, 2])
    np.testing.assert_allclose(layer(images).numpy(), images)  # slope 1 on both sides
    assert layer.alpha.shape == (1, 1, 4)
    assert layer(images[:, :2, :1]).shape == (2, 2, 1, 4)  # of another size
    penalized = nn.PReLU("ones", alpha_regularizer="l1", shared_axes=-1)
    penalized(X)
    assert penalized.alpha.shape == (1,) and float(penalized.losses[0]) == pytest.approx(0.01)


@pytest.mark.parametrize("dtype", ["float32", "float64", "float16", "bfloat16"])
def test_softmax_of_axes_and_masks(dtype):
    x = ost.cast(ost.asarray(X), dtype)
    tolerance = {"float16": 3e-3, "bfloat16": 2e-2}.get(dtype, 1e-6)
    mask = np.array([[1, 1, 0, 1], [0, 0, 1, 0], [0, 0, 0, 0]], bool)
    got = ost.cast(nn.Softmax()(x, mask), "float64").numpy()
    e = np.exp(ost.cast(x, "float64").numpy()) * mask
    want = np.where(mask.any(-1, keepdims=True), e / np.maximum(e.sum(-1, keepdims=True), 1e-30),
                    0.25)  # fmt: skip
    np.testing.assert_allclose(got, want, tolerance, tolerance)
    assert (got[:2][~mask[:2]] == 0).all()
    both = ost.cast(nn.Softmax(axis=(0, 1))(x), "float64").numpy()
    assert both.sum() == pytest.approx(1, rel=4 * tolerance)
    first = ost.cast(nn.Softmax(axis=0)(x), "float64").numpy()
    np.testing.assert_allclose(first.sum(0), 1, 4 * tolerance)


@pytest.mark.parametrize("name", NAMED)
def test_nan_stays(name):
    x = np.where(np.arange(4) == 1, np.nan, X)
    assert np.isnan(nn.Activation(name)(x).numpy()[:, 1]).all()


def test_a_threshold_keeps_nan():
    got = ost._native.ops.threshold(ost.asarray(np.float32([np.nan, 1.0, 0.0])), 0.5, -2.0)
    np.testing.assert_array_equal(got.numpy(), np.float32([np.nan, 1.0, -2.0]))


def test_celu_leaves_positive_numbers_alone():
    x = np.float32([1e38, 0.1, 0.3, 3.0])
    np.testing.assert_array_equal(nn.activations.celu(ost.asarray(x), alpha=0.01).numpy(), x)


def test_activations_compile_for_any_batch():
    layer = nn.Sequential([nn.PReLU("ones"), nn.ReLU(6.0), nn.Softmax()])
    step = ost.compile(lambda x: layer(x), dynamic_batch=True)
    for n in (3, 1, 0):
        np.testing.assert_allclose(step(X[:n]).numpy(), layer(X[:n]).numpy(), 1e-6)


@mistake(
    ValueError,
    "ReLU: negative_slope -0.1 is not accepted; give a number of at least 0 {line}",
)
def negative_slope() -> None:
    nn.ReLU(negative_slope=-0.1)  # <-


@mistake(
    ValueError,
    "p: shared_axes [2] do not fit an input of shape [3, 4]; the axes of an example are 1..1 "
    "(layer 'p', PReLU) {line}",
)
def shared_axes_out_of_range() -> None:
    nn.PReLU(shared_axes=2, name="p")(X)  # <-


@mistake(
    ValueError,
    "p: its alpha of shape [4] does not fit an input of shape [3, 3]; build another layer for it, "
    "or share the axes whose size changes (shared_axes) (layer 'p', PReLU) {line}",
)
def another_size() -> None:
    layer = nn.PReLU(name="p")
    layer(X)
    layer(X[:, :3])  # <-


@pytest.mark.parametrize("fn, error, message", mistake.cases)
def test_messages(fn, error, message) -> None:
    check(fn, error, message)
