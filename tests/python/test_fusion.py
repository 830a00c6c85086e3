# SPDX-License-Identifier: Apache-2.0
"""A plan's bytes against the least that fused loops could move: what the networks people train
keep."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import ostria as ost
from ostria import nn

F32 = np.float32


def labels(n: int, classes: int) -> np.ndarray:
    return (np.arange(n) % classes).astype(np.int64)


def mlp() -> tuple[Any, Any, Any]:
    model = nn.Sequential([nn.Dense(256, "relu"), nn.Dense(256, "relu"), nn.Dense(10)])
    return model, np.zeros((256, 784), F32), labels(256, 10)


def cnn() -> tuple[Any, Any, Any]:
    model = nn.Sequential(
        [
            nn.Conv2D(32, 3, activation="relu"),
            nn.MaxPool2D(2),
            nn.Conv2D(64, 3, activation="relu"),
            nn.MaxPool2D(2),
            nn.Flatten(),
            nn.Dense(10),
        ]
    )
    return model, np.zeros((32, 28, 28, 1), F32), labels(32, 10)


class Block(nn.Module):
    """A transformer block, normalisation first."""

    def __init__(self, norm: Any = nn.LayerNormalization, rate: float = 0, width: int = 128):
        super().__init__()
        self.first, self.second = norm(), norm()
        self.attention = nn.MultiHeadAttention(4, width // 4)
        self.up, self.down = nn.Dense(4 * width, "gelu"), nn.Dense(width)
        self.dropout = nn.Dropout(rate)

    def call(self, x: Any, training: bool = False) -> Any:
        y = self.first(x)
        y = self.attention(y, y, use_causal_mask=True)
        x = x + self.dropout(y, training=training)
        return x + self.dropout(self.down(self.up(self.second(x))), training=training)


def transformer(norm: Any = nn.LayerNormalization, rate: float = 0) -> tuple[Any, Any, Any]:
    model = nn.Sequential([Block(norm, rate), nn.Dense(65)])
    return model, np.zeros((8, 64, 128), F32), labels(512, 65).reshape(8, 64)


def with_dropout() -> tuple[Any, Any, Any]:
    return transformer(rate=0.1)


def with_rms() -> tuple[Any, Any, Any]:
    return transformer(nn.RMSNormalization, 0.1)


def lstm() -> tuple[Any, Any, Any]:
    model = nn.Sequential([nn.LSTM(128, return_sequences=True), nn.Dense(100)])
    return model, np.zeros((20, 35, 128), F32), labels(700, 100).reshape(20, 35)


def training_step(model: Any) -> Any:
    optimizer = ost.optim.SGD(0.1)

    @ost.compile
    def step(x: Any, y: Any) -> Any:
        scores = model(x, training=True)
        loss = ost.mean(ost.losses.sparse_categorical_crossentropy(y, scores, from_logits=True))
        optimizer.minimize(loss, model.trainable_variables)
        return loss

    return step


def plan_of(network: Callable[[], Any]) -> dict[str, int]:
    """The statistics of a training step's plan."""
    model, x, y = network()
    model(x)
    return training_step(model).memory_plan(x, y)


def unfused(network: Callable[[], Any]) -> dict[str, int]:
    """The same where every loop and every library call is a step of its own."""
    ops = ["fused", "matmul_fused", "conv_fused", "lstm", "lstm_grad"]
    try:
        for op in ops:
            ost._native.pin_kernel(op, "decompose")
        return plan_of(network)
    finally:
        for op in ops:
            ost._native.pin_kernel(op, "")


NETWORKS = [mlp, cnn, transformer, with_dropout, with_rms, lstm]


@pytest.mark.parametrize("network", NETWORKS)
def test_a_training_step_moves_little_more_than_it_must(network: Callable[[], Any]) -> None:
    stats = plan_of(network)
    assert stats["fused_bound_bytes"] <= stats["moved_bytes"] <= 1.2 * stats["fused_bound_bytes"]


