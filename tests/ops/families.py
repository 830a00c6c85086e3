# SPDX-License-Identifier: Apache-2.0
"""Rows of elementwise functions and reductions: the shapes that every one of them must take."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from row import A, Mistake, Row, S, Sample, tensor

import ostria as ost

ops = ost._native.ops

UNARY_SHAPES: tuple[tuple[int | str, ...], ...] = (
    (),
    (1,),
    (0,),
    (2, 0, 3),
    ("n", 4),
    (2, 3, 2),
    (71, 229),
)
BINARY_SHAPES: tuple[tuple[tuple[int | str, ...], tuple[int | str, ...]], ...] = (
    ((), ()),
    ((1,), ()),
    ((0,), (1,)),
    ((2, 0), (2, 1)),
    (("n", 4), ("n", 4)),
    (("n", 3), (3,)),
    ((4,), ("n", 1)),
    ((3, 1, 4), (2, 1)),
    ((71, 229), (71, 1)),
    ((71, 229), (229,)),
)


def unary_samples(**attrs: Any) -> tuple[Sample, ...]:
    return tuple(S(A(*shape), **attrs) for shape in UNARY_SHAPES)


def binary_samples() -> tuple[Sample, ...]:
    return tuple(S(A(*x), A(*y)) for x, y in BINARY_SHAPES)


def _float_only(op: str) -> Mistake:
    return Mistake(
        lambda: getattr(ops, op)(tensor(np.int32([1, 2]))),
        TypeError,
        f"{op}: needs a tensor of floating-point dtype, but 'x' is int32[2]; cast it first, as in "
        'cast(x, "float32")',
    )


def unary(
    op: str,
    ref: Callable[..., Any],
    *,
    samples: tuple[Sample, ...] | None = None,
    errors: tuple[Mistake, ...] | None = None,
    **more: Any,
) -> Row:
    """One input of any shape. Floats only unless `dtypes` says more, and then `errors` is empty."""
    if errors is None:
        errors = () if "dtypes" in more else (_float_only(op),)
    return Row(op=op, ref=ref, samples=samples or unary_samples(), errors=errors, **more)


def binary(
    op: str,
    ref: Callable[..., Any] | None,
    *,
    samples: tuple[Sample, ...] | None = None,
    errors: tuple[Mistake, ...] = (),
    **more: Any,
) -> Row:
    """Two inputs that broadcast."""
    misfit = Mistake(
        lambda: getattr(ops, op)(
            tensor(np.ones((2, 3), more.get("dtypes", ["float32"])[0])),
            tensor(np.ones(4, more.get("dtypes", ["float32"])[0])),
        ),
        ValueError,
        f"{op}: shapes [2, 3] and [4] do not broadcast: at axis -1 one has 3 and the other 4; "
        f"from the "
        "right, sizes must be equal or one of them 1; expand or reshape one of them",
    )
    return Row(
        op=op, ref=ref, samples=samples or binary_samples(), errors=(misfit, *errors), **more
    )


def nearby(dtype: str) -> tuple[float, float]:
    """Small numbers: sums and products of integers stay in range; floats in (-3, 3)."""
    return (0, 11) if dtype.startswith("u") else (-5, 6) if dtype.startswith("i") else (-3.0, 3.0)


def reduction_samples() -> tuple[Sample, ...]:
    """Over all axes, none that is empty, one, several; kept and not."""
    return (
        S(A()),
        S(A(1)),
        S(A(7), axis=0),
        S(A(7), axis=-1, keepdims=True),
        S(A("n", 4), axis=1),
        S(A("n", 3), axis=0, keepdims=True),
        S(A(2, 3, 4), axis=(0, 2)),
        S(A(2, 3, 4), axis=(1, -1), keepdims=True),
        S(A(2, 3, 4), axis=1),
        S(A(3, 0), axis=0),
        S(A(71, 229)),
        S(A(71, 229), axis=0),
        S(A(71, 229), axis=1),
    )


def reduction(
    op: str,
    ref: Callable[..., Any],
    *,
    extra: tuple[Sample, ...] = (),
    errors: tuple[Mistake, ...] = (),
    **more: Any,
) -> Row:
    """`ref(x, axis=None, keepdims=False)`."""
    far = Mistake(
        lambda: getattr(ops, op)(tensor(np.ones((8, 10), np.float32)), axis=5),
        ValueError,
        f"{op}: axis 5 is out of range for a tensor of rank 2 (shape [8, 10]); valid axes are "
        f"-2..1",
    )
    return Row(
        op=op, ref=ref, samples=(*reduction_samples(), *extra), errors=(far, *errors), **more
    )
