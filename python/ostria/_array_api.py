# SPDX-License-Identifier: Apache-2.0
"""The Array API's functions that are compositions of ops, and what it asks about a namespace.

Sizes may be symbols wherever the result's shape can be said with them. What the standard has and
this package has not, and why, is listed in tests/python/test_array_api.py.
"""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any

import numpy as np

from ostria import _functions as F
from ostria import _native
from ostria._checks import is_int
from ostria._errors import at_line
from ostria._functions import astensor, valid_axis
from ostria._indexing import getitem
from ostria._reductions import accumulated

__all__ = [
    "__array_api_version__",
    "__array_namespace_info__",
    "broadcast_arrays",
    "broadcast_shapes",
    "can_cast",
    "count_nonzero",
    "cumulative_prod",
    "cumulative_sum",
    "diff",
    "finfo",
    "iinfo",
    "meshgrid",
    "moveaxis",
    "positive",
    "repeat",
    "result_type",
    "take_along_axis",
    "tensordot",
    "unstack",
    "vecdot",
]

_ops = _native.ops

__array_api_version__ = "2024.12"


# --- The namespace --------------------------------------------------------------------------------


class _NamespaceInfo:
    """What the Array API may ask about this namespace."""

    def capabilities(self) -> dict[str, Any]:
        """No mask indexing in general and no shape that depends on data: a graph is planned."""
        return {
            "boolean indexing": False,
            "data-dependent shapes": False,
            "max dimensions": _native.max_rank,
        }

    def default_device(self) -> str:
        return _native.get_default_device()

    def devices(self) -> list[str]:
        return _native.devices()

    def default_dtypes(self, *, device: str | None = None) -> dict[str, Any]:
        F.check_device("default_dtypes", device)
        return {
            "real floating": _native.float32,
            "integral": _native.int64,
            "indexing": _native.int64,
        }

    def dtypes(self, *, device: str | None = None, kind: Any = None) -> dict[str, Any]:
        """The standard's dtypes by name, all or those of a kind; half types are not among them."""
        F.check_device("dtypes", device)
        half = (_native.float16, _native.bfloat16)
        return {
            t.name: t
            for t in _native.dtypes
            if t not in half and (kind is None or F.isdtype(t, kind))
        }


def __array_namespace_info__() -> Any:
    """What the Array API may ask about this namespace: devices, dtypes, capabilities."""
    return _NamespaceInfo()


# --- dtypes ---------------------------------------------------------------------------------------


def finfo(type: Any, /) -> Any:
    """Limits of a floating-point dtype, or of a tensor's: bits, eps, max, min, smallest_normal."""
    dtype = _dtype_of(type)
    if dtype.kind != "float":
        raise TypeError(at_line(f"finfo: {dtype} is no floating-point dtype; use ost.iinfo"))
    if dtype == _native.bfloat16:  # float32 with 16 bits less of mantissa
        eps, largest, smallest = 2.0**-7, float.fromhex("0x1.fep127"), 2.0**-126
    else:
        i = np.finfo(dtype.numpy())
        eps, largest, smallest = float(i.eps), float(i.max), float(i.smallest_normal)
    return SimpleNamespace(
        bits=8 * dtype.itemsize,
        eps=eps,
        max=largest,
        min=-largest,
        smallest_normal=smallest,
        dtype=dtype,
    )


def iinfo(type: Any, /) -> Any:
    """Limits of an integer dtype, or of a tensor's: bits, max, min."""
    dtype = _dtype_of(type)
    if dtype.kind not in ("signed", "unsigned"):
        raise TypeError(at_line(f"iinfo: {dtype} is no integer dtype; use ost.finfo for floats"))
    bits = 8 * dtype.itemsize
    signed = dtype.kind == "signed"
    largest = 2 ** (bits - signed) - 1
    return SimpleNamespace(bits=bits, max=largest, min=-largest - 1 if signed else 0, dtype=dtype)


def _dtype_of(x: Any) -> Any:
    return x.dtype if isinstance(x, (_native.Tensor, _native.Variable)) else _native.dtype(x)


