# SPDX-License-Identifier: Apache-2.0
"""Losses as functions: one loss per example. Definitions are Keras's.

Where the last axis holds the values of one example, the loss is their mean (regression, binary) or
sum (classes); a tensor of rank 1 holds one value per example.
"""

from __future__ import annotations

import math
from typing import Any

from ostria import _functions as F
from ostria import _native, _targets
from ostria._array_api import moveaxis
from ostria._checks import check_fraction
from ostria._errors import at_line

_ops = _native.ops
EPSILON = 1e-7  # Keras's: probabilities are kept this far from 0 and 1 before their logarithm
SMALLEST = 2.0**-126  # of float32's normal numbers: its logarithm and its reciprocal are finite


def mean_squared_error(y_true: Any, y_pred: Any) -> Any:
    """Mean of (y_pred - y_true)² over the last axis.

    Args:
        y_true: numbers, [N, …].
        y_pred: floats of the same shape.

    Returns:
        One loss per example: [N, …] without the last axis; [N] for [N].

    Raises:
        ValueError: the shapes differ; nothing is broadcast.
        TypeError: y_pred is not floating-point.
    """
    name = "mean_squared_error"
    y_pred = _targets.predictions(name, y_pred)
    return mean_per_example(_ops.square(y_pred - _targets.matching(name, y_true, y_pred)))


def mean_absolute_error(y_true: Any, y_pred: Any) -> Any:
    """Mean of |y_pred - y_true| over the last axis. Shapes and errors as `mean_squared_error`."""
    name = "mean_absolute_error"
    y_pred = _targets.predictions(name, y_pred)
    return mean_per_example(_ops.abs(y_pred - _targets.matching(name, y_true, y_pred)))


def huber(y_true: Any, y_pred: Any, delta: float = 1.0) -> Any:
    """Half the squared error up to `delta`, linear beyond; mean over the last axis.

    Shapes and errors as `mean_squared_error`.

    Raises:
        ValueError: delta is not positive.
    """
    if not delta > 0:
        raise ValueError(at_line(f"huber: delta {delta} is not accepted; give a positive number"))
    y_pred = _targets.predictions("huber", y_pred)
    error = _ops.abs(y_pred - _targets.matching("huber", y_true, y_pred))
    near = _ops.minimum(error, float(delta))  # near (error - near / 2) is both branches at once
    return mean_per_example(near * (error - 0.5 * near))


def binary_crossentropy(
    y_true: Any,
    y_pred: Any,
    from_logits: bool = False,
    label_smoothing: float = 0.0,
    axis: int = -1,
) -> Any:
    """Cross-entropy of independent yes/no labels; mean over an axis.

    Args:
        y_true: labels or probabilities in [0, 1], [N, …].
        y_pred: probabilities, or logits with `from_logits`, of the same shape.
        from_logits: compute from logits, exactly for large ones too; prefer it.
        label_smoothing: labels move this share of the way to 1/2.
        axis: what the mean is over.

    Raises:
        ValueError: the shapes differ, or label_smoothing is outside [0, 1].
        TypeError: y_pred is not floating-point.
    """
    name = "binary_crossentropy"
    check_fraction(name, "label_smoothing", label_smoothing)
    y_pred = _targets.predictions(name, y_pred)
    y = _targets.matching(name, y_true, y_pred)
    if label_smoothing:
        y = y * (1.0 - label_smoothing) + 0.5 * label_smoothing
    if from_logits:
        # Both logarithms without cancellation: -log(sigmoid(x)) = softplus(-x).
        losses = y * _ops.softplus(-y_pred) + (1.0 - y) * _ops.softplus(y_pred)
    else:
        p = _ops.clip(y_pred, EPSILON, 1.0 - EPSILON)
        losses = -(y * _ops.log(p) + (1.0 - y) * _ops.log1p(-p))
    return mean_per_example(losses, axis)


