# SPDX-License-Identifier: Apache-2.0
"""Losses of numbers and of directions: relative, logarithmic, robust ones, Poisson's, cosines."""

from __future__ import annotations

import math
from typing import Any

from ostria import _keywords, _native, _targets
from ostria.losses._classes import Loss, Plain
from ostria.losses._functions import EPSILON, mean_per_example

_ops = _native.ops


def mean_absolute_percentage_error(y_true: Any, y_pred: Any) -> Any:
    """100 times the mean of |y_pred - y_true| / |y_true| over the last axis.

    Shapes and errors as `mean_squared_error`. A y_true of 0 counts as 1e-7.
    """
    y, y_pred = _pair("mean_absolute_percentage_error", y_true, y_pred)
    relative = _ops.abs(y_pred - y) / _ops.maximum(_ops.abs(y), EPSILON)
    return 100.0 * mean_per_example(relative)


def mean_squared_logarithmic_error(y_true: Any, y_pred: Any) -> Any:
    """Mean of (log(y_pred + 1) - log(y_true + 1))² over the last axis.

    Shapes and errors as `mean_squared_error`. Values below 1e-7 count as 1e-7.
    """
    y, y_pred = _pair("mean_squared_logarithmic_error", y_true, y_pred)
    error = _ops.log1p(_ops.maximum(y_pred, EPSILON)) - _ops.log1p(_ops.maximum(y, EPSILON))
    return mean_per_example(_ops.square(error))


def log_cosh(y_true: Any, y_pred: Any) -> Any:
    """Mean of log(cosh(y_pred - y_true)) over the last axis: squares near 0, distances far away.

    Shapes and errors as `mean_squared_error`.
    """
    y, y_pred = _pair("log_cosh", y_true, y_pred)
    error = y_pred - y
    size = _ops.abs(error)
    # Exact near 0, where the other form is a difference of equal numbers; no overflow far away.
    near = _ops.log1p(2.0 * _ops.square(_ops.sinh(0.5 * _ops.clip(error, -1.0, 1.0))))
    far = size + _ops.softplus(-2.0 * size) - math.log(2.0)
    return mean_per_example(_ops.where(size < 1.0, near, far))


def poisson(y_true: Any, y_pred: Any) -> Any:
    """Mean of y_pred - y_true log(y_pred) over the last axis: counts, and their expected number.

    Shapes and errors as `mean_squared_error`.
    """
    y, y_pred = _pair("poisson", y_true, y_pred)
    return mean_per_example(y_pred - y * _ops.log(y_pred + EPSILON))


def cosine_similarity(y_true: Any, y_pred: Any, axis: int = -1) -> Any:
    """Minus the cosine of the angle between vectors: -1 for one direction, 1 for opposite ones.

    Args:
        y_true: numbers, [N, …].
        y_pred: floats of the same shape.
        axis: along which the vectors lie. A vector of zeros gives 0.

    Returns:
        One loss per vector: the shape without the axis.

    Raises:
        ValueError: the shapes differ; nothing is broadcast.
        TypeError: y_pred is not floating-point.
    """
    y, y_pred = _pair("cosine_similarity", y_true, y_pred)
    return -_ops.sum(_unit(y, axis) * _unit(y_pred, axis), axis, False)


def _unit(x: Any, axis: int) -> Any:
    # By the largest element first, so that squares neither overflow nor vanish; then the sum is at
    # least 1, but for vectors near 0.
    largest = _ops.maximum(_ops.max(_ops.abs(x), axis, True), EPSILON)
    x = x / _ops.stop_gradient(largest)
    return x * _ops.rsqrt(_ops.maximum(_ops.sum(_ops.square(x), axis, True), 1.0))


def _pair(name: str, y_true: Any, y_pred: Any) -> tuple[Any, Any]:
    y_pred = _targets.predictions(name, y_pred)
    return _targets.matching(name, y_true, y_pred), y_pred


@_keywords.checked_init
class MeanAbsolutePercentageError(Plain):
    """Relative errors in percent; see `mean_absolute_percentage_error`."""

    _fn = staticmethod(mean_absolute_percentage_error)


@_keywords.checked_init
class MeanSquaredLogarithmicError(Plain):
    """Squared errors of logarithms; see `mean_squared_logarithmic_error`."""

    _fn = staticmethod(mean_squared_logarithmic_error)


@_keywords.checked_init
class LogCosh(Plain):
    """Quadratic near zero, linear far away; see `log_cosh`."""

    _fn = staticmethod(log_cosh)


@_keywords.checked_init
class Poisson(Plain):
    """Counts; see `poisson`."""

    _fn = staticmethod(poisson)


@_keywords.checked_init
class CosineSimilarity(Loss):
    """Minus the cosine between vectors; see `cosine_similarity`."""

    def __init__(
        self,
        axis: int = -1,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = None,
    ):
        super().__init__(reduction, name=name)
        self.axis = axis

    def call(self, y_true: Any, y_pred: Any) -> Any:
        return cosine_similarity(y_true, y_pred, self.axis)