def result_type(*arrays_and_dtypes: Any) -> Any:
    """The dtype that ops give these tensors, dtypes and numbers in common.

    Raises:
        TypeError: they are of different kinds, which ops do not convert silently.
    """
    return _native.result_type(*arrays_and_dtypes)


def can_cast(from_: Any, to: Any, /) -> bool:
    """Whether ops would convert `from_`, a dtype or a tensor, to the dtype `to` silently."""
    wanted = _native.dtype(to)
    try:
        return bool(_native.result_type(_dtype_of(from_), wanted) == wanted)
    except TypeError:
        return False


# --- Elementwise ----------------------------------------------------------------------------------


def positive(x: Any, /) -> Any:
    """`x` itself: the operator `+x`, for numbers."""
    x = astensor(x)
    if x.dtype == _native.bool_:
        raise TypeError(
            at_line(
                "positive: needs a tensor of floating-point or integer dtype, but 'x' is "
                f'bool{list(x.shape)}; cast it first, as in cast(x, "int32")'
            )
        )
    return x.value() if isinstance(x, _native.Variable) else x


# --- Shapes ---------------------------------------------------------------------------------------


def broadcast_shapes(*shapes: Any) -> tuple[Any, ...]:
    """The shape that NumPy's broadcasting gives these; a symbolic size only fits itself or 1."""
    result: list[Any] = []
    for shape in shapes:
        sizes = list(shape)
        result = [1] * (len(sizes) - len(result)) + result
        at = len(result) - len(sizes)
        for i, size in enumerate(sizes, at):
            if _is_one(result[i]):
                result[i] = size
            elif not _is_one(size) and not size == result[i]:
                raise ValueError(
                    at_line(
                        f"broadcast_shapes: shapes {', '.join(str(list(s)) for s in shapes)} do "
                        f"not broadcast: at axis {i - len(result)} one has {result[i]} and another "
                        f"{size}; from the right, sizes must be equal or one of them 1"
                    )
                )
    return tuple(result)


def _is_one(size: Any) -> bool:
    return isinstance(size, int) and size == 1


def broadcast_arrays(*arrays: Any) -> list[Any]:
    """The tensors, each repeated to the shape that they have in common."""
    xs = [astensor(x) for x in arrays]
    shape = broadcast_shapes(*(x.shape for x in xs))
    return [F.broadcast_to(x, shape) for x in xs]


def moveaxis(x: Any, source: Any, destination: Any, /) -> Any:
    """`x` with some axes moved to other places; the others keep their order."""
    x = astensor(x)
    froms = [valid_axis("moveaxis", a, x) for a in _several(source)]
    tos = [valid_axis("moveaxis", a, x) for a in _several(destination)]
    if len(froms) != len(tos) or len(set(froms)) < len(froms) or len(set(tos)) < len(tos):
        raise ValueError(
            at_line(
                f"moveaxis: source {source} and destination {destination} do not pair up; give as "
                "many axes in each, and each axis once"
            )
        )
    order = [a for a in range(x.ndim) if a not in froms]
    for to, axis in sorted(zip(tos, froms, strict=True)):
        order.insert(to, axis)
    return F.transpose(x, order)


def _several(value: Any) -> tuple[Any, ...]:
    return tuple(value) if isinstance(value, (tuple, list)) else (value,)


def repeat(x: Any, repeats: Any, /, *, axis: int | None = None) -> Any:
    """`x` with each element repeated along an axis, all as often or each as often as a list says.

    Raises:
        TypeError: the numbers are a traced tensor; the shape of the result depends on them.
    """
    x = astensor(x)
    if axis is None:
        x, axis = F.reshape(x, -1), 0
    axis = valid_axis("repeat", axis, x)
    if is_int(repeats):
        return _ops.repeat(x, repeats, axis)
    if isinstance(repeats, _native.Tensor) and repeats.is_traced:
        _native.require_data(repeats, "repeat")
    counts, size = np.asarray(repeats), _known("repeat", x, axis)
    if counts.dtype.kind not in "iu" or counts.ndim > 1 or counts.size not in (1, size):
        raise ValueError(
            at_line(
                f"repeat: repeats {counts.tolist()} do not fit axis {axis} of size {size}; give "
                "one integer, or as many as the axis is long"
            )
        )
    return _ops.gather(x, np.repeat(np.arange(size), counts), axis)


