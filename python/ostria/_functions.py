# SPDX-License-Identifier: Apache-2.0
"""Functions that are more than one op: creation, sugar over shapes, NumPy-style indexing.

Every registered op is a function of `ostria` as it stands; what is defined here goes before it.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Sequence
from typing import Any

import numpy as np

from ostria import _native
from ostria._checks import is_number
from ostria._device import is_on_gpu
from ostria._errors import at_line

__all__ = [
    "arange",
    "argmax",
    "argmin",
    "asarray",
    "astype",
    "broadcast_to",
    "cast",
    "clip",
    "concat",
    "e",
    "empty",
    "empty_like",
    "expand_dims",
    "eye",
    "full",
    "full_like",
    "inf",
    "isdtype",
    "linspace",
    "logspace",
    "matmul",
    "matrix_transpose",
    "nan",
    "newaxis",
    "ones",
    "ones_like",
    "pad",
    "permute_dims",
    "pi",
    "reshape",
    "squeeze",
    "stack",
    "std",
    "take",
    "transpose",
    "var",
    "zeros",
    "zeros_like",
]

_ops = _native.ops

pi, e, inf, nan, newaxis = math.pi, math.e, math.inf, math.nan, None


# --- Creation -------------------------------------------------------------------------------------


def asarray(
    obj: Any, /, *, dtype: Any = None, copy: bool | None = None, device: str | None = None
) -> Any:
    """A tensor of a NumPy array, a tensor, a number or nested lists.

    A C-contiguous NumPy array is shared, not copied, unless `copy=True`: do not write to it
    afterwards. A tensor of another library that lies on a GPU stays there (see `from_dlpack`).
    Python floats give float32, ints int64.

    Raises:
        TypeError: the object has no tensor counterpart.
        ValueError: `copy=False` and a copy is needed.
    """
    check_device("asarray", device)
    if isinstance(obj, _native.Variable):
        obj = obj.value()
    if isinstance(obj, (list, tuple)) and any(isinstance(x, _native.Tensor) for x in obj):
        obj = stack([asarray(x) for x in obj])
    if isinstance(obj, (bool, int, float)) and not isinstance(obj, np.generic):
        return _filled("asarray", (), obj, dtype)
    if not isinstance(obj, _native.Tensor) and is_on_gpu(obj):
        obj = _native.from_dlpack(obj, copy=copy)
    if isinstance(obj, _native.Tensor):
        return obj if dtype is None else cast(obj, dtype)
    if dtype is not None and not isinstance(obj, np.ndarray):
        wanted = _native.dtype(dtype)
        if wanted != _native.bfloat16:
            return _native.tensor_from_array(_converted(obj, wanted), False)
    tensor = _native.tensor_from_array(obj, bool(copy))
    if copy is False and isinstance(obj, np.ndarray) and not obj.flags.c_contiguous:
        raise ValueError(
            at_line("asarray: copy=False, but the array is not C-contiguous; use copy=None")
        )
    return tensor if dtype is None else cast(tensor, dtype)


def _converted(obj: Any, dtype: Any) -> Any:
    try:
        require_fit("asarray", np.asarray(obj), dtype)
        return np.asarray(obj, dtype=dtype.numpy())
    except (OverflowError, ValueError):
        raise TypeError(
            at_line(
                f"asarray: cannot make a tensor of {dtype} of {obj!r}; nested lists must hold "
                "numbers in its range only, and as many in each row"
            )
        ) from None


def check_device(name: str, device: Any) -> None:
    """Nothing is made on another device than the default one here; `to_device` copies there."""
    here = _native.get_default_device()
    if device in (None, here) or (device == "cuda" and here == "cuda:0"):
        return
    _native.require_device(device)  # raises why there is none
    raise ValueError(
        at_line(
            f"{name}: device {device!r} is not the default device, {here!r}; use "
            f"`with ost.device({device!r}):`, or ost.to_device(x, {device!r})"
        )
    )


def full(shape: Any, fill_value: Any, *, dtype: Any = None, device: str | None = None) -> Any:
    """A tensor of `shape` with every element `fill_value`; dtype follows the value by default."""
    check_device("full", device)
    return _filled("full", shape, fill_value, dtype)


def _filled(name: str, shape: Any, fill_value: Any, dtype: Any) -> Any:
    if dtype is None:
        dtype = (
            _native.bool_
            if isinstance(fill_value, bool)
            else _native.int64
            if isinstance(fill_value, int)
            else _native.float32
        )
    dtype = _native.dtype(dtype)
    require_fit(name, fill_value, dtype)
    if isinstance(fill_value, int) and abs(fill_value) > 2**53 and dtype.kind != "float":
        return broadcast_to(
            _native.tensor_from_array(np.asarray(fill_value, dtype.numpy()), True), shape
        )
    return _ops.full(
        shape=shape if isinstance(shape, (tuple, list)) else (shape,),
        dtype=dtype,
        value=float(fill_value),
    )


def require_fit(name: str, numbers: Any, dtype: Any) -> None:
    """Raises TypeError if one of `numbers` (a number, an array) is out of an integer dtype's range.

    Fractions are cut off, as `cast` does.
    """
    if dtype.kind not in ("signed", "unsigned"):
        return
    bits = 8 * dtype.itemsize
    low, end = (-(2 ** (bits - 1)), 2 ** (bits - 1)) if dtype.kind == "signed" else (0, 2**bits)
    if isinstance(numbers, (int, float)):
        given = [numbers]
    else:
        array = np.asarray(numbers)
        if array.dtype.kind not in "iuf" or not array.size:
            return
        given = [array.min().item(), array.max().item()]
    for number in given:
        if not low - 1 < number < end:
            raise TypeError(
                at_line(
                    f"{name}: the number {number!r} does not fit {dtype}, which holds "
                    f"{low}..{end - 1}; give a wider dtype"
                )
            )


def zeros(shape: Any, *, dtype: Any = None, device: str | None = None) -> Any:
    """A tensor of zeros, float32 by default."""
    return full(shape, 0.0, dtype=dtype or _native.float32, device=device)


def ones(shape: Any, *, dtype: Any = None, device: str | None = None) -> Any:
    """A tensor of ones, float32 by default."""
    return full(shape, 1.0, dtype=dtype or _native.float32, device=device)


def empty(shape: Any, *, dtype: Any = None, device: str | None = None) -> Any:
    """A tensor of zeros: uninitialised memory is never shown."""
    return zeros(shape, dtype=dtype, device=device)


def full_like(x: Any, fill_value: Any, *, dtype: Any = None, device: str | None = None) -> Any:
    """As `full`, with the shape and dtype of `x`."""
    return full(tuple(x.shape), fill_value, dtype=dtype or x.dtype, device=device)


def zeros_like(x: Any, *, dtype: Any = None, device: str | None = None) -> Any:
    """Zeros with the shape and dtype of `x`."""
    return full_like(x, 0.0, dtype=dtype, device=device)


def ones_like(x: Any, *, dtype: Any = None, device: str | None = None) -> Any:
    """Ones with the shape and dtype of `x`."""
    return full_like(x, 1.0, dtype=dtype, device=device)


def empty_like(x: Any, *, dtype: Any = None, device: str | None = None) -> Any:
    """As `zeros_like`."""
    return zeros_like(x, dtype=dtype, device=device)


def arange(
    start: Any, stop: Any = None, step: Any = 1, *, dtype: Any = None, device: str | None = None
) -> Any:
    """Evenly spaced values in [start, stop), as NumPy counts; int64 or, for floats, float32."""
    check_device("arange", device)
    if stop is None:
        start, stop = 0, start
    if step == 0:
        raise ValueError(at_line("arange: step 0 never arrives; give a positive or negative step"))
    if dtype is None:
        whole = all(isinstance(v, int) for v in (start, stop, step))
        dtype = _native.int64 if whole else _native.float32
    dtype = _native.dtype(dtype)
    if all(is_number(v) and math.isfinite(v) for v in (start, stop, step)):
        count = math.ceil((stop - start) / step)
        for value in (start, start + (count - 1) * step)[: max(count, 0)]:
            require_fit("arange", value, dtype)
    return asarray(np.arange(start, stop, step, dtype=dtype.numpy()))


def linspace(
    start: float,
    stop: float,
    num: int,
    *,
    dtype: Any = None,
    endpoint: bool = True,
    device: str | None = None,
) -> Any:
    """`num` evenly spaced values from start to stop, float32 by default."""
    check_device("linspace", device)
    dtype = _native.dtype(dtype or _native.float32)
    values = np.linspace(start, stop, num, endpoint=endpoint)
    require_fit("linspace", values, dtype)
    return asarray(values.astype(dtype.numpy()))


def logspace(
    start: float,
    stop: float,
    num: int,
    *,
    base: float = 10.0,
    dtype: Any = None,
    endpoint: bool = True,
    device: str | None = None,
) -> Any:
    """`num` values from base^start to base^stop, each as far from the next by a factor.

    >>> import ostria as ost
    >>> ost.logspace(0, 2, 3).numpy().tolist()
    [1.0, 10.0, 100.0]
    """
    check_device("logspace", device)
    dtype = _native.dtype(dtype or _native.float32)
    values = np.logspace(start, stop, num, endpoint=endpoint, base=base)
    require_fit("logspace", values, dtype)
    return asarray(values.astype(dtype.numpy()))


def eye(
    n_rows: int,
    n_cols: int | None = None,
    *,
    k: int = 0,
    dtype: Any = None,
    device: str | None = None,
) -> Any:
    """Ones on diagonal `k`, zeros elsewhere, shape [n_rows, n_cols]; float32 by default."""
    check_device("eye", device)
    return asarray(np.eye(n_rows, n_cols, k, dtype=_native.dtype(dtype or _native.float32).numpy()))


# --- dtypes ---------------------------------------------------------------------------------------


def cast(x: Any, dtype: Any) -> Any:
    """`x` as `dtype`. Float to int truncates toward zero and saturates; NaN becomes 0."""
    return _ops.cast(x, _native.dtype(dtype))


def astype(x: Any, dtype: Any, /, *, copy: bool = True, device: str | None = None) -> Any:
    """Array API spelling of `cast`."""
    check_device("astype", device)
    return cast(x, dtype)


# --- Shapes ---------------------------------------------------------------------------------------


def _dim(value: Any) -> Any:
    """A size: an int where it is known, else the SymInt."""
    if isinstance(value, _native.SymInt):
        known = value._value()
        return value if known is None else known
    try:
        return operator.index(value)
    except TypeError:
        raise TypeError(
            at_line(f"reshape: a size of {value!r} is not accepted; sizes are integers: use int()")
        ) from None


def _ints(value: Any) -> tuple[int, ...]:
    return tuple(value) if isinstance(value, (tuple, list)) else (value,)


def reshape(x: Any, shape: Any, *, copy: bool | None = None) -> Any:
    """`x` with another shape of as many elements, in row-major order; one size may be -1.

    Raises:
        ValueError: the element counts differ, or two sizes are -1.
    """
    x = astensor(x)
    sizes = [_dim(d) for d in _ints(shape)]
    unknown = [i for i, d in enumerate(sizes) if isinstance(d, int) and d == -1]
    if len(unknown) > 1:
        raise ValueError(
            at_line(
                f"reshape: shape {list(sizes)} has {len(unknown)} sizes of -1; at most one is "
                "allowed"
            )
        )
    if unknown:
        known: Any = 1
        for i, d in enumerate(sizes):
            if i != unknown[0]:
                known = known * d
        total = x.size
        if isinstance(known, int) and known == 0:
            raise ValueError(
                at_line(
                    f"reshape: -1 in shape {list(sizes)} is not determined beside a size of 0; "
                    "give the size"
                )
            )
        if isinstance(total, int) and isinstance(known, int) and total % known != 0:
            raise ValueError(
                at_line(
                    f"reshape: cannot make shape {list(sizes)} of the {total} elements of a tensor "
                    f"of shape {list(x.shape)}; {total} is not a multiple of {known}"
                )
            )
        if isinstance(total, int) and not isinstance(known, int):
            raise ValueError(
                at_line(
                    f"reshape: -1 in shape {list(sizes)} is not determined while the batch size is "
                    "not known; give the size"
                )
            )
        sizes[unknown[0]] = _dim(total // known)
    return _ops.reshape(x, sizes)


def astensor(x: Any) -> Any:
    """`x` if it is a Tensor or Variable, else `asarray(x)`."""
    return x if isinstance(x, (_native.Tensor, _native.Variable)) else asarray(x)


def valid_axis(name: str, axis: Any, x: Any) -> int:
    """The axis of `x` as 0..rank-1; an error of function `name` where there is none."""
    if not -x.ndim <= operator.index(axis) < x.ndim:
        raise ValueError(
            at_line(
                f"{name}: axis {axis} is out of range for a tensor of rank {x.ndim} (shape "
                f"{list(x.shape)}); valid axes are {-x.ndim}..{x.ndim - 1}"
            )
        )
    return operator.index(axis) % int(x.ndim)


def transpose(x: Any, axes: Sequence[int] | None = None) -> Any:
    """`x` with its axes in another order; reversed by default."""
    x = astensor(x)
    return _ops.transpose(x, tuple(range(x.ndim))[::-1] if axes is None else tuple(axes))


def permute_dims(x: Any, /, axes: Sequence[int]) -> Any:
    """Array API spelling of `transpose`."""
    return transpose(x, axes)


def matrix_transpose(x: Any, /) -> Any:
    """The last two axes exchanged."""
    axes = list(range(astensor(x).ndim))
    axes[-2:] = axes[-1], axes[-2]
    return transpose(x, axes)


def expand_dims(x: Any, /, *, axis: int | Sequence[int] = 0) -> Any:
    """`x` with axes of size 1 at the given places of the result: (3, 2), axis=1: (3, 1, 2)."""
    return _ops.expand_dims(x, _ints(axis))


def squeeze(x: Any, /, axis: int | Sequence[int] | None = None) -> Any:
    """`x` without the given axes of size 1; without all of them by default."""
    x = astensor(x)
    if axis is None:
        axis = [i for i, d in enumerate(x.shape) if isinstance(d, int) and d == 1]
    return _ops.squeeze(x, _ints(axis))


def broadcast_to(x: Any, /, shape: Any) -> Any:
    """`x` repeated along axes of size 1 and new leading axes, as NumPy broadcasts."""
    return _ops.broadcast_to(x, _ints(shape))


def concat(xs: Sequence[Any], /, *, axis: int | None = 0) -> Any:
    """Tensors joined along an axis; flattened first when it is None."""
    xs = [astensor(x) for x in xs]
    if axis is None:
        xs, axis = [reshape(x, -1) for x in xs], 0
    return _ops.concat(xs, axis)


def stack(xs: Sequence[Any], /, *, axis: int = 0) -> Any:
    """Tensors of equal shape joined along a new axis."""
    xs = [astensor(x) for x in xs]
    if not xs:
        raise ValueError(at_line("stack: needs at least one tensor"))
    if axis < 0:
        axis += xs[0].ndim + 1
    return concat([expand_dims(x, axis=axis) for x in xs], axis=axis)


def pad(x: Any, widths: Any, *, value: float = 0.0) -> Any:
    """`x` with (before, after) elements of `value` added per axis; one pair serves all axes."""
    x = astensor(x)
    pairs = [tuple(w) if isinstance(w, (tuple, list)) else (w, w) for w in _ints(widths)]
    if len(pairs) == 2 and not isinstance(widths[0], (tuple, list)):
        pairs = [tuple(widths)] * x.ndim
    elif len(pairs) == 1:
        pairs = pairs * x.ndim
    return _ops.pad(x, [p[0] for p in pairs], [p[1] for p in pairs], float(value))


def take(x: Any, indices: Any, /, *, axis: int = 0) -> Any:
    """Array API spelling of `gather`."""
    return _ops.gather(x, indices, axis)


# --- Reductions -----------------------------------------------------------------------------------


def var(x: Any, /, *, axis: Any = None, correction: float = 0.0, keepdims: bool = False) -> Any:
    """Variance: squared distance to the mean, divided by (count - correction)."""
    x = astensor(x)
    distance = x - _ops.mean(x, axis, True)
    square = _ops.square(distance)
    if not correction:
        return _ops.mean(square, axis, keepdims)
    axes = range(x.ndim) if axis is None else _ints(axis)
    count: Any = 1
    for a in axes:
        count = count * x.shape[a]
    return _ops.sum(square, axis, keepdims) / float(count - correction)


def std(x: Any, /, *, axis: Any = None, correction: float = 0.0, keepdims: bool = False) -> Any:
    """Standard deviation: the square root of `var`."""
    return _ops.sqrt(var(x, axis=axis, correction=correction, keepdims=keepdims))


def argmax(x: Any, /, *, axis: int | None = None, keepdims: bool = False) -> Any:
    """Index (int64) of the largest element, the first of equal ones; by default of all."""
    return _arg(_ops.argmax, x, axis, keepdims)


def argmin(x: Any, /, *, axis: int | None = None, keepdims: bool = False) -> Any:
    """Index (int64) of the smallest element, the first of equal ones; by default of all."""
    return _arg(_ops.argmin, x, axis, keepdims)


def _arg(op: Any, x: Any, axis: int | None, keepdims: bool) -> Any:
    x = astensor(x)
    if axis is not None:
        return op(x, axis, keepdims)
    y = op(reshape(x, -1), 0, False)
    return reshape(y, (1,) * x.ndim) if keepdims else y


# --- Arithmetic -----------------------------------------------------------------------------------


def matmul(a: Any, b: Any, /, *, transpose_a: bool = False, transpose_b: bool = False) -> Any:
    """Matrix product over the last two axes, leading ones broadcast; vectors as NumPy treats them.

    Raises:
        ValueError: the contracted sizes differ, or an operand is a scalar.
    """
    a, b = astensor(a), astensor(b)
    if a.ndim == 0 or b.ndim == 0:
        raise ValueError(
            at_line("matmul: needs tensors of rank 1 or more; multiply a scalar with *")
        )
    row, column = a.ndim == 1, b.ndim == 1
    if row:
        a = expand_dims(a, axis=0)
    if column:
        b = expand_dims(b, axis=1)
    y = _ops.matmul(a, b, transpose_a, transpose_b)
    if column:
        y = squeeze(y, y.ndim - 1)
    return squeeze(y, y.ndim - 1 if column or y.ndim == 1 else y.ndim - 2) if row else y


def clip(x: Any, /, min: Any = None, max: Any = None) -> Any:
    """`x` limited to [min, max]; None leaves a side open. NaN stays NaN.

    Bounds that are tensors broadcast, and share the gradient of elements that equal them.

    Raises:
        TypeError: a bound is no number or tensor, or a fraction where `x` holds integers.

    >>> import ostria as ost
    >>> ost.clip(ost.asarray([-1.0, 5.0]), 0.0, ost.asarray([3.0, 9.0])).numpy().tolist()
    [0.0, 5.0]
    """
    x = astensor(x)
    if isinstance(min, _BOUNDS):
        x, min = _ops.maximum(x, _like(x, min)), None
    if isinstance(max, _BOUNDS):
        x, max = _ops.minimum(x, _like(x, max)), None
    if min is None and max is None:
        return x
    low, high = _limit("min", min, -math.inf), _limit("max", max, math.inf)
    if x.dtype.kind != "float":
        for name, bound in (("min", low), ("max", high)):
            if math.isfinite(bound) and bound != int(bound):
                raise TypeError(
                    at_line(
                        f"clip: {name} {bound} is a fraction, but the tensor is {x.dtype}; give an "
                        "integer, or use ost.cast(x, ost.float32) first"
                    )
                )
    return _ops.clip(x, low, high)


_BOUNDS = (_native.Tensor, _native.Variable, np.ndarray)


def _like(x: Any, bound: Any) -> Any:
    """A tensor of `x`'s dtype if the bound is of its kind; ops refuse the others."""
    bound = astensor(bound)
    return cast(bound, x.dtype) if bound.dtype.kind == x.dtype.kind else bound


def _limit(name: str, value: Any, open_side: float) -> float:
    try:
        return open_side if value is None else float(value)
    except ValueError:
        raise TypeError(
            at_line(f"clip: {name} {value!r} is not accepted; give a number, or None for no limit")
        ) from None


def isdtype(dtype: Any, kind: Any) -> bool:
    """Whether `dtype` is a given dtype or of a kind ('bool', 'integral', 'real floating', …)."""
    if isinstance(kind, tuple):
        return any(isdtype(dtype, k) for k in kind)
    own = _native.dtype(dtype)
    kinds = {
        "bool": ("bool",),
        "signed integer": ("signed",),
        "unsigned integer": ("unsigned",),
        "integral": ("signed", "unsigned"),
        "real floating": ("float",),
        "complex floating": (),
        "numeric": ("signed", "unsigned", "float"),
    }
    if isinstance(kind, str) and kind in kinds:
        return own.kind in kinds[kind]
    return bool(own == _native.dtype(kind))
