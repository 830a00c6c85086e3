# SPDX-License-Identifier: Apache-2.0
"""What counts as an integer or a number among user-supplied values (no bool, NumPy's included)."""

from __future__ import annotations

import numbers


def is_int(value: object) -> bool:
    """True for Python and NumPy integers; a bool is not one."""
    return isinstance(value, numbers.Integral) and not isinstance(value, bool)


def is_number(value: object) -> bool:
    """True for Python and NumPy real numbers; a bool is not one."""
    return isinstance(value, numbers.Real) and not isinstance(value, bool)
