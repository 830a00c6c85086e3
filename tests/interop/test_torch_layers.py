# SPDX-License-Identifier: Apache-2.0
"""Forward values and gradients of layers on images against PyTorch, resizing against JAX too."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import ostria as ost

torch = pytest.importorskip("torch")
F = torch.nn.functional
ops = ost._native.ops
RNG = np.random.default_rng(0)


def data(*shape: int) -> Any:
    return RNG.standard_normal(shape)


def first(x: Any) -> Any:
    """Channels second, as PyTorch has them; kernels alike."""
    return torch.movedim(x, -1, 1)


def last(x: Any) -> Any:
    return torch.movedim(x, 1, -1)


def compare(ours: Callable[..., Any], theirs: Callable[..., Any], *arrays: Any) -> None:
    """Results and the gradients of their weighted sums, in float64."""
    sources = [torch.tensor(a, requires_grad=True) for a in arrays]
    expected = theirs(*sources)
    weight = data(*expected.shape)
    slopes = torch.autograd.grad((expected * torch.tensor(weight)).sum(), sources)
    np.testing.assert_allclose(
        ours(*map(ost.asarray, arrays)).numpy(), expected.detach().numpy(), rtol=1e-9, atol=1e-9
    )
    found = ost.grad(lambda *xs: ost.sum(ours(*xs) * weight), argnums=tuple(range(len(arrays))))(
        *map(ost.asarray, arrays)
    )
    for ours_, theirs_ in zip(found, slopes, strict=True):
        np.testing.assert_allclose(ours_.numpy(), theirs_.numpy(), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("dims", [1, 2, 3])
@pytest.mark.parametrize("groups", [1, 2])
def test_convolutions(dims: int, groups: int) -> None:
    inside, kernel = (7, 6, 5)[:dims], (3, 2, 2)[:dims]
    strides, dilation, pad = (2, 1, 1)[:dims], (1, 2, 1)[:dims], (1, 0, 1)[:dims]
    around = [p for low in pad for p in (low, low)]
    ours, theirs = getattr(ops, f"conv{dims}d"), getattr(F, f"conv{dims}d")
    compare(
        lambda x, w: ours(x, w, strides=strides, padding=around, dilation=dilation, groups=groups),
        lambda x, w: last(theirs(first(x), first(w), None, strides, pad, dilation, groups)),
        data(2, *inside, 4),
        data(6, *kernel, 4 // groups),
    )


@pytest.mark.parametrize("dims", [1, 2, 3])
@pytest.mark.parametrize("groups", [1, 2])
def test_transposed_convolutions(dims: int, groups: int) -> None:
    inside, kernel = (4, 3, 2)[:dims], (3, 2, 3)[:dims]
    strides, dilation, pad = (2, 3, 1)[:dims], (1, 2, 1)[:dims], (1, 0, 1)[:dims]
    more, around = (1, 2, 0)[:dims], [p for low in pad for p in (low, low)]
    ours = getattr(ops, f"conv_transpose{dims}d")
    theirs = getattr(F, f"conv_transpose{dims}d")
    compare(
        lambda x, w: ours(
            x,
            w,
            strides=strides,
            padding=around,
            dilation=dilation,
            groups=groups,
            output_padding=more,
        ),
        lambda x, w: last(theirs(first(x), first(w), None, strides, pad, more, groups, dilation)),
        data(2, *inside, 4),
        data(4, *kernel, 6 // groups),
    )


@pytest.mark.parametrize("dims", [1, 2, 3])
def test_max_pools(dims: int) -> None:
    theirs = getattr(F, f"max_pool{dims}d")
    ours = getattr(ops, f"max_pool{dims}d")
    compare(
        lambda x: ours(x, [3] * dims, [2] * dims, [1, 1] * dims)[0],
        lambda x: last(theirs(first(x), 3, 2, 1)),
        data(2, *(7, 6, 5)[:dims], 3),
    )


@pytest.mark.parametrize("dims", [1, 2, 3])
def test_average_pools(dims: int) -> None:
    theirs = getattr(F, f"avg_pool{dims}d")
    ours = getattr(ops, f"avg_pool{dims}d")
    compare(
        lambda x: ours(x, [3] * dims, [2] * dims, [1, 1] * dims),
        lambda x: last(theirs(first(x), 3, 2, 1, count_include_pad=False)),
        data(2, *(7, 6, 5)[:dims], 3),
    )


@pytest.mark.parametrize("groups", [1, 3, 6])
def test_group_norm(groups: int) -> None:
    compare(
        lambda x, scale, bias: ops.group_norm(x, scale, bias, epsilon=1e-3, groups=groups)[0],
        lambda x, scale, bias: last(F.group_norm(first(x), groups, scale, bias, 1e-3)),
        data(2, 5, 4, 6),
        data(6),
        data(6),
    )


def test_rms_norm() -> None:
    compare(
        lambda x, scale: ops.rms_norm(x, scale, epsilon=1e-3)[0],
        lambda x, scale: F.rms_norm(x, (6,), scale, 1e-3),
        data(4, 5, 6),
        data(6),
    )


@pytest.mark.parametrize("size", [(14, 4), (5, 9), (3, 2)])
@pytest.mark.parametrize(
    ("method", "theirs"), [("nearest", "nearest-exact"), ("bilinear", "bilinear")]
)
def test_resize(method: str, theirs: str, size: tuple[int, int]) -> None:
    compare(
        lambda x: ops.resize(x, size=size, method=method),
        lambda x: last(F.interpolate(first(x), size, mode=theirs)),
        data(2, 7, 4, 3),
    )


@pytest.mark.parametrize("size", [(14, 4), (5, 9), (3, 2)])
@pytest.mark.parametrize(
    ("method", "theirs"), [("nearest", "nearest"), ("bilinear", "linear"), ("bicubic", "cubic")]
)
def test_resize_against_jax(method: str, theirs: str, size: tuple[int, int]) -> None:
    jax = pytest.importorskip("jax")
    x = data(2, 7, 4, 3).astype(np.float32)
    expected = jax.image.resize(x, (2, *size, 3), theirs, antialias=False)
    ours = ops.resize(ost.asarray(x), size=size, method=method)
    np.testing.assert_allclose(ours.numpy(), np.asarray(expected), rtol=1e-5, atol=1e-5)