@pytest.mark.parametrize("network", [mlp, cnn, transformer, lstm])
def test_without_fusion_it_moves_much_more(network: Callable[[], Any]) -> None:
    stats = unfused(network)
    assert stats["moved_bytes"] > 1.2 * stats["fused_bound_bytes"]


@pytest.mark.parametrize("network", [mlp, cnn, transformer])
def test_the_bound_is_the_networks_whatever_the_plan_does(network: Callable[[], Any]) -> None:
    fused, apart = plan_of(network), unfused(network)
    assert fused["fused_bound_bytes"] == pytest.approx(apart["fused_bound_bytes"], rel=0.01)


def test_what_is_computed_again_has_the_same_bits() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(1100, 1024)).astype(F32)  # more than lies in a cache
    b, w = rng.normal(size=1024).astype(F32), rng.normal(size=(1024, 1024)).astype(F32)

    def f(x: Any, b: Any, w: Any) -> Any:
        h = x * b + 0.25
        m = ost.matmul(ost.abs(h), w)
        return ost.where(m > 0, h, m)

    step = ost.compile(f)
    y = step(x, b, w)
    steps = step.explain().split("plan for cpu")[1]
    assert steps.count("<tiles, multiply add ") == 2
    np.testing.assert_array_equal(np.asarray(y), np.asarray(f(*map(ost.asarray, (x, b, w)))))


@pytest.mark.parametrize(
    ("network", "norm"), [(with_dropout, "layer_norm"), (with_rms, "rms_norm")]
)
def test_dropout_residual_and_normalisation_are_one_group(
    network: Callable[[], Any], norm: str
) -> None:
    model, x, y = network()
    model(x)
    step = training_step(model)
    step(x, y)
    text = step.explain()
    assert f"fused <tiles, dropout add {norm}>" in text  # forward
    assert f"fused <tiles, {norm}_grad add dropout" in text  # backward: drawn again
    assert "dropout <philox" not in text


def test_a_loss_and_its_gradient_read_the_logits_once() -> None:
    model, x, y = mlp()
    model(x)
    step = training_step(model)
    step(x, y)
    text = step.explain()
    assert "sparse_softmax_cross_entropy_grad <" in text
    assert "sparse_softmax_cross_entropy <" not in text


def test_dense_labels_and_the_gradient_are_one_group() -> None:
    def loss(x: Any, y: Any) -> Any:
        return ost.mean(ost.losses.categorical_crossentropy(y, x, from_logits=True))

    step = ost.compile(lambda x, y: ost.value_and_grad(loss)(x, y))
    x = np.random.default_rng(0).normal(size=(64, 10)).astype(F32)
    y = np.eye(10, dtype=F32)[np.arange(64) % 10]
    value, gradient = step(x, y)
    p = np.exp(x) / np.sum(np.exp(x), -1, keepdims=True)
    np.testing.assert_allclose(value.numpy(), -np.mean(np.log(np.sum(p * y, -1))), rtol=1e-5)
    np.testing.assert_allclose(gradient.numpy(), (p - y) / 64, rtol=1e-4, atol=1e-6)
    _, steps = step.explain().split("plan for cpu: ")
    assert steps.count("fused <tiles") == 1


def test_large_results_of_rows_are_those_of_small_ones() -> None:
    """From 16 MiB on they are stored past the caches."""
    rng = np.random.default_rng(0)
    x, g = (rng.normal(size=(2050, 2050)).astype(np.float32) for _ in range(2))

    @ost.compile
    def gradient(x: Any, g: Any) -> Any:
        return ost.gradients([ost.softmax(x)], [x], [g])[0]

    whole = gradient(x, g).numpy()
    assert "fused <tiles, softmax softmax_grad>" in gradient.explain()
    for begin in range(0, 2050, 205):
        rows = slice(begin, begin + 205)
        np.testing.assert_array_equal(whole[rows], gradient(x[rows], g[rows]).numpy())
