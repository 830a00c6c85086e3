# SPDX-License-Identifier: Apache-2.0
"""Normalisations over groups, several axes and root mean squares, and layers that draw noise."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import ostria as ost
from ostria import nn

RNG = np.random.default_rng(2)


def data(*shape: int) -> Any:
    return RNG.standard_normal(shape).astype(np.float32)


def weights(layer: Any) -> dict[str, Any]:
    for v in layer.variables:
        v.assign(RNG.random(v.shape, np.float32) + 0.5)
    return {v.name.split("/")[-1]: v.numpy() for v in layer.variables}


def close(ours: Any, theirs: Any, tolerance: float = 2e-5) -> None:
    np.testing.assert_allclose(ours.numpy(), theirs, rtol=tolerance, atol=tolerance)


def normal(x: Any, axes: Any, epsilon: float = 1e-3) -> Any:
    centered = x - x.mean(axes, keepdims=True)
    return centered / np.sqrt(np.square(centered).mean(axes, keepdims=True) + epsilon)


@pytest.mark.parametrize("groups", [1, 2, -1])
@pytest.mark.parametrize("inside", [(), (5,), (4, 3), (2, 3, 2)])
def test_group_normalization(groups: int, inside: tuple[int, ...]) -> None:
    layer = nn.GroupNormalization(groups)
    x = data(3, *inside, 6) * 2 + 1
    layer(x)
    w = weights(layer)
    split = x.reshape(3, -1, groups if groups > 0 else 6, 6 // groups if groups > 0 else 1)
    expected = normal(split, (1, 3)).reshape(x.shape)
    close(layer(x), expected * w["gamma"] + w["beta"])


@pytest.mark.parametrize("axis", [-1, [-1], [-2, -1], [1, 2, 3], (2, 3)])
def test_layers_over_the_last_axes(axis: Any) -> None:
    x = data(2, 3, 4, 5) + 1
    axes = tuple(axis) if isinstance(axis, (list, tuple)) else (axis,)
    layer = nn.LayerNormalization(axis)
    layer(x)
    w = weights(layer)
    assert w["gamma"].shape == x.shape[4 - len(axes) :]
    close(layer(x), normal(x, axes) * w["gamma"] + w["beta"])

    rms = nn.RMSNormalization(axis)
    rms(x)
    w = weights(rms)
    root = np.sqrt(np.square(x).mean(axes, keepdims=True) + 1e-6)
    close(rms(x), x / root * w["gamma"])


@pytest.mark.parametrize("inside", [(7,), (2, 3, 4)])
def test_batch_normalization_of_sequences_and_volumes(inside: tuple[int, ...]) -> None:
    layer = nn.BatchNormalization(center=False, scale=False)
    x = data(3, *inside, 5) * 2 + 1
    close(layer(x, training=True), normal(x, tuple(range(x.ndim - 1))))


def test_unit_normalization() -> None:
    x = data(3, 4)
    close(nn.UnitNormalization()(x), x / np.linalg.norm(x, axis=1, keepdims=True))
    assert np.isfinite(nn.UnitNormalization()(np.zeros((2, 3), np.float32)).numpy()).all()


# --- Noise ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("dims", [1, 2, 3])
def test_spatial_dropout_drops_whole_channels(dims: int) -> None:
    layer = getattr(nn, f"SpatialDropout{dims}D")(0.5, seed=3)
    x = np.ones((64, *(3,) * dims, 8), np.float32)
    np.testing.assert_array_equal(layer(x).numpy(), x)
    y = layer(x, training=True).numpy().reshape(64, -1, 8)
    assert set(np.unique(y)) == {0, 2}
    np.testing.assert_array_equal(y, np.broadcast_to(y[:, :1], y.shape))
    assert 0.4 < (y[:, 0] == 0).mean() < 0.6


def test_gaussian_noise_and_dropout_have_the_spread_they_promise() -> None:
    x = np.full((200, 300), 2, np.float32)
    noise = nn.GaussianNoise(0.5, seed=1)(x, training=True).numpy() - x
    assert noise.std() == pytest.approx(0.5, rel=0.02) and abs(noise.mean()) < 0.01
    dropout = nn.GaussianDropout(0.2, seed=1)(x, training=True).numpy()
    assert dropout.std() == pytest.approx(2 * 0.5, rel=0.02)
    assert dropout.mean() == pytest.approx(2, rel=0.01)
    for layer in (nn.GaussianNoise(0.5), nn.GaussianDropout(0.2)):
        np.testing.assert_array_equal(layer(x).numpy(), x)


def test_noise_differs_from_step_to_step() -> None:
    layer = nn.GaussianNoise(1.0, seed=5)
    step = ost.compile(lambda x: layer(x, training=True))
    x = np.zeros((2, 3), np.float32)
    layer(x)
    assert not np.array_equal(step(x).numpy(), step(x).numpy())
