# SPDX-License-Identifier: Apache-2.0
"""Losses as functions: one loss per example. Definitions are Keras's.

Where the last axis holds the values of one example, the loss is their mean (regression, binary) or
sum (classes); a tensor of rank 1 holds one value per example.
"""

from __future__ import annotations

import math
from typing import Any

from ostria import _native, _targets
from ostria._errors import at_line

_ops = _native.ops
_EPSILON = 1e-7  # Keras's: probabilities are kept this far from 0 and 1 before their logarithm
_SMALLEST = 2.0**-126  # of float32's normal numbers: its logarithm and its reciprocal are finite


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
    return _mean_per_example(_ops.square(y_pred - _targets.matching(name, y_true, y_pred)))


def mean_absolute_error(y_true: Any, y_pred: Any) -> Any:
    """Mean of |y_pred - y_true| over the last axis. Shapes and errors as `mean_squared_error`."""
    name = "mean_absolute_error"
    y_pred = _targets.predictions(name, y_pred)
    return _mean_per_example(_ops.abs(y_pred - _targets.matching(name, y_true, y_pred)))


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
    return _mean_per_example(near * (error - 0.5 * near))


def binary_crossentropy(
    y_true: Any, y_pred: Any, from_logits: bool = False, label_smoothing: float = 0.0
) -> Any:
    """Cross-entropy of independent yes/no labels; mean over the last axis.

    Args:
        y_true: labels or probabilities in [0, 1], [N, …].
        y_pred: probabilities, or logits with `from_logits`, of the same shape.
        from_logits: compute from logits, exactly for large ones too; prefer it.
        label_smoothing: labels move this share of the way to 1/2.

    Raises:
        ValueError: the shapes differ, or label_smoothing is outside [0, 1].
        TypeError: y_pred is not floating-point.
    """
    name = "binary_crossentropy"
    _check_smoothing(name, label_smoothing)
    y_pred = _targets.predictions(name, y_pred)
    y = _targets.matching(name, y_true, y_pred)
    if label_smoothing:
        y = y * (1.0 - label_smoothing) + 0.5 * label_smoothing
    if from_logits:
        # Both logarithms without cancellation: -log(sigmoid(x)) = softplus(-x).
        losses = y * _ops.softplus(-y_pred) + (1.0 - y) * _ops.softplus(y_pred)
    else:
        p = _ops.clip(y_pred, _EPSILON, 1.0 - _EPSILON)
        losses = -(y * _ops.log(p) + (1.0 - y) * _ops.log1p(-p))
    return _mean_per_example(losses)


def categorical_crossentropy(
    y_true: Any, y_pred: Any, from_logits: bool = False, label_smoothing: float = 0.0
) -> Any:
    """Cross-entropy of class distributions along the last axis.

    Args:
        y_true: one-hot labels or distributions, [..., classes].
        y_pred: probabilities (normalised here), or logits with `from_logits`, of the same shape.
        from_logits: compute from logits; prefer it.
        label_smoothing: labels move this share of the way to 1/classes.

    Returns:
        One loss per row, [...].

    Raises:
        ValueError: the shapes differ, there is no class axis, or label_smoothing is outside [0, 1].
        TypeError: y_pred is not floating-point.
    """
    name = "categorical_crossentropy"
    _check_smoothing(name, label_smoothing)
    y_pred = _targets.predictions(name, y_pred)
    y = _targets.matching(name, y_true, y_pred)
    if y_pred.ndim < 1:
        raise ValueError(
            at_line(f"{name}: y_pred has shape [], but its last axis must hold the classes")
        )
    if label_smoothing:
        y = y * (1.0 - label_smoothing) + label_smoothing / _targets.static_size(name, y_pred, -1)
    if from_logits:
        log_p = _ops.log_softmax(y_pred, axis=-1)
    else:
        p = y_pred / _ops.sum(y_pred, -1, True)
        log_p = _ops.log(_ops.clip(p, _EPSILON, 1.0 - _EPSILON))
    return -_ops.sum(y * log_p, -1, False)


def sparse_categorical_crossentropy(y_true: Any, y_pred: Any, from_logits: bool = False) -> Any:
    """Cross-entropy of class numbers.

    Args:
        y_true: integers in 0 … classes - 1, [...] or [..., 1].
        y_pred: probabilities (normalised here), or logits with `from_logits`, [..., classes].
        from_logits: compute from logits; prefer it.

    Returns:
        One loss per row, [...].

    Raises:
        ValueError: the shapes do not fit; one-hot labels belong to `categorical_crossentropy`.
        TypeError: y_true does not hold integers, or y_pred is not floating-point.
        IndexError: a label is out of range (when it runs).
    """
    name = "sparse_categorical_crossentropy"
    y_pred = _targets.predictions(name, y_pred)
    labels = _targets.class_labels(name, y_true, y_pred)
    _targets.require_in_range(name, labels, y_pred.shape[-1])
    if from_logits:
        return _ops.sparse_softmax_cross_entropy(y_pred, labels)
    # Logarithms of probabilities are logits, and the op divides by their sum.
    logits = _ops.log(_ops.maximum(y_pred, _SMALLEST))
    cost = _ops.sparse_softmax_cross_entropy(logits, labels)
    return _ops.clip(cost, -math.log1p(-_EPSILON), -math.log(_EPSILON))


def _mean_per_example(values: Any) -> Any:
    return _ops.mean(values, -1, False) if values.ndim > 1 else values


def _check_smoothing(name: str, label_smoothing: float) -> None:
    if not 0.0 <= label_smoothing <= 1.0:
        raise ValueError(
            at_line(
                f"{name}: label_smoothing {label_smoothing} is not accepted; give a number from 0 "
                "to 1"
            )
        )