def categorical_crossentropy(
    y_true: Any,
    y_pred: Any,
    from_logits: bool = False,
    label_smoothing: float = 0.0,
    axis: int = -1,
) -> Any:
    """Cross-entropy of class distributions along an axis.

    Args:
        y_true: one-hot labels or distributions, [..., classes].
        y_pred: probabilities (normalised here), or logits with `from_logits`, of the same shape.
        from_logits: compute from logits; prefer it.
        label_smoothing: labels move this share of the way to 1/classes.
        axis: the axis of the classes.

    Returns:
        One loss per row, [...].

    Raises:
        ValueError: the shapes differ, there is no class axis, or label_smoothing is outside [0, 1].
        TypeError: y_pred is not floating-point.
    """
    name = "categorical_crossentropy"
    y, y_pred = class_targets(name, y_true, y_pred, label_smoothing, axis)
    if from_logits:
        log_p = _ops.log_softmax(y_pred, axis=axis)
    else:
        log_p = _ops.log(normalized(y_pred, axis))
    return -_ops.sum(y * log_p, axis, False)


def sparse_categorical_crossentropy(
    y_true: Any,
    y_pred: Any,
    from_logits: bool = False,
    ignore_class: int | None = None,
    axis: int = -1,
) -> Any:
    """Cross-entropy of class numbers.

    Args:
        y_true: integers in 0 … classes - 1, [...] or [..., 1].
        y_pred: probabilities (normalised here), or logits with `from_logits`, [..., classes].
        from_logits: compute from logits; prefer it.
        ignore_class: a label that costs nothing, whatever the prediction; it need be no class
            (-1, 255).
        axis: the axis of the classes; y_true has the other axes.

    Returns:
        One loss per row, [...].

    Raises:
        ValueError: the shapes do not fit; one-hot labels belong to `categorical_crossentropy`.
        TypeError: y_true does not hold integers, or y_pred is not floating-point.
        IndexError: a label is out of range (when it runs).
    """
    name = "sparse_categorical_crossentropy"
    y_pred = _targets.predictions(name, y_pred)
    if axis not in (-1, y_pred.ndim - 1):
        y_pred = moveaxis(y_pred, axis, -1)
    labels = _targets.class_labels(name, y_true, y_pred)
    kept = None
    if ignore_class is not None:
        kept = labels != ignore_class
        labels = _ops.where(kept, labels, 0)
    _targets.require_in_range(name, labels, y_pred.shape[-1])
    if from_logits:
        cost = _ops.sparse_softmax_cross_entropy(y_pred, labels)
    else:
        # Logarithms of probabilities are logits, and the op divides by their sum.
        logits = _ops.log(_ops.maximum(y_pred, SMALLEST))
        cost = _ops.sparse_softmax_cross_entropy(logits, labels)
        cost = _ops.clip(cost, -math.log1p(-EPSILON), -math.log(EPSILON))
    return cost if kept is None else _ops.where(kept, cost, 0.0)


def kept_labels(y_true: Any, losses: Any, ignore_class: int) -> Any:
    """1 for each of `losses` whose label is not `ignore_class`, else 0."""
    kept = F.cast(_targets.tensor(y_true) != ignore_class, losses.dtype)
    return _ops.reshape(kept, losses.shape) if kept.ndim > losses.ndim else kept


def class_targets(
    name: str, y_true: Any, y_pred: Any, label_smoothing: float, axis: int
) -> tuple[Any, Any]:
    """Smoothed distributions and floating-point predictions, after every check."""
    check_fraction(name, "label_smoothing", label_smoothing)
    y_pred = _targets.predictions(name, y_pred)
    y = _targets.matching(name, y_true, y_pred)
    if y_pred.ndim < 1:
        raise ValueError(
            at_line(f"{name}: y_pred has shape [], but its last axis must hold the classes")
        )
    if label_smoothing:
        classes = _targets.static_size(name, y_pred, axis)
        y = y * (1.0 - label_smoothing) + label_smoothing / classes
    return y, y_pred


def normalized(y_pred: Any, axis: int) -> Any:
    """Probabilities that sum to 1, away from 0 and 1."""
    return _ops.clip(y_pred / _ops.sum(y_pred, axis, True), EPSILON, 1.0 - EPSILON)


def mean_per_example(values: Any, axis: int = -1) -> Any:
    """The mean over an axis; values of rank 1 are one per example already."""
    return _ops.mean(values, axis, False) if values.ndim > 1 else values
