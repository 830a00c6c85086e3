# SPDX-License-Identifier: Apache-2.0
"""Losses of overlap: how little the predicted part of an image and the true one share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ostria import _keywords, _native, _targets
from ostria.losses._classes import Loss, Plain
from ostria.losses._functions import EPSILON

_ops = _native.ops
_Axes = int | Sequence[int] | None


def dice(y_true: Any, y_pred: Any, axis: _Axes = None) -> Any:
    """1 - 2 sum(y_true y_pred) / (sum(y_true) + sum(y_pred)).

    Nothing in common gives 1, as in Keras; so does a batch without rows, with no gradient.

    Args:
        y_true: numbers in [0, 1], any shape.
        y_pred: floats of the same shape.
        axis: what the sums are over; everything by default, which gives one number for the batch.

    Returns:
        The shape without these axes.

    Raises:
        ValueError: the shapes differ; nothing is broadcast.
        TypeError: y_pred is not floating-point.
    """
    return _missed("dice", y_true, y_pred, 0.5, 0.5, axis)


def tversky(
    y_true: Any, y_pred: Any, alpha: float = 0.5, beta: float = 0.5, axis: _Axes = None
) -> Any:
    """1 - hits / (hits + alpha false positives + beta false negatives) (Salehi et al. 2017).

    Shapes and errors as `dice`, which it is for alpha = beta = 0.5.

    Args:
        y_true: numbers in [0, 1], any shape.
        y_pred: floats of the same shape.
        alpha: the weight of false positives, sum((1 - y_true) y_pred). Keras's code has alpha and
            beta the other way around, against its documentation and the paper.
        beta: the weight of false negatives, sum(y_true (1 - y_pred)).
        axis: what the sums are over; everything by default.
    """
    return _missed("tversky", y_true, y_pred, alpha, beta, axis)


def _missed(name: str, y_true: Any, y_pred: Any, alpha: float, beta: float, axis: _Axes) -> Any:
    y_pred = _targets.predictions(name, y_pred)
    y = _targets.matching(name, y_true, y_pred)
    axes = _axes(axis, y.ndim)
    hits, positives, true = (_ops.sum(v, axes, False) for v in (y * y_pred, y_pred, y))
    # In twice their numbers, so that dice has exactly Keras's denominator.
    missed = alpha * (positives - hits) + beta * (true - hits)
    return 1.0 - 2.0 * hits / (2.0 * (hits + missed) + EPSILON)


def _axes(axis: _Axes, rank: int) -> tuple[int, ...]:
    if axis is None:
        return tuple(range(rank))
    return (axis,) if isinstance(axis, int) else tuple(axis)


@_keywords.checked_init
class Dice(Loss):
    """Overlap; see `dice`."""

    def __init__(
        self,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = None,
        axis: _Axes = None,
    ):
        super().__init__(reduction, name=name)
        self.axis = axis

    def call(self, y_true: Any, y_pred: Any) -> Any:
        return dice(y_true, y_pred, self.axis)


@_keywords.checked_init
class Tversky(Plain):
    """Overlap, its two kinds of error weighted; see `tversky`."""

    _fn = staticmethod(tversky)

    def __init__(
        self,
        alpha: float = 0.5,
        beta: float = 0.5,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = None,
        axis: _Axes = None,
    ):
        super().__init__(reduction, name=name)
        self._options = (alpha, beta, axis)