def _known(name: str, x: Any, axis: int) -> int:
    size = x.shape[axis]
    if not isinstance(size, int):
        raise ValueError(
            at_line(
                f"{name}: axis {axis} has size `{size}`, which is not known while the function is "
                "traced; use another axis, or compile without dynamic_batch"
            )
        )
    return size


def unstack(x: Any, /, *, axis: int = 0) -> tuple[Any, ...]:
    """The slices of `x` along an axis, which they no longer have."""
    x = astensor(x)
    axis = valid_axis("unstack", axis, x)
    before = (slice(None),) * axis
    return tuple(getitem(x, (*before, i)) for i in range(_known("unstack", x, axis)))


def meshgrid(*arrays: Any, indexing: str = "xy") -> list[Any]:
    """Vectors as coordinates of a grid: one tensor of the grid's shape for each.

    With `indexing="ij"` the first vector runs along axis 0; with "xy" along axis 1, and the second
    along axis 0.
    """
    if indexing not in ("xy", "ij"):
        raise ValueError(at_line(f"meshgrid: indexing {indexing!r} is neither 'xy' nor 'ij'"))
    xs = [F.reshape(astensor(x), -1) for x in arrays]
    places = list(range(len(xs)))
    if indexing == "xy" and len(xs) > 1:
        places[:2] = 1, 0
    shape: list[Any] = [1] * len(xs)
    for x, place in zip(xs, places, strict=True):
        shape[place] = x.shape[0]
    grids = []
    for x, place in zip(xs, places, strict=True):
        own: list[Any] = [1] * len(xs)
        own[place] = x.shape[0]
        grids.append(F.broadcast_to(F.reshape(x, own), shape))
    return grids


def take_along_axis(x: Any, indices: Any, /, *, axis: int = -1) -> Any:
    """The elements of `x` at `indices`, which count along `axis`; the other axes broadcast.

    Negative indices count from the end; others outside are an IndexError at run time.
    """
    x, indices = astensor(x), astensor(indices)
    if indices.dtype.kind in ("signed", "unsigned"):  # the op takes two of them
        indices = F.cast(indices, _native.int64)
    return _ops.take_along_axis(x, indices, axis)


# --- Arithmetic -----------------------------------------------------------------------------------


def vecdot(x1: Any, x2: Any, /, *, axis: int = -1) -> Any:
    """Scalar products along an axis, counted from the end; the other axes broadcast."""
    x1, x2 = astensor(x1), astensor(x2)
    least = min(x1.ndim, x2.ndim)
    if not is_int(axis) or not -least <= axis < 0:
        raise ValueError(
            at_line(
                f"vecdot: axis {axis} is not possible for shapes {list(x1.shape)} and "
                f"{list(x2.shape)}; give a negative axis that both have"
            )
        )
    _require_same_size("vecdot", x1, axis, x2, axis)
    products = _ops.multiply(x1, x2)
    y = _ops.sum(products, axis, False)
    return y if y.dtype == products.dtype else F.cast(y, products.dtype)  # of small integers


def tensordot(x1: Any, x2: Any, /, *, axes: Any = 2) -> Any:
    """Products summed over pairs of axes: the last `axes` of x1 with the first of x2, or two lists.

    The result has the remaining axes of x1, then those of x2.
    """
    x1, x2 = astensor(x1), astensor(x2)
    if is_int(axes):
        if not 0 <= axes <= min(x1.ndim, x2.ndim):
            raise ValueError(
                at_line(
                    f"tensordot: axes={axes} is not possible for shapes {list(x1.shape)} and "
                    f"{list(x2.shape)}; give a number of axes that both have"
                )
            )
        pair: Any = (range(x1.ndim - axes, x1.ndim), range(axes))
    else:
        pair = tuple(_several(a) for a in axes)
    if len(pair) != 2 or len(pair[0]) != len(pair[1]):
        raise ValueError(
            at_line(
                f"tensordot: axes={axes} do not pair up; give a number, or two lists of as many "
                "axes"
            )
        )
    own = [valid_axis("tensordot", a, x1) for a in pair[0]]
    other = [valid_axis("tensordot", a, x2) for a in pair[1]]
    for a, b in zip(own, other, strict=True):
        _require_same_size("tensordot", x1, a, x2, b)
    left = [a for a in range(x1.ndim) if a not in own]
    right = [a for a in range(x2.ndim) if a not in other]
    rows, columns = [x1.shape[a] for a in left], [x2.shape[a] for a in right]
    summed = math.prod(x1.shape[a] for a in own)
    y = _ops.matmul(
        F.reshape(F.transpose(x1, left + own), (math.prod(rows), summed)),
        F.reshape(F.transpose(x2, other + right), (summed, math.prod(columns))),
    )
    return F.reshape(y, rows + columns)


