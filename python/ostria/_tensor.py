# SPDX-License-Identifier: Apache-2.0
"""What Tensor and Variable can do beyond the native class: methods, conversions, printing."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from ostria import _device, _native, _trainable
from ostria import _functions as F
from ostria._array_api import positive
from ostria._errors import add_remark, at_line
from ostria._indexing import getitem
from ostria._keywords import check_keywords, checked_keywords
from ostria._reductions import accumulated
from ostria._ufuncs import array_ufunc


def _repr(x: Any) -> str:
    shape = ", ".join(str(d) for d in x.shape)
    if x.is_traced:
        return f"<traced Tensor {x.dtype}[{shape}]>"
    data = F.cast(x, _native.float32) if x.dtype == _native.bfloat16 else x
    text = np.array2string(
        data.numpy(), separator=", ", threshold=100, precision=6, prefix="tensor("
    )
    return (
        f"tensor({text}, dtype={x.dtype})"
        if x.size
        else f"tensor([], shape=[{shape}], dtype={x.dtype})"
    )


def _number(kind: Any, act: str) -> Any:
    def convert(x: Any) -> Any:
        if isinstance(x, _native.Variable):
            x = x.value()
        if x.is_traced:
            _native.require_data(x, act)
        if x.size != 1:
            raise ValueError(
                at_line(
                    f"{act} needs a tensor of one element, but this one has shape {list(x.shape)}; "
                    "use ost.any or ost.all for a truth value, numpy() for the data"
                )
            )
        return kind(x.item())

    return convert


def _format(x: Any, spec: str) -> str:
    if not spec:
        return str(x)
    text: str = _number(lambda value: format(value, spec), f"the format {spec!r}")(x)
    return text


def _index(x: Any) -> int:
    if x.dtype.kind not in ("signed", "unsigned"):
        raise TypeError(
            at_line(f"a {x.dtype} tensor cannot be an index; use ost.cast(x, ost.int64)")
        )
    return int(_number(int, "an index")(x))


def _array(x: Any, dtype: Any = None, copy: bool | None = None) -> Any:
    if isinstance(x, _native.Tensor) and x.is_traced:
        try:
            _native.require_data(x, "NumPy")
        except TypeError as error:
            add_remark(error, "; instead of NumPy's functions use those of ostria")
            raise
    a = x.numpy()
    if dtype is None or np.dtype(dtype) == a.dtype:
        return np.array(a) if copy else a
    if copy is False:
        raise ValueError(
            at_line(f"__array__: copy=False, but {a.dtype} to {np.dtype(dtype)} needs a copy")
        )
    return a.astype(dtype)


def _rebuild(values: Any, dtype: str) -> Any:
    return F.cast(F.asarray(values), dtype)


def _reduce(x: Any) -> Any:
    # bfloat16 travels as float32, which holds each of its values exactly.
    data = F.cast(x, _native.float32) if x.dtype == _native.bfloat16 else x
    return _rebuild, (data.numpy(), str(x.dtype))


def _variable_dlpack(v: Any, *, copy: bool | None = None, **options: Any) -> Any:
    # copy=False asks for the live memory, read-only; otherwise the value as it is now.
    return (v.view() if copy is False else v.value()).__dlpack__(copy=copy, **options)


def _length(x: Any) -> int:
    if not x.shape:
        raise TypeError(at_line("len(): a tensor of rank 0 has no length"))
    n = x.shape[0]
    if not isinstance(n, int):
        raise TypeError(
            at_line(
                "len() of a traced tensor whose batch size is not known; use x.shape[0], which may "
                "appear in shapes"
            )
        )
    return n


def _iterate(x: Any) -> Any:
    return (getitem(x, i) for i in range(_length(x)))


def _symint_error(act: str) -> Any:
    def fail(d: Any) -> Any:
        raise TypeError(
            at_line(
                f"{act} needs the size `{d!r}`, which is not known while the function is traced: "
                "one "
                "trace serves every batch size. Use it in shapes, or compile without dynamic_batch"
            )
        )

    return fail


def _setitem(x: Any, index: Any, value: Any) -> None:
    raise TypeError(
        at_line(
            "tensors are immutable: x[i] = v is not possible; use ost.where or ost.scatter_update, "
            "or assign a whole new value to an ost.Variable"
        )
    )


_API_VERSIONS = ("2021.12", "2022.12", "2023.12", "2024.12")


def _namespace(x: Any, *, api_version: str | None = None) -> Any:
    import ostria

    if api_version is not None and api_version not in _API_VERSIONS:
        raise ValueError(
            at_line(
                f"__array_namespace__: version {api_version!r} of the Array API is not known; "
                f"accepted are {', '.join(_API_VERSIONS)}"
            )
        )
    return ostria


def _to_device(x: Any, device: Any, /, *, stream: Any = None) -> Any:
    if stream is not None:
        raise ValueError(
            at_line("to_device: copies are ordered by themselves; stream must be None")
        )
    return _device.to_device(x, device)


def install() -> None:
    """Adds the methods to the native classes; called once by the package."""
    classes: tuple[Any, ...] = (_native.Tensor, _native.Variable)
    for cls in classes:
        cls.__bool__ = _number(bool, "bool()")
        cls.__float__ = _number(float, "float()")
        cls.__int__ = _number(int, "int()")
        cls.__index__ = _index
        cls.__len__ = _length
        cls.__iter__ = _iterate
        cls.__getitem__ = getitem
        cls.__setitem__ = _setitem
        cls.__array__ = _array
        cls.__array_priority__ = 1000  # NumPy lets our operators win
        cls.__array_ufunc__ = array_ufunc
        cls.__format__ = _format
        cls.__array_namespace__ = _namespace
        cls.to_device = _to_device
        cls.__pos__ = lambda x: positive(x)
        cls.__matmul__ = lambda a, b: F.matmul(a, b)
        cls.__rmatmul__ = lambda a, b: F.matmul(b, a)
        cls.T = property(lambda x: F.transpose(x))
        cls.mT = property(lambda x: F.matrix_transpose(x))
        cls.reshape = _reshape
        cls.astype = _astype
        for name in ("sum", "mean", "max", "min", "prod", "any", "all"):
            op = getattr(_native.ops, name, None)
            if op is not None:
                setattr(cls, name, _method(op))
    tensor: Any = _native.Tensor
    sym: Any = _native.SymInt
    tensor.__repr__ = _repr
    tensor.__reduce__ = _reduce
    variable: Any = _native.Variable
    variable.__init__ = _variable_init(variable.__init__)
    variable._trainable = variable.trainable  # the flag itself; the property tells who asks
    variable.trainable = property(_get_trainable, _set_trainable, doc=_TRAINABLE)
    variable.__dlpack__ = _variable_dlpack
    variable.__dlpack_device__ = lambda v: (1, 0)  # kDLCPU
    sym.__bool__ = _symint_error("bool()")
    sym.__int__ = _symint_error("int()")
    sym.__float__ = _symint_error("float()")
    sym.__index__ = _symint_error("an index or range()")
    sym.__iter__ = _symint_error("iteration")
    for name in ("__lt__", "__le__", "__gt__", "__ge__"):
        setattr(sym, name, lambda a, b: _symint_error("a comparison")(a))


_TRAINABLE = (
    "Whether optimizers are to change it. It may be set at any time: compiled functions that ask "
    "for it are traced again."
)


def _get_trainable(variable: Any) -> bool:
    return _trainable.note(variable, variable._trainable)


def _set_trainable(variable: Any, flag: bool) -> None:
    if not isinstance(flag, bool):
        raise TypeError(
            at_line(f"Variable: trainable {flag!r} is not accepted; give True or False")
        )
    if flag != variable._trainable:
        variable._trainable = flag
        _trainable.changed()


def _variable_init(native_init: Any) -> Any:
    def declared(
        self: Any,
        initial: Any,
        *,
        name: str = "",
        trainable: bool = True,
        aggregation: str = "none",
    ) -> None: ...

    @functools.wraps(declared)
    def init(self: Any, *initial: Any, **options: Any) -> None:
        check_keywords("Variable", options, ("initial", "name", "trainable", "aggregation"))
        count = len(initial) + ("initial" in options)
        if count != 1:
            raise TypeError(
                at_line(
                    f"Variable: {count} values were given, but it takes one, its first; use "
                    "ost.Variable(value, name=..., trainable=...)"
                )
            )
        for name, kind in (("name", str), ("trainable", bool), ("aggregation", str)):
            if not isinstance(options.get(name, kind()), kind):
                raise TypeError(
                    at_line(
                        f"Variable: {name} {options[name]!r} is not accepted; give a "
                        f"{kind.__name__}"
                    )
                )
        native_init(self, *initial, **options)

    init.__name__, init.__doc__ = "__init__", native_init.__doc__
    return init


@checked_keywords("reshape")
def _reshape(x: Any, /, *shape: Any) -> Any:
    return F.reshape(x, shape[0] if len(shape) == 1 else shape)


@checked_keywords("astype")
def _astype(x: Any, /, dtype: Any) -> Any:
    return F.cast(x, dtype)


def _method(op: Any) -> Any:
    # dtype and out are what np.sum and its like pass on.
    @checked_keywords(op.__name__)
    def method(
        x: Any, /, axis: Any = None, keepdims: bool = False, *, dtype: Any = None, out: None = None
    ) -> Any:
        if out is not None:
            raise TypeError(at_line(f"{op.__name__}: out= is not possible: tensors are immutable"))
        return accumulated(op, x, dtype, axis, keepdims)

    method.__name__ = op.__name__
    method.__doc__ = op.__doc__
    return method
