# SPDX-License-Identifier: Apache-2.0
"""NumPy references of the ops on images [n, ..., c] with one to three spatial axes, and the
geometries that their rows share."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

Array = np.ndarray


def count(size: int, low: int, high: int, window: int, stride: int, dilation: int = 1) -> int:
    """How often a window fits."""
    return (size + low + high - dilation * (window - 1) - 1) // stride + 1


def counts(image: Any, window: Any, strides: Any, padding: Any, dilation: Any) -> tuple[int, ...]:
    """The same along every spatial axis of an image's shape."""
    return tuple(
        count(int(size), *padding[2 * i : 2 * i + 2], window[i], strides[i], dilation[i])
        for i, size in enumerate(image[1:-1])
    )


def defaults(window: Any, strides: Any, padding: Any, dilation: Any) -> tuple[Any, Any, Any]:
    """Strides, padding and dilation where none are given."""
    dims = len(window)
    return strides or (1,) * dims, padding or (0,) * 2 * dims, dilation or (1,) * dims


def positions(
    image: tuple[int, ...], window: Any, strides: Any, padding: Any, dilation: Any
) -> Iterator[tuple[int, tuple[int, ...], tuple[slice, ...]]]:
    """Every position of the window, its place, and what it sees of the padded image."""
    fits = counts(image, window, strides, padding, dilation)
    for p, place in enumerate(np.ndindex(*window)):
        seen = [slice(None)]
        for i, at in enumerate(place):
            start = at * dilation[i]
            seen.append(slice(start, start + (fits[i] - 1) * strides[i] + 1, strides[i]))
        yield p, place, tuple(seen)


def pad(x: Array, padding: Any, value: float = 0.0) -> Array:
    pairs = [padding[i : i + 2] for i in range(0, len(padding), 2)]
    return np.pad(x, [(0, 0), *pairs, (0, 0)], constant_values=value)


