# SPDX-License-Identifier: Apache-2.0
"""Losses of probabilities beside the crossentropies: focal ones (Lin et al. 2017), divergence."""

from __future__ import annotations

from typing import Any

from ostria import _functions as F
from ostria import _keywords, _native, _targets
from ostria._checks import check_fraction, check_not_negative
from ostria.losses._classes import Plain
from ostria.losses._functions import (
    EPSILON,
    SMALLEST,
    class_targets,
    mean_per_example,
    normalized,
)

_ops = _native.ops


def binary_focal_crossentropy(
    y_true: Any,
    y_pred: Any,
    apply_class_balancing: bool = False,
    alpha: float = 0.25,
    gamma: float = 2.0,
    from_logits: bool = False,
    label_smoothing: float = 0.0,
    axis: int = -1,
) -> Any:
    """Cross-entropy of yes/no labels, times (1 - probability of the label)^gamma: easy ones fade.

    Args:
        y_true: labels or probabilities in [0, 1], [N, …].
        y_pred: probabilities, or logits with `from_logits`, of the same shape.
        apply_class_balancing: weigh 1 by alpha and 0 by 1 - alpha.
        alpha: that weight.
        gamma: how fast easy examples fade; 0 is `binary_crossentropy`.
        from_logits: compute from logits, exactly for large ones too; prefer it.
        label_smoothing: labels move this share of the way to 1/2.
        axis: what the mean is over.

    Raises:
        ValueError: the shapes differ, gamma is negative, or label_smoothing is outside [0, 1].
        TypeError: y_pred is not floating-point.
    """
    name = "binary_focal_crossentropy"
    check_fraction(name, "label_smoothing", label_smoothing)
    y_pred = _targets.predictions(name, y_pred)
    y = _targets.matching(name, y_true, y_pred)
    if label_smoothing:
        y = y * (1.0 - label_smoothing) + 0.5 * label_smoothing
    if from_logits:
        yes, no = _ops.sigmoid(y_pred), _ops.sigmoid(-y_pred)
        losses = y * _ops.softplus(-y_pred) + (1.0 - y) * _ops.softplus(y_pred)
    else:
        yes = _ops.clip(y_pred, EPSILON, 1.0 - EPSILON)
        no = 1.0 - yes
        losses = -(y * _ops.log(yes) + (1.0 - y) * _ops.log1p(-yes))
    losses = losses * _faded(name, y * no + (1.0 - y) * yes, gamma)
    if apply_class_balancing:
        losses = losses * (y * alpha + (1.0 - y) * (1.0 - alpha))
    return mean_per_example(losses, axis)


def categorical_focal_crossentropy(
    y_true: Any,
    y_pred: Any,
    alpha: Any = 0.25,
    gamma: float = 2.0,
    from_logits: bool = False,
    label_smoothing: float = 0.0,
    axis: int = -1,
) -> Any:
    """Cross-entropy of class distributions, each class times alpha (1 - its probability)^gamma.

    Args:
        y_true: one-hot labels or distributions, [..., classes].
        y_pred: probabilities (normalised here), or logits with `from_logits`, of the same shape.
        alpha: a weight, or one for each class.
        gamma: how fast easy examples fade; 0 is `categorical_crossentropy` times alpha.
        from_logits: compute from logits; prefer it.
        label_smoothing: labels move this share of the way to 1/classes.
        axis: the axis of the classes.

    Returns:
        One loss per row, [...].

    Raises:
        ValueError: the shapes differ, gamma is negative, or label_smoothing is outside [0, 1].
        TypeError: y_pred is not floating-point.
    """
    name = "categorical_focal_crossentropy"
    y, y_pred = class_targets(name, y_true, y_pred, label_smoothing, axis)
    if from_logits:
        log_p = _ops.log_softmax(y_pred, axis=axis)
        others = -_ops.expm1(log_p)
    else:
        p = normalized(y_pred, axis)
        log_p, others = _ops.log(p), 1.0 - p
    losses = -y * log_p * _faded(name, others, gamma)
    if isinstance(alpha, (int, float)):
        return float(alpha) * _ops.sum(losses, axis, False)
    weights = F.cast(_targets.tensor(alpha), losses.dtype)
    if weights.ndim == 1 and axis not in (-1, losses.ndim - 1):
        after = losses.ndim - 1 - axis % losses.ndim
        weights = F.expand_dims(weights, axis=tuple(range(1, 1 + after)))
    return _ops.sum(weights * losses, axis, False)


def kl_divergence(y_true: Any, y_pred: Any) -> Any:
    """Sum of y_true log(y_true / y_pred) over the last axis, both kept within [1e-7, 1].

    Args:
        y_true: distributions, [..., classes].
        y_pred: probabilities of the same shape, floats.

    Returns:
        One divergence per row, [...].

    Raises:
        ValueError: the shapes differ; nothing is broadcast.
        TypeError: y_pred is not floating-point.
    """
    name = "kl_divergence"
    y_pred = _targets.predictions(name, y_pred)
    y = _ops.clip(_targets.matching(name, y_true, y_pred), EPSILON, 1.0)
    return _ops.sum(y * _ops.log(y / _ops.clip(y_pred, EPSILON, 1.0)), -1, False)


def _faded(name: str, wrong: Any, gamma: float) -> Any:
    """wrong^gamma, whose slope is finite where nothing is wrong."""
    return _ops.maximum(wrong, SMALLEST) ** check_not_negative(name, "gamma", gamma)


@_keywords.checked_init
class BinaryFocalCrossentropy(Plain):
    """Yes/no labels, easy ones faded; see `binary_focal_crossentropy`."""

    _fn = staticmethod(binary_focal_crossentropy)

    def __init__(
        self,
        apply_class_balancing: bool = False,
        alpha: float = 0.25,
        gamma: float = 2.0,
        from_logits: bool = False,
        label_smoothing: float = 0.0,
        axis: int = -1,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = None,
    ):
        super().__init__(reduction, name=name)
        self._options = (apply_class_balancing, alpha, gamma, from_logits, label_smoothing, axis)


@_keywords.checked_init
class CategoricalFocalCrossentropy(Plain):
    """Class distributions, easy ones faded; see `categorical_focal_crossentropy`."""

    _fn = staticmethod(categorical_focal_crossentropy)

    def __init__(
        self,
        alpha: Any = 0.25,
        gamma: float = 2.0,
        from_logits: bool = False,
        label_smoothing: float = 0.0,
        axis: int = -1,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = None,
    ):
        super().__init__(reduction, name=name)
        self._options = (alpha, gamma, from_logits, label_smoothing, axis)


@_keywords.checked_init
class KLDivergence(Plain):
    """Distributions; see `kl_divergence`."""

    _fn = staticmethod(kl_divergence)
