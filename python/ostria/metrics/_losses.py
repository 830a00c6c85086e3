# SPDX-License-Identifier: Apache-2.0
"""Metrics that are the mean of a loss function, under Keras's names."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ostria import _keywords, _native, _targets
from ostria import losses as _losses
from ostria.losses._functions import kept_labels
from ostria.metrics._metric import MeanOf

_ops = _native.ops


class _MeanLoss(MeanOf):
    """The mean of a loss function without options."""

    _loss: Callable[..., Any]

    def __init__(self, name: str | None = None):
        super().__init__(self._loss, name)


class _MeanLossWith(MeanOf):
    """The mean of a loss function with options."""

    def __init__(self, loss: Callable[..., Any], name: str | None, **options: Any):
        super().__init__(lambda y_true, y_pred: loss(y_true, y_pred, **options), name)
        self._given = options

    def _options(self) -> dict[str, Any]:
        return dict(self._given)


@_keywords.checked_init
class MeanAbsolutePercentageError(_MeanLoss):
    """Mean of 100 |y_pred - y_true| / |y_true|. Both of one shape."""

    _loss = staticmethod(_losses.mean_absolute_percentage_error)


@_keywords.checked_init
class MeanSquaredLogarithmicError(_MeanLoss):
    """Mean of (log(y_pred + 1) - log(y_true + 1))². Both of one shape."""

    _loss = staticmethod(_losses.mean_squared_logarithmic_error)


@_keywords.checked_init
class LogCoshError(_MeanLoss):
    """Mean of log(cosh(y_pred - y_true)). Both of one shape."""

    _loss = staticmethod(_losses.log_cosh)


@_keywords.checked_init
class Poisson(_MeanLoss):
    """Mean of y_pred - y_true log(y_pred). Both of one shape."""

    _loss = staticmethod(_losses.poisson)


@_keywords.checked_init
class KLDivergence(_MeanLoss):
    """Mean divergence of distributions; see `losses.kl_divergence`."""

    _loss = staticmethod(_losses.kl_divergence)


@_keywords.checked_init
class Hinge(_MeanLoss):
    """Mean of max(1 - y_true y_pred, 0); see `losses.hinge`."""

    _loss = staticmethod(_losses.hinge)


@_keywords.checked_init
class SquaredHinge(_MeanLoss):
    """Mean of max(1 - y_true y_pred, 0)²; see `losses.hinge`."""

    _loss = staticmethod(_losses.squared_hinge)


@_keywords.checked_init
class CategoricalHinge(_MeanLoss):
    """Mean lack of margin between classes; see `losses.categorical_hinge`."""

    _loss = staticmethod(_losses.categorical_hinge)


@_keywords.checked_init
class CosineSimilarity(_MeanLossWith):
    """Mean cosine between vectors along an axis: 1 for one direction, unlike the loss of this name.

    Example:
        >>> import ostria as ost
        >>> ost.metrics.CosineSimilarity()([[0.0, 1.0]], ost.asarray([[0.0, 3.0]])).item()
        1.0
    """

    def __init__(self, name: str | None = None, axis: int = -1):
        super().__init__(_cosine, name, axis=axis)


def _cosine(y_true: Any, y_pred: Any, axis: int) -> Any:
    return -_losses.cosine_similarity(y_true, y_pred, axis)


@_keywords.checked_init
class BinaryCrossentropy(_MeanLossWith):
    """Mean cross-entropy of yes/no labels; see `losses.binary_crossentropy`."""

    def __init__(
        self, name: str | None = None, from_logits: bool = False, label_smoothing: float = 0.0
    ):
        options = {"from_logits": from_logits, "label_smoothing": label_smoothing}
        super().__init__(_losses.binary_crossentropy, name, **options)


@_keywords.checked_init
class CategoricalCrossentropy(_MeanLossWith):
    """Mean cross-entropy of class distributions; see `losses.categorical_crossentropy`."""

    def __init__(
        self,
        name: str | None = None,
        from_logits: bool = False,
        label_smoothing: float = 0.0,
        axis: int = -1,
    ):
        options = {"from_logits": from_logits, "label_smoothing": label_smoothing, "axis": axis}
        super().__init__(_losses.categorical_crossentropy, name, **options)


@_keywords.checked_init
class SparseCategoricalCrossentropy(_MeanLossWith):
    """Mean cross-entropy of class numbers; see `losses.sparse_categorical_crossentropy`.

    The mean is over labels other than `ignore_class`.
    """

    def __init__(
        self,
        name: str | None = None,
        from_logits: bool = False,
        ignore_class: int | None = None,
        axis: int = -1,
    ):
        options = {"from_logits": from_logits, "ignore_class": ignore_class, "axis": axis}
        super().__init__(_losses.sparse_categorical_crossentropy, name, **options)
        self._ignored = ignore_class

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        values = self._fn(y_true, y_pred)
        if self._ignored is not None:
            kept = kept_labels(y_true, values, self._ignored)
            if sample_weight is not None:
                kept = kept * _targets.weights_like(self.name, sample_weight, values)
            sample_weight = kept
        self._accumulate(values, sample_weight)
