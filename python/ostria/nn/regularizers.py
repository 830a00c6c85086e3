# SPDX-License-Identifier: Apache-2.0
"""Penalties on weights, added to the loss."""

from __future__ import annotations

from typing import Any

from ostria import _native
from ostria._checks import check_not_negative
from ostria._errors import at_line

__all__ = ["L1", "L1L2", "L2", "get"]

_ops = _native.ops


class L1L2:
    """l1 * sum(|w|) + l2 * sum(w²)."""

    def __init__(self, l1: float = 0.0, l2: float = 0.0):
        self.l1 = check_not_negative("L1L2", "l1", l1)
        self.l2 = check_not_negative("L1L2", "l2", l2)

    def __call__(self, w: Any) -> Any:
        terms = []
        if self.l1:
            terms.append(_ops.sum(_ops.abs(w)) * self.l1)
        if self.l2:
            terms.append(_ops.sum(_ops.square(w)) * self.l2)
        if not terms:
            return _ops.full(shape=(), dtype=_native.float32, value=0.0)
        return terms[0] if len(terms) == 1 else terms[0] + terms[1]


def L1(l1: float = 0.01) -> L1L2:
    """l1 * sum(|w|); Keras's default strength."""
    return L1L2(l1=l1)


def L2(l2: float = 0.01) -> L1L2:
    """l2 * sum(w²); Keras's default strength."""
    return L1L2(l2=l2)


def get(regularizer: Any) -> Any:
    """A regularizer from None, 'l1', 'l2', 'l1_l2' or a function of a weight."""
    named = {"l1": L1, "l2": L2, "l1_l2": lambda: L1L2(0.01, 0.01)}
    if regularizer is None or callable(regularizer):
        return regularizer
    if isinstance(regularizer, str) and regularizer in named:
        return named[regularizer]()
    raise ValueError(
        at_line(
            f"regularizer {regularizer!r} is not known; accepted are {', '.join(named)}, or a "
            "function"
        )
    )
