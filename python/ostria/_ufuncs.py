# SPDX-License-Identifier: Apache-2.0
"""What NumPy's ufuncs do with a tensor: operators work, all else names the function to use."""

from __future__ import annotations

from typing import Any

from ostria import _native
from ostria._errors import at_line

# NumPy calls these for `array + tensor` too; the method of the tensor on the left, on the right.
_OPERATORS = {
    "add": ("__add__", "__radd__"),
    "subtract": ("__sub__", "__rsub__"),
    "multiply": ("__mul__", "__rmul__"),
    "divide": ("__truediv__", "__rtruediv__"),
    "true_divide": ("__truediv__", "__rtruediv__"),
    "floor_divide": ("__floordiv__", "__rfloordiv__"),
    "remainder": ("__mod__", "__rmod__"),
    "power": ("__pow__", "__rpow__"),
    "matmul": ("__matmul__", "__rmatmul__"),
    "bitwise_and": ("__and__", "__rand__"),
    "bitwise_or": ("__or__", "__ror__"),
    "bitwise_xor": ("__xor__", "__rxor__"),
    "left_shift": ("__lshift__", "__rlshift__"),
    "right_shift": ("__rshift__", "__rrshift__"),
    "equal": ("__eq__", "__eq__"),
    "not_equal": ("__ne__", "__ne__"),
    "less": ("__lt__", "__gt__"),
    "less_equal": ("__le__", "__ge__"),
    "greater": ("__gt__", "__lt__"),
    "greater_equal": ("__ge__", "__le__"),
}
_NAMES = {
    "power": "pow",
    "invert": "bitwise_invert",
    "left_shift": "bitwise_left_shift",
    "right_shift": "bitwise_right_shift",
    "absolute": "abs",
    "arcsin": "asin",
    "arccos": "acos",
    "arctan": "atan",
    "arctan2": "atan2",
    "arcsinh": "asinh",
    "arccosh": "acosh",
    "arctanh": "atanh",
    "conjugate": "conj",
    "rint": "round",
    "true_divide": "divide",
}


def array_ufunc(x: Any, ufunc: Any, method: str, *inputs: Any, **options: Any) -> Any:
    """`__array_ufunc__` of Tensor and Variable.

    Raises:
        TypeError: the ufunc is no operator, or has options such as `out`; says what to use.
    """
    name = ufunc.__name__
    if method == "__call__" and not options and name in _OPERATORS and len(inputs) == 2:
        a, b = inputs
        left, right = _OPERATORS[name]
        is_left = isinstance(a, (_native.Tensor, _native.Variable))
        result = getattr(a, left)(b) if is_left else getattr(b, right)(a)
        if result is not NotImplemented:
            return result
    import ostria

    ours = _NAMES.get(name, name)
    called = f"numpy.{name}" + ("" if method == "__call__" else f".{method}")
    remedy = f"use ost.{ours}(...)" if hasattr(ostria, ours) else "use functions of ostria"
    if method != "__call__":
        remedy = "use functions of ostria"
    elif options.get("out") is not None:
        remedy += ", which gives a new tensor; x = x + y instead of x += y"
    raise TypeError(
        at_line(
            f"{called} does not take ostria tensors; {remedy}, or outside of traced functions "
            "NumPy on x.numpy()"
        )
    )
