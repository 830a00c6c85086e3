# SPDX-License-Identifier: Apache-2.0
"""Losses as objects: a function, its options, and how the losses of a batch become one number."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ostria import _functions as F
from ostria import _keywords, _native, _replicas, _targets
from ostria._errors import at_line
from ostria.losses import _functions

_ops = _native.ops
REDUCTIONS = ("sum_over_batch_size", "sum", "mean", "mean_with_sample_weight", "none")


def reduce(
    losses: Any,
    sample_weight: Any = None,
    reduction: str | None = "sum_over_batch_size",
    *,
    name: str = "loss",
) -> Any:
    """Losses of a batch as one number (or as they are).

    Inside a replica of a strategy it is the replica's share: what is divided by is counted over all
    replicas, so that shares add up to the loss of the global batch.

    Args:
        losses: floats, [N, …].
        sample_weight: None, a scalar, or the shape of the leading axes of `losses`.
        reduction: 'sum_over_batch_size' divides the weighted sum by the number of losses, whatever
            the weights, and so does 'mean'; 'mean_with_sample_weight' by the sum of weights;
            'sum'; 'none' or None.
        name: what messages call it.

    Returns:
        A scalar, 0 for no rows; the weighted losses for 'none'.

    Raises:
        ValueError: an unknown reduction, or weights of another shape.
    """
    check_reduction(name, reduction)
    weight = None
    if sample_weight is not None:
        weight = _targets.weights_like(name, sample_weight, losses)
        losses = losses * weight
    if reduction in (None, "none"):
        return losses
    _replicas.note_share()
    if reduction == "sum":
        return _ops.sum(losses)
    if reduction == "mean_with_sample_weight" and weight is not None:
        total = _ops.sum(weight + _ops.full(shape=losses.shape, dtype=losses.dtype, value=0.0))
        total = _replicas.total(total)
        empty = total == 0.0
        return _ops.where(empty, 0.0, _ops.sum(losses) / _ops.where(empty, 1.0, total))
    if _replicas.count() > 1:
        return _share_of_mean(losses)
    return _ops.mean(losses)  # of no elements: 0


def _share_of_mean(losses: Any) -> Any:
    everywhere = _replicas.global_count(_replicas.size(losses.shape))
    if losses.dtype.itemsize > 2:
        return _replicas.divided(_ops.sum(losses), everywhere)
    # 16 bits hold neither large sums nor large counts.
    wide = F.cast(losses, _native.float32)
    return F.cast(_replicas.divided(_ops.sum(wide), everywhere), losses.dtype)


def check_reduction(name: str, reduction: str | None) -> None:
    """Raises ValueError for an unknown reduction."""
    if reduction is None or reduction in REDUCTIONS:
        return
    raise ValueError(at_line(_keywords.unknown_name(f"{name}: reduction", reduction, REDUCTIONS)))


class Loss:
    """Base of losses. Subclasses define `call(self, y_true, y_pred)`: one loss per example.

    Example:
        >>> import ostria as ost
        >>> loss = ost.losses.MeanSquaredError()
        >>> loss(ost.asarray([[0.0], [1.0]]), ost.asarray([[1.0], [1.0]])).item()
        0.5
    """

    def __init__(self, reduction: str | None = "sum_over_batch_size", *, name: str | None = None):
        self.name = name or type(self).__name__
        check_reduction(self.name, reduction)
        self.reduction = reduction

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """One loss per example, [N, …]."""
        raise NotImplementedError(
            at_line(
                f"{type(self).__name__} has no call(); define `def call(self, y_true, y_pred): …`"
            )
        )

    def __call__(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> Any:
        """The reduced loss; `sample_weight` as in `losses.reduce`."""
        return reduce(self.call(y_true, y_pred), sample_weight, self.reduction, name=self.name)


class Plain(Loss):
    """Base of losses that are a function of (y_true, y_pred), and of options that it keeps."""

    _fn: Callable[..., Any]
    _options: tuple[Any, ...] = ()

    def __init__(self, reduction: str | None = "sum_over_batch_size", name: str | None = None):
        super().__init__(reduction, name=name)

    def call(self, y_true: Any, y_pred: Any) -> Any:
        return self._fn(y_true, y_pred, *self._options)


@_keywords.checked_init
class MeanSquaredError(Plain):
    """Mean of squared errors; see `mean_squared_error`."""

    _fn = staticmethod(_functions.mean_squared_error)


@_keywords.checked_init
class MeanAbsoluteError(Plain):
    """Mean of absolute errors; see `mean_absolute_error`."""

    _fn = staticmethod(_functions.mean_absolute_error)


@_keywords.checked_init
class Huber(Loss):
    """Quadratic near zero, linear beyond `delta`; see `huber`."""

    def __init__(
        self,
        delta: float = 1.0,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = None,
    ):
        super().__init__(reduction, name=name)
        self.delta = delta

    def call(self, y_true: Any, y_pred: Any) -> Any:
        return _functions.huber(y_true, y_pred, self.delta)


@_keywords.checked_init
class BinaryCrossentropy(Plain):
    """Yes/no labels; see `binary_crossentropy`."""

    _fn = staticmethod(_functions.binary_crossentropy)

    def __init__(
        self,
        from_logits: bool = False,
        label_smoothing: float = 0.0,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = None,
        axis: int = -1,
    ):
        super().__init__(reduction, name=name)
        self._options = (from_logits, label_smoothing, axis)


@_keywords.checked_init
class CategoricalCrossentropy(Plain):
    """One-hot labels or distributions; see `categorical_crossentropy`."""

    _fn = staticmethod(_functions.categorical_crossentropy)

    def __init__(
        self,
        from_logits: bool = False,
        label_smoothing: float = 0.0,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = None,
        axis: int = -1,
    ):
        super().__init__(reduction, name=name)
        self._options = (from_logits, label_smoothing, axis)


@_keywords.checked_init
class SparseCategoricalCrossentropy(Plain):
    """Class numbers; see `sparse_categorical_crossentropy`.

    With `ignore_class`, means are over the other labels alone; 0 where there are none.
    """

    _fn = staticmethod(_functions.sparse_categorical_crossentropy)

    def __init__(
        self,
        from_logits: bool = False,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = None,
        ignore_class: int | None = None,
        axis: int = -1,
    ):
        super().__init__(reduction, name=name)
        self._options = (from_logits, ignore_class, axis)
        self.ignore_class = ignore_class

    def __call__(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> Any:
        losses = self.call(y_true, y_pred)
        if self.ignore_class is None or self.reduction in (None, "none", "sum"):
            return reduce(losses, sample_weight, self.reduction, name=self.name)
        kept = _functions.kept_labels(y_true, losses, self.ignore_class)
        if self.reduction == "mean_with_sample_weight":
            if sample_weight is not None:
                kept = kept * _targets.weights_like(self.name, sample_weight, losses)
            return reduce(losses, kept, self.reduction, name=self.name)
        total = reduce(losses, sample_weight, "sum", name=self.name)
        return total / _ops.maximum(_replicas.total(_ops.sum(kept)), 1.0)
