# SPDX-License-Identifier: Apache-2.0
"""What counts as an integer, a number or a function among user-supplied values.

A bool is no number; NumPy's integers and floats are.
"""

from __future__ import annotations

import numbers
from typing import Any

from ostria._errors import at_line


def is_int(value: object) -> bool:
    """True for Python and NumPy integers; a bool is not one."""
    return isinstance(value, numbers.Integral) and not isinstance(value, bool)


def is_number(value: object) -> bool:
    """True for Python and NumPy real numbers; a bool is not one."""
    return isinstance(value, numbers.Real) and not isinstance(value, bool)


def check_positive_int(kind: str, what: str, value: Any) -> int:
    """`value` as an int, which must be at least 1."""
    if not (is_int(value) and value >= 1):
        _fail(kind, what, value, "a positive integer")
    return int(value)


def check_not_negative(kind: str, what: str, value: Any) -> float:
    """`value` as a float, which must be a number of at least 0."""
    if not (is_number(value) and value >= 0):
        _fail(kind, what, value, "a number of at least 0")
    return float(value)


def check_share(kind: str, what: str, value: Any) -> float:
    """`value` as a float, which must be at least 0 and less than 1."""
    if not (is_number(value) and 0 <= value < 1):
        _fail(kind, what, value, "a number from 0 up to, but not, 1")
    return float(value)


def check_fraction(kind: str, what: str, value: Any) -> float:
    """`value` as a float, which must be from 0 to 1."""
    if not (is_number(value) and 0 <= value <= 1):
        _fail(kind, what, value, "a number from 0 to 1")
    return float(value)


def check_function(kind: str, what: str, value: Any) -> None:
    """`value` must be callable."""
    if not callable(value):
        raise TypeError(at_line(f"{kind}: {what} is {value!r}; give a function"))


def _fail(kind: str, what: str, value: Any, accepted: str) -> None:
    raise ValueError(at_line(f"{kind}: {what} {value!r} is not accepted; give {accepted}"))
