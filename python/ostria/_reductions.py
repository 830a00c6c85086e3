# SPDX-License-Identifier: Apache-2.0
"""Reductions that are more than one op: sums in another dtype, norms."""

from __future__ import annotations

import math
from typing import Any

from ostria import _native
from ostria._checks import is_number
from ostria._errors import at_line
from ostria._functions import astensor, cast
from ostria._keywords import checked_keywords

__all__ = ["norm", "prod", "sum"]

_ops = _native.ops


def accumulated(op: Any, x: Any, dtype: Any, *attrs: Any) -> Any:
    """`op(x, *attrs)` computed in `dtype`, which the result has too; None leaves it to the op."""
    if dtype is None:
        return op(x, *attrs)
    return cast(op(cast(x, dtype), *attrs), dtype)  # the op widens small integers


@checked_keywords("sum")
def sum(x: Any, axis: Any = None, keepdims: bool = False, *, dtype: Any = None) -> Any:
    """The sum over axes, of all of them by default; 0 for no elements.

    Integers and bools are summed as int64 (unsigned ones as uint64), floats as their dtype with at
    least float32 inside.

    Args:
        dtype: the result's dtype; `x` is cast to it first.

    >>> import ostria as ost
    >>> ost.sum(ost.asarray([[1, 2], [3, 4]]), axis=0, dtype=ost.float32).numpy().tolist()
    [4.0, 6.0]
    """
    return accumulated(_ops.sum, x, dtype, axis, keepdims)


@checked_keywords("prod")
def prod(x: Any, axis: Any = None, keepdims: bool = False, *, dtype: Any = None) -> Any:
    """The product over axes, of all of them by default; 1 for no elements.

    Integers and bools are multiplied as int64 (unsigned ones as uint64).

    Args:
        dtype: the result's dtype; `x` is cast to it first.

    >>> import ostria as ost
    >>> ost.prod(ost.asarray([2, 3]), dtype=ost.int8).item()
    6
    """
    return accumulated(_ops.prod, x, dtype, axis, keepdims)


@checked_keywords("norm")
def norm(x: Any, /, *, ord: Any = 2, axis: Any = None, keepdims: bool = False) -> Any:
    """The vector norm over axes, over all of them by default: how long what lies there is.

    Over two axes or more `ord=2` is the Frobenius norm. The gradient is 0 where the norm is 0.

    Args:
        ord: 2 or 'fro', 1, inf (the largest magnitude, 0 of no elements), -inf (the smallest), 0
            (how many are not 0), or another number p for sum(|x|^p)^(1/p).

    >>> import ostria as ost
    >>> ost.norm(ost.asarray([[3.0, 4.0], [0.0, -2.0]]), axis=1).numpy().tolist()
    [5.0, 2.0]
    """
    x = astensor(x)
    if x.dtype.kind != "float":
        raise TypeError(
            at_line(
                f"norm: needs a tensor of floating-point dtype, but 'x' is {x.dtype}"
                f'{list(x.shape)}; cast it first, as in cast(x, "float32")'
            )
        )
    if ord == "fro":
        ord = 2
    if not is_number(ord) or math.isnan(ord):
        raise ValueError(
            at_line(f"norm: ord {ord!r} is not accepted; give a number, inf, -inf or 'fro'")
        )
    if ord == 2:
        return _power(_ops.sum(_ops.square(x), axis, keepdims), 0.5)
    if ord == 0:
        return _ops.sum(cast(_ops.not_equal(x, 0.0), x.dtype), axis, keepdims)
    size = _ops.abs(x)
    if ord == 1:
        return _ops.sum(size, axis, keepdims)
    if math.isinf(ord):
        if ord < 0:
            return _ops.min(size, axis, keepdims)
        most = _ops.max(size, axis, keepdims)  # -inf of no elements
        return _ops.where(_ops.less(most, 0.0), cast(0.0, x.dtype), most)
    return _power(_ops.sum(_power(size, float(ord)), axis, keepdims), 1 / float(ord))


def _power(base: Any, exponent: float) -> Any:
    """base^exponent for what is not negative, with slope 0 at 0."""
    zero = _ops.equal(base, 0.0)
    kept = _ops.where(zero, _ops.full(shape=(), dtype=base.dtype, value=1.0), base)
    power = _ops.sqrt(kept) if exponent == 0.5 else _ops.pow(kept, exponent)
    at_zero = 0.0 if exponent > 0 else math.inf
    return _ops.where(zero, _ops.full(shape=(), dtype=base.dtype, value=at_zero), power)