def _require_same_size(name: str, x1: Any, a: int, x2: Any, b: int) -> None:
    if not x1.shape[a] == x2.shape[b]:
        raise ValueError(
            at_line(
                f"{name}: axis {a} of shape {list(x1.shape)} and axis {b} of shape "
                f"{list(x2.shape)} are summed over together, but one has {x1.shape[a]} and the "
                f"other {x2.shape[b]}; they must be equal"
            )
        )


def count_nonzero(x: Any, /, *, axis: Any = None, keepdims: bool = False) -> Any:
    """How many elements are not 0 (int64), along axes or of all."""
    x = astensor(x)
    counted = x if x.dtype == _native.bool_ else _ops.not_equal(x, 0)
    return _ops.sum(F.cast(counted, _native.int64), axis, keepdims)


def diff(x: Any, /, *, axis: int = -1, n: int = 1, prepend: Any = None, append: Any = None) -> Any:
    """Each element less its predecessor along an axis, `n` times over."""
    x = astensor(x)
    if not is_int(n) or n < 0:
        raise ValueError(at_line(f"diff: n={n!r} is not possible; give an integer, 0 or more"))
    axis = valid_axis("diff", axis, x)
    parts = [part for part in (prepend, x, append) if part is not None]
    if len(parts) > 1:
        x = F.concat(parts, axis=axis)
    before = (slice(None),) * axis
    for _ in range(n):
        x = getitem(x, (*before, slice(1, None))) - getitem(x, (*before, slice(None, -1)))
    return x


def cumulative_sum(
    x: Any, /, *, axis: int | None = None, dtype: Any = None, include_initial: bool = False
) -> Any:
    """The sums of the first 1, 2, … elements along an axis, 0 before them if `include_initial`.

    Array API spelling of `cumsum`. Integers come as int64 or uint64 by default.

    >>> import ostria as ost
    >>> ost.cumulative_sum(ost.asarray([1, 2, 3]), include_initial=True).numpy().tolist()
    [0, 1, 3, 6]
    """
    return _cumulative("cumulative_sum", _ops.cumsum, 0.0, x, axis, dtype, include_initial)


def cumulative_prod(
    x: Any, /, *, axis: int | None = None, dtype: Any = None, include_initial: bool = False
) -> Any:
    """The products of the first 1, 2, … elements along an axis, 1 before them if `include_initial`.

    Array API spelling of `cumprod`. Integers come as int64 or uint64 by default.

    >>> import ostria as ost
    >>> ost.cumulative_prod(ost.asarray([1, 2, 3])).numpy().tolist()
    [1, 2, 6]
    """
    return _cumulative("cumulative_prod", _ops.cumprod, 1.0, x, axis, dtype, include_initial)


def _cumulative(
    name: str, op: Any, neutral: float, x: Any, axis: Any, dtype: Any, include_initial: bool
) -> Any:
    x = astensor(x)
    if axis is None and x.ndim != 1:
        raise ValueError(
            at_line(f"{name}: give the axis; only a tensor of rank 1 needs none, not {x.ndim}")
        )
    axis = valid_axis(name, 0 if axis is None else axis, x)
    y = accumulated(op, x, dtype, axis)
    return _ops.pad(y, *_in_front(y, axis, 1), neutral) if include_initial else y


def _in_front(x: Any, axis: int, count: int) -> tuple[list[int], list[int]]:
    low = [0] * x.ndim
    low[axis] = count
    return low, [0] * x.ndim