def crop(x: Array, padding: Any) -> Array:
    inside = [
        slice(padding[2 * i], x.shape[i + 1] - padding[2 * i + 1]) for i in range(len(padding) // 2)
    ]
    return x[(slice(None), *inside)]


def _groups(groups: int, out: int, channels: int) -> Iterator[tuple[slice, slice]]:
    """The results and the channels of every group."""
    co, ci = out // groups, channels
    for g in range(groups):
        yield slice(g * co, (g + 1) * co), slice(g * ci, (g + 1) * ci)


def conv(
    x: Array,
    kernel: Array,
    strides: Any = None,
    padding: Any = None,
    dilation: Any = None,
    groups: int = 1,
) -> Array:
    out, *window, ci = kernel.shape
    strides, padding, dilation = defaults(window, strides, padding, dilation)
    y = np.zeros((x.shape[0], *counts(x.shape, window, strides, padding, dilation), out))
    padded = pad(x, padding)
    for _, place, seen in positions(x.shape, window, strides, padding, dilation):
        for o, c in _groups(groups, out, ci):
            y[..., o] += padded[seen][..., c] @ kernel[(o, *place)].T
    return y


def conv_grad_input(
    g: Array,
    kernel: Array,
    strides: Any = None,
    padding: Any = None,
    dilation: Any = None,
    groups: int = 1,
    size: Any = (),
) -> Array:
    out, *window, ci = kernel.shape
    strides, padding, dilation = defaults(window, strides, padding, dilation)
    image = (g.shape[0], *size, ci * groups)
    dx = pad(np.zeros(image), padding)
    for _, place, seen in positions(image, window, strides, padding, dilation):
        for o, c in _groups(groups, out, ci):
            dx[seen][..., c] += g[..., o] @ kernel[(o, *place)]
    return crop(dx, padding)


def conv_grad_filter(
    x: Array,
    g: Array,
    strides: Any = None,
    padding: Any = None,
    dilation: Any = None,
    groups: int = 1,
    size: Any = (),
) -> Array:
    strides, padding, dilation = defaults(size, strides, padding, dilation)
    ci = x.shape[-1] // groups
    dk, padded = np.zeros((g.shape[-1], *size, ci)), pad(x, padding)
    for _, place, seen in positions(x.shape, size, strides, padding, dilation):
        for o, c in _groups(groups, g.shape[-1], ci):
            lead = tuple(range(g.ndim - 1))
            dk[(o, *place)] = np.tensordot(g[..., o], padded[seen][..., c], (lead, lead))
    return dk


def conv_transpose(
    x: Array,
    kernel: Array,
    strides: Any = None,
    padding: Any = None,
    dilation: Any = None,
    groups: int = 1,
    output_padding: Any = None,
) -> Array:
    window = kernel.shape[1:-1]
    strides, padding, dilation = defaults(window, strides, padding, dilation)
    size = [
        (n - 1) * strides[i]
        + (window[i] - 1) * dilation[i]
        + 1
        - sum(padding[2 * i : 2 * i + 2])
        + (output_padding or (0,) * len(window))[i]
        for i, n in enumerate(x.shape[1:-1])
    ]
    return conv_grad_input(x, kernel, strides, padding, dilation, groups, size)


def max_pool(x: Array, window: Any, strides: Any, padding: Any = None) -> tuple[Array, Array]:
    _, padding, ones = defaults(window, strides, padding, None)
    shape = (x.shape[0], *counts(x.shape, window, strides, padding, ones), x.shape[-1])
    y, index = np.full(shape, -np.inf), np.zeros(shape)
    padded = pad(x, padding, -np.inf)
    for p, _, seen in positions(x.shape, window, strides, padding, ones):
        better = padded[seen] > y
        y, index = np.where(better, padded[seen], y), np.where(better, p, index)
    return y, index


def max_pool_grad(
    g: Array, index: Array, window: Any, strides: Any, padding: Any = None, size: Any = ()
) -> Array:
    _, padding, ones = defaults(window, strides, padding, None)
    image = (g.shape[0], *size, g.shape[-1])
    dx = pad(np.zeros(image), padding)
    for p, _, seen in positions(image, window, strides, padding, ones):
        dx[seen] += np.where(index == p, g, 0)
    return crop(dx, padding)


def _seen(image: tuple[int, ...], window: Any, strides: Any, padding: Any) -> Array:
    """How many elements every window sees."""
    ones = pad(np.ones((1, *image[1:-1], 1)), padding)
    dense = (1,) * len(window)
    return sum(ones[seen] for _, _, seen in positions(image, window, strides, padding, dense))


def avg_pool(x: Array, window: Any, strides: Any, padding: Any = None) -> Array:
    _, padding, ones = defaults(window, strides, padding, None)
    padded = pad(x, padding)
    total = sum(padded[seen] for _, _, seen in positions(x.shape, window, strides, padding, ones))
    return total / _seen(x.shape, window, strides, padding)


def avg_pool_grad(
    g: Array, window: Any, strides: Any, padding: Any = None, size: Any = ()
) -> Array:
    _, padding, ones = defaults(window, strides, padding, None)
    image = (g.shape[0], *size, g.shape[-1])
    dx, share = pad(np.zeros(image), padding), g / _seen(image, window, strides, padding)
    for _, _, seen in positions(image, window, strides, padding, ones):
        dx[seen] += share
    return crop(dx, padding)


Geometry = tuple[tuple[int | str, ...], tuple[int, ...], dict[str, Any]]

# (image, kernel, attributes): strides, asymmetric padding, dilation, groups, odd channel counts,
# 1 x 1, one input channel, a kernel as large as its image, depthwise.
CONVOLUTIONS: dict[int, tuple[Geometry, ...]] = {
    1: (
        (("n", 7, 3), (5, 3, 3), {}),
        (
            ("n", 9, 4),
            (6, 2, 2),
            {"strides": (2,), "padding": (2, 1), "dilation": (3,), "groups": 2},
        ),
        ((2, 5, 8), (8, 3, 1), {"padding": (1, 1), "groups": 8}),
    ),
    2: (
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
    ),
    3: (
        (("n", 3, 4, 5, 2), (3, 2, 3, 2, 2), {}),
        (
            ("n", 5, 4, 6, 4),
            (2, 2, 2, 3, 2),
            {
                "strides": (2, 1, 3),
                "padding": (1, 0, 0, 1, 1, 2),
                "dilation": (2, 1, 2),
                "groups": 2,
            },
        ),
        ((1, 2, 3, 3, 5), (4, 1, 1, 1, 5), {}),
    ),
}

# Small images with many channels: our own tiles take them.
MANY_CHANNELS: dict[int, Geometry] = {
    1: ((6, 3, 128), (128, 2, 128), {"padding": (1, 0)}),
    2: ((6, 2, 2, 128), (128, 1, 2, 128), {"padding": (0, 0, 1, 0)}),
}

# Windows of 3 x 3 over enough results: minimal filtering takes them; odd sizes, tails of vectors.
MINIMAL_FILTERING: Geometry = (
    (3, 13, 11, 35),
    (66, 3, 3, 35),
    {"padding": (1, 0, 2, 1)},
)

POOLS: dict[int, tuple[tuple[tuple[int | str, ...], dict[str, Any]], ...]] = {
    1: (
        (("n", 6, 3), {"window": (2,), "strides": (2,)}),
        (("n", 7, 17), {"window": (3,), "strides": (2,), "padding": (1, 2)}),
    ),
    2: (
        (("n", 6, 6, 3), {"window": (2, 2), "strides": (2, 2)}),
        (("n", 7, 5, 17), {"window": (3, 2), "strides": (2, 1), "padding": (1, 1, 0, 1)}),
        ((2, 5, 5, 1), {"window": (3, 3), "strides": (1, 1), "padding": (1, 1, 1, 1)}),
        ((1, 7, 6, 2), {"window": (2, 3), "strides": (3, 4)}),
    ),
    3: (
        (("n", 4, 4, 6, 3), {"window": (2, 2, 2), "strides": (2, 2, 2)}),
        (
            (2, 5, 4, 5, 9),
            {"window": (3, 2, 3), "strides": (2, 1, 2), "padding": (1, 1, 0, 1, 1, 0)},
        ),
        ((1, 7, 5, 4, 2), {"window": (2, 1, 3), "strides": (3, 2, 4)}),
    ),
}


def filled(kernel: tuple[int, ...], attrs: dict[str, Any]) -> dict[str, Any]:
    """All attributes of a convolution, for the ops that have no defaults."""
    names = ("strides", "padding", "dilation")
    return {
        **dict(zip(names, defaults(kernel[1:-1], *map(attrs.get, names)), strict=True)),
        "groups": attrs.get("groups", 1),
    }


def padded(attrs: dict[str, Any]) -> dict[str, Any]:
    """All attributes of a pool, for the ops that have no defaults."""
    return {"padding": (0,) * 2 * len(attrs["window"]), **attrs}


def conv_result(
    image: tuple[int | str, ...], kernel: tuple[int, ...], attrs: dict[str, Any]
) -> tuple[int | str, ...]:
    """The shape that a convolution gives."""
    a = filled(kernel, attrs)
    fits = counts(image, kernel[1:-1], a["strides"], a["padding"], a["dilation"])
    return (image[0], *fits, kernel[0])


def pool_result(image: tuple[int | str, ...], attrs: dict[str, Any]) -> tuple[int | str, ...]:
    """The shape that a pool gives."""
    a = padded(attrs)
    ones = (1,) * len(a["window"])
    return (image[0], *counts(image, a["window"], a["strides"], a["padding"], ones), image[-1])
