# SPDX-License-Identifier: Apache-2.0
"""NumPy references of the ops on images [n, h, w, c], and the geometries that their rows share."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

Array = np.ndarray


def count(size: int, low: int, high: int, window: int, stride: int, dilation: int = 1) -> int:
    """How often a window fits."""
    return (size + low + high - dilation * (window - 1) - 1) // stride + 1


def positions(
    image: tuple[int, ...],
    window: tuple[int, int],
    strides: Any,
    padding: Any,
    dilation: Any = (1, 1),
) -> Iterator[tuple[int, int, tuple[slice, ...]]]:
    """Every (row, column) of the window with what it sees of the padded image."""
    oh = count(image[1], padding[0], padding[1], window[0], strides[0], dilation[0])
    ow = count(image[2], padding[2], padding[3], window[1], strides[1], dilation[1])
    for i in range(window[0]):
        for j in range(window[1]):
            h, w = i * dilation[0], j * dilation[1]
            yield (
                i,
                j,
                (
                    slice(None),
                    slice(h, h + (oh - 1) * strides[0] + 1, strides[0]),
                    slice(w, w + (ow - 1) * strides[1] + 1, strides[1]),
                ),
            )


def pad(x: Array, padding: Any, value: float = 0.0) -> Array:
    top, bottom, left, right = padding
    return np.pad(x, ((0, 0), (top, bottom), (left, right), (0, 0)), constant_values=value)


def crop(x: Array, padding: Any) -> Array:
    top, bottom, left, right = padding
    return x[:, top : x.shape[1] - bottom, left : x.shape[2] - right]


def _result(
    x: Array, window: Any, strides: Any, padding: Any, channels: int, dilation: Any = (1, 1)
) -> tuple[int, int, int, int]:
    return (
        x.shape[0],
        count(x.shape[1], *padding[:2], window[0], strides[0], dilation[0]),
        count(x.shape[2], *padding[2:], window[1], strides[1], dilation[1]),
        channels,
    )


def conv2d(
    x: Array,
    kernel: Array,
    strides: Any = (1, 1),
    padding: Any = (0, 0, 0, 0),
    dilation: Any = (1, 1),
    groups: int = 1,
) -> Array:
    out, kh, kw, ci = kernel.shape
    y = np.zeros(_result(x, (kh, kw), strides, padding, out, dilation))
    padded, co = pad(x, padding), out // groups
    for i, j, seen in positions(x.shape, (kh, kw), strides, padding, dilation):
        for g in range(groups):
            o, c = slice(g * co, (g + 1) * co), slice(g * ci, (g + 1) * ci)
            y[..., o] += padded[seen][..., c] @ kernel[o, i, j].T
    return y


def conv2d_grad_input(
    g: Array,
    kernel: Array,
    strides: Any = (1, 1),
    padding: Any = (0, 0, 0, 0),
    dilation: Any = (1, 1),
    groups: int = 1,
    size: Any = (),
) -> Array:
    out, kh, kw, ci = kernel.shape
    dx = pad(np.zeros((g.shape[0], *size, ci * groups)), padding)
    image, co = (g.shape[0], *size, ci * groups), out // groups
    for i, j, seen in positions(image, (kh, kw), strides, padding, dilation):
        for k in range(groups):
            o, c = slice(k * co, (k + 1) * co), slice(k * ci, (k + 1) * ci)
            dx[(*seen, c)] += g[..., o] @ kernel[o, i, j]
    return crop(dx, padding)


def conv2d_grad_filter(
    x: Array,
    g: Array,
    strides: Any = (1, 1),
    padding: Any = (0, 0, 0, 0),
    dilation: Any = (1, 1),
    groups: int = 1,
    size: Any = (),
) -> Array:
    ci, co = x.shape[3] // groups, g.shape[3] // groups
    dk, padded = np.zeros((g.shape[3], *size, ci)), pad(x, padding)
    for i, j, seen in positions(x.shape, tuple(size), strides, padding, dilation):
        for k in range(groups):
            o, c = slice(k * co, (k + 1) * co), slice(k * ci, (k + 1) * ci)
            dk[o, i, j] = np.einsum("nhwo,nhwc->oc", g[..., o], padded[(*seen, c)])
    return dk


def max_pool2d(
    x: Array, window: Any, strides: Any, padding: Any = (0, 0, 0, 0)
) -> tuple[Array, Array]:
    shape = _result(x, window, strides, padding, x.shape[3])
    y, index = np.full(shape, -np.inf), np.zeros(shape)
    padded = pad(x, padding, -np.inf)
    for i, j, seen in positions(x.shape, tuple(window), strides, padding):
        better = padded[seen] > y
        y, index = np.where(better, padded[seen], y), np.where(better, i * window[1] + j, index)
    return y, index


def max_pool2d_grad(
    g: Array, index: Array, window: Any, strides: Any, padding: Any = (0, 0, 0, 0), size: Any = ()
) -> Array:
    image = (g.shape[0], *size, g.shape[3])
    dx = pad(np.zeros(image), padding)
    for i, j, seen in positions(image, tuple(window), strides, padding):
        dx[seen] += np.where(index == i * window[1] + j, g, 0)
    return crop(dx, padding)


def _counts(image: tuple[int, ...], window: Any, strides: Any, padding: Any) -> Array:
    ones = pad(np.ones((1, image[1], image[2], 1)), padding)
    return sum(ones[seen] for _, _, seen in positions(image, tuple(window), strides, padding))


def avg_pool2d(x: Array, window: Any, strides: Any, padding: Any = (0, 0, 0, 0)) -> Array:
    padded = pad(x, padding)
    total = sum(padded[seen] for _, _, seen in positions(x.shape, tuple(window), strides, padding))
    return total / _counts(x.shape, window, strides, padding)


def avg_pool2d_grad(
    g: Array, window: Any, strides: Any, padding: Any = (0, 0, 0, 0), size: Any = ()
) -> Array:
    image = (g.shape[0], *size, g.shape[3])
    dx, share = pad(np.zeros(image), padding), g / _counts(image, window, strides, padding)
    for _, _, seen in positions(image, tuple(window), strides, padding):
        dx[seen] += share
    return crop(dx, padding)


# (image, kernel, attributes): strides, asymmetric padding, dilation, groups, odd channel counts,
# 1 x 1, one input channel, a kernel as large as its image.
CONVOLUTIONS: tuple[tuple[tuple[int | str, ...], tuple[int, ...], dict[str, Any]], ...] = (
    (("n", 7, 6, 3), (5, 3, 3, 3), {}),
    ((2, 9, 9, 1), (4, 3, 3, 1), {"padding": (1, 1, 1, 1)}),
    (
        ("n", 8, 5, 4),
        (6, 3, 2, 2),
        {"strides": (2, 1), "padding": (1, 0, 1, 1), "dilation": (1, 2), "groups": 2},
    ),
    ((1, 4, 5, 8), (3, 1, 1, 8), {}),
    ((2, 4, 4, 2), (3, 4, 4, 2), {}),
    ((1, 6, 7, 3), (3, 2, 2, 1), {"strides": (3, 2), "groups": 3}),
)

POOLS: tuple[tuple[tuple[int | str, ...], dict[str, Any]], ...] = (
    (("n", 6, 6, 3), {"window": (2, 2), "strides": (2, 2)}),
    (("n", 7, 5, 17), {"window": (3, 2), "strides": (2, 1), "padding": (1, 1, 0, 1)}),
    ((2, 5, 5, 1), {"window": (3, 3), "strides": (1, 1), "padding": (1, 1, 1, 1)}),
    ((1, 7, 6, 2), {"window": (2, 3), "strides": (3, 4)}),
)


def conv_result(
    image: tuple[int | str, ...], kernel: tuple[int, ...], attrs: dict[str, Any]
) -> tuple[int | str, ...]:
    """The shape that conv2d gives."""
    s, p = attrs.get("strides", (1, 1)), attrs.get("padding", (0, 0, 0, 0))
    d = attrs.get("dilation", (1, 1))
    return (
        image[0],
        count(int(image[1]), *p[:2], kernel[1], s[0], d[0]),
        count(int(image[2]), *p[2:], kernel[2], s[1], d[1]),
        kernel[0],
    )


def pool_result(image: tuple[int | str, ...], attrs: dict[str, Any]) -> tuple[int | str, ...]:
    """The shape that a pool gives."""
    s, p, w = attrs["strides"], attrs.get("padding", (0, 0, 0, 0)), attrs["window"]
    return (
        image[0],
        count(int(image[1]), *p[:2], w[0], s[0]),
        count(int(image[2]), *p[2:], w[1], s[1]),
        image[3],
    )
