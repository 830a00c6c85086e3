# SPDX-License-Identifier: Apache-2.0
"""Convolutions, pools and layers that reshape, over one to three spatial axes, against NumPy."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import ostria as ost
from ostria import nn

RNG = np.random.default_rng(1)


def data(*shape: int) -> Any:
    return RNG.standard_normal(shape).astype(np.float32)


def weights(layer: Any) -> dict[str, Any]:
    """Random values for every weight, by the last part of its name."""
    for v in layer.variables:
        v.assign(RNG.random(v.shape, np.float32) - 0.5)
    return {v.name.split("/")[-1]: v.numpy() for v in layer.variables}


def close(ours: Any, theirs: Any, tolerance: float = 1e-4) -> None:
    assert tuple(ours.shape) == theirs.shape
    np.testing.assert_allclose(ours.numpy(), theirs, rtol=tolerance, atol=tolerance)


def correlate(x: Any, k: Any, stride: int = 1, dilation: int = 1, groups: int = 1) -> Any:
    """Convolution by the definition, window by window: kernel [out, k..., in / groups]."""
    reach = [(n - 1) * dilation + 1 for n in k.shape[1:-1]]
    counts = [(n - r) // stride + 1 for n, r in zip(x.shape[1:-1], reach, strict=True)]
    y = np.zeros((x.shape[0], *counts, k.shape[0]))
    depth, per = k.shape[-1], k.shape[0] // groups
    for at in np.ndindex(*counts):
        inside = [
            slice(i * stride, i * stride + r, dilation) for i, r in zip(at, reach, strict=True)
        ]
        seen = x[(slice(None), *inside)]
        for o in range(k.shape[0]):
            first = o // per * depth
            part = seen[..., first : first + depth] * k[o]
            y[(slice(None), *at, o)] = part.sum(tuple(range(1, part.ndim)))
    return y


def spread(x: Any, k: Any, stride: int, dilation: int = 1) -> Any:
    """The transpose of `correlate`: kernel [in, k..., out]; nothing is cut off."""
    reach = [(n - 1) * dilation + 1 for n in k.shape[1:-1]]
    inside = [(n - 1) * stride + r for n, r in zip(x.shape[1:-1], reach, strict=True)]
    y = np.zeros((x.shape[0], *inside, k.shape[-1]))
    for at in np.ndindex(*x.shape[1:-1]):
        place = [
            slice(i * stride, i * stride + r, dilation) for i, r in zip(at, reach, strict=True)
        ]
        y[(slice(None), *place)] += np.tensordot(x[(slice(None), *at)], k, 1)
    return y


@pytest.mark.parametrize("options", [{}, {"strides": 2}, {"dilation_rate": 2}, {"groups": 2}])
@pytest.mark.parametrize("dims", [1, 3])
def test_convolutions(dims: int, options: dict[str, Any]) -> None:
    layer = {1: nn.Conv1D, 3: nn.Conv3D}[dims](6, 2, **options)
    x = data(2, *(5, 4, 6)[:dims], 4)
    layer(x)
    w = weights(layer)
    assert w["kernel"].shape == (6, *(2,) * dims, 4 // options.get("groups", 1))
    stride, dilation = options.get("strides", 1), options.get("dilation_rate", 1)
    expected = correlate(x, w["kernel"], stride, dilation, options.get("groups", 1))
    close(layer(x), expected + w["bias"])


def test_causal_padding_sees_nothing_that_comes_later() -> None:
    layer = nn.Conv1D(3, 3, padding="causal", dilation_rate=2, activation="relu")
    x = data(2, 9, 4)
    layer(x)
    w = weights(layer)
    before = np.pad(x, ((0, 0), (4, 0), (0, 0)))
    close(layer(x), np.maximum(correlate(before, w["kernel"], dilation=2) + w["bias"], 0))


@pytest.mark.parametrize(
    ("size", "stride", "dilation", "padding", "more", "cut", "result"),
    [
        # 'valid': everything, and as much more as the stride is larger than the kernel
        (3, 2, 1, "valid", None, (0, 0), 9),
        (2, 3, 1, "valid", None, (0, 0), 12),
        (3, 2, 2, "valid", None, (0, 0), 11),
        # 'same': stride times as large
        (3, 2, 1, "same", None, (0, 1), 8),
        (4, 2, 1, "same", None, (1, 1), 8),
        (2, 3, 1, "same", None, (0, 0), 12),
        (3, 1, 1, "same", None, (1, 1), 4),
        # (n - 1) * stride + kernel - 2 * (kernel // 2) + output_padding
        (3, 2, 1, "same", 1, (0, 1), 8),
        (3, 2, 1, "same", 0, (1, 1), 7),
        (3, 3, 1, "valid", 2, (0, 0), 14),
        (1, 3, 1, "same", 2, (0, 0), 12),
    ],
)
@pytest.mark.parametrize("dims", [1, 2, 3])
def test_transposed_convolutions_have_the_sizes_of_keras(
    dims: int, size: int, stride: int, dilation: int, padding: str, more: Any, cut: Any, result: int
) -> None:
    make = {1: nn.Conv1DTranspose, 2: nn.Conv2DTranspose, 3: nn.Conv3DTranspose}[dims]
    layer = make(
        5, size, stride, padding=padding, output_padding=more, dilation_rate=dilation, use_bias=True
    )
    x = data(2, *(4,) * dims, 3)
    layer(x)
    w = weights(layer)
    assert w["kernel"].shape == (3, *(size,) * dims, 5)
    whole = spread(x, w["kernel"], stride, dilation)
    there = whole.shape[1] - sum(cut)
    whole = whole[(slice(None), *(slice(cut[0], cut[0] + there),) * dims)]
    whole = np.pad(whole, [(0, 0), *[(0, result - there)] * dims, (0, 0)])
    close(layer(x), whole + w["bias"])


@pytest.mark.parametrize("multiplier", [1, 3])
@pytest.mark.parametrize("dims", [1, 2])
def test_depthwise_and_separable_convolutions(dims: int, multiplier: int) -> None:
    x = data(2, *(6, 5)[:dims], 4)
    layer = {1: nn.DepthwiseConv1D, 2: nn.DepthwiseConv2D}[dims](3, depth_multiplier=multiplier)
    layer(x)
    w = weights(layer)
    assert w["kernel"].shape == (4 * multiplier, *(3,) * dims, 1)
    close(layer(x), correlate(x, w["kernel"], groups=4) + w["bias"])

    make = {1: nn.SeparableConv1D, 2: nn.SeparableConv2D}[dims]
    separable = make(7, 3, depth_multiplier=multiplier)
    separable(x)
    w = weights(separable)
    assert w["pointwise_kernel"].shape == (7, *(1,) * dims, 4 * multiplier)
    between = correlate(x, w["depthwise_kernel"], groups=4)
    close(separable(x), correlate(between, w["pointwise_kernel"]) + w["bias"])


@pytest.mark.parametrize("multiplier", [1, 2])
def test_depthwise_convolutions_train(multiplier: int) -> None:
    """The gradient by a direction is the difference that the direction makes."""
    layer = nn.DepthwiseConv2D(3, strides=2, padding="same", depth_multiplier=multiplier)
    x = data(2, 7, 6, 8)
    layer(x)
    weights(layer)
    with ost.GradientTape() as tape:
        loss = ost.sum(ost.square(layer(x)))
    slope = tape.gradient(loss, [layer.kernel])[0].numpy()
    kernel, step = layer.kernel.numpy(), data(*layer.kernel.shape)
    ends = []
    for sign in (1e-2, -1e-2):
        layer.kernel.assign(kernel + sign * step)
        ends.append(float(ost.sum(ost.square(layer(x)))))
    np.testing.assert_allclose((slope * step).sum(), (ends[0] - ends[1]) / 2e-2, rtol=2e-3)


def implementations(fn: Any, *args: Any) -> list[str]:
    """The lines of `explain` that name a convolution and how it is computed."""
    fn(*args)
    return [line for line in str(fn.explain(runs=1)).splitlines() if "conv" in line and "<" in line]


@pytest.mark.parametrize("dims", [1, 2])
def test_depthwise_convolutions_have_implementations_of_their_own(dims: int) -> None:
    """General ones fill every channel up to a vector, which is many times slower."""
    layer = (None, nn.DepthwiseConv1D, nn.DepthwiseConv2D)[dims](3, padding="same")
    x = data(2, *(8, 8)[:dims], 32)
    layer(x)
    loss = ost.compile(lambda x: ost.grad(lambda x: ost.sum(ost.square(layer(x))))(x))
    lines = implementations(loss, x)
    assert lines and all("dw:" in line for line in lines), lines


@pytest.mark.parametrize("dims", [1, 2, 3])
def test_bias_and_activation_are_part_of_the_convolution(dims: int) -> None:
    layer = (None, nn.Conv1D, nn.Conv2D, nn.Conv3D)[dims](8, 3, activation="relu")
    x = data(2, *(5, 6, 7)[:dims], 4)
    layer(x)
    lines = implementations(ost.compile(lambda x: layer(x)), x)
    assert lines and all("conv_fused <" in line for line in lines), lines


@pytest.mark.parametrize("dims", [1, 2, 3])
def test_pools(dims: int) -> None:
    x = data(2, *(6, 4, 8)[:dims], 3)
    split: list[int] = []
    for n in x.shape[1:-1]:
        split += [n // 2, 2]
    blocks = x.reshape(2, *split, 3)
    inside = tuple(range(2, 2 * dims + 1, 2))
    close(getattr(nn, f"MaxPooling{dims}D")()(x), blocks.max(inside))
    close(getattr(nn, f"AveragePooling{dims}D")()(x), blocks.mean(inside))
    axes = tuple(range(1, dims + 1))
    close(getattr(nn, f"GlobalMaxPooling{dims}D")()(x), x.max(axes))
    close(getattr(nn, f"GlobalMaxPooling{dims}D")(keepdims=True)(x), x.max(axes, keepdims=True))
    close(getattr(nn, f"GlobalAveragePooling{dims}D")()(x), x.mean(axes))
    same = getattr(nn, f"MaxPool{dims}D")(3, strides=1, padding="same")
    assert same(x).shape == x.shape


def test_layers_that_move_data() -> None:
    x = data(2, 3, 4, 5)
    close(nn.Permute((3, 1, 2))(x), x.transpose(0, 3, 1, 2), 0)
    close(nn.Reshape((6, -1))(x), x.reshape(2, 6, 10), 0)
    close(nn.RepeatVector(3)(x[:, 0, 0]), np.repeat(x[:, None, 0, 0], 3, 1), 0)
    close(nn.Rescaling(2.0, -1.0)(x), x * 2 - 1)


@pytest.mark.parametrize("dims", [1, 2, 3])
def test_padding_and_cropping_undo_each_other(dims: int) -> None:
    x = data(2, *(4, 3, 5)[:dims], 2)
    widths = ((1, 2), (0, 3), (2, 0))[:dims]
    given = widths[0] if dims == 1 else widths
    padded = getattr(nn, f"ZeroPadding{dims}D")(given)(x)
    close(padded, np.pad(x, [(0, 0), *widths, (0, 0)]), 0)
    close(getattr(nn, f"Cropping{dims}D")(given)(padded), x, 0)
    one = getattr(nn, f"ZeroPadding{dims}D")()(x)
    close(one, np.pad(x, [(0, 0), *[(1, 1)] * dims, (0, 0)]), 0)


@pytest.mark.parametrize("dims", [1, 2, 3])
def test_up_sampling_repeats(dims: int) -> None:
    x = data(2, *(2, 3, 2)[:dims], 3)
    expected = x
    for axis in range(1, dims + 1):
        expected = np.repeat(expected, 2, axis)
    close(getattr(nn, f"UpSampling{dims}D")()(x), expected, 0)


def test_resizing_interpolates_between_the_centres_of_pixels() -> None:
    ramp = np.arange(4, dtype=np.float32).reshape(1, 1, 4, 1)
    larger = nn.UpSampling2D((1, 2), "bilinear")(ramp)
    close(larger, np.array([0, 0.25, 0.75, 1.25, 1.75, 2.25, 2.75, 3]).reshape(1, 1, 8, 1), 1e-6)
    close(nn.Resizing(2, 2)(ramp), np.array([[0.5, 2.5]] * 2).reshape(1, 2, 2, 1), 1e-6)
    nearest = nn.Resizing(1, 3, interpolation="nearest")(ramp)
    close(nearest, np.array([0, 2, 3]).reshape(1, 1, 3, 1), 0)


def test_every_batch_size_from_one_trace() -> None:
    model = nn.Sequential(
        [
            nn.Conv2D(4, 3, padding="same", activation="relu"),
            nn.MaxPooling2D(),
            nn.DepthwiseConv2D(3, padding="same", depth_multiplier=2),
            nn.GroupNormalization(2),
            nn.Conv2DTranspose(3, 3, 2, padding="same"),
            nn.UpSampling2D(interpolation="bicubic"),
            nn.Reshape((-1, 3)),
            nn.SeparableConv1D(5, 3),
            nn.RMSNormalization(),
            nn.SpatialDropout1D(0.5),
            nn.GlobalMaxPooling1D(),
        ]
    )
    x = data(5, 8, 8, 2)
    model(x)
    step = ost.compile(lambda x: model(x, training=True), dynamic_batch=True)
    assert [step(x[:n]).shape for n in (5, 3, 1)] == [(5, 5), (3, 5), (1, 5)]
    assert step.num_traces == 1
