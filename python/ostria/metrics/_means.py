# SPDX-License-Identifier: Apache-2.0
"""Metrics that are a mean or a sum: of given values, of hits, of errors."""

from __future__ import annotations

from typing import Any

from ostria import _functions as F
from ostria import _keywords, _native, _targets
from ostria._checks import check_positive_int
from ostria._errors import at_line
from ostria.losses import mean_absolute_error, mean_squared_error
from ostria.metrics._metric import MeanOf, Reduce

_ops = _native.ops


@_keywords.checked_init
class Mean(Reduce):
    """Weighted mean of values: `update_state(values, sample_weight)`.

    Example:
        >>> import ostria as ost
        >>> mean = ost.metrics.Mean()
        >>> mean.update_state([1.0, 3.0])
        >>> mean.result().item()
        2.0
    """

    def __init__(self, name: str | None = None):
        super().__init__(name)

    def update_state(self, values: Any, sample_weight: Any = None) -> None:  # type: ignore[override]
        self._accumulate(_numbers(self.name, values), sample_weight)


@_keywords.checked_init
class Sum(Reduce):
    """Weighted sum of values: `update_state(values, sample_weight)`."""

    def __init__(self, name: str | None = None):
        super().__init__(name)

    def update_state(self, values: Any, sample_weight: Any = None) -> None:  # type: ignore[override]
        values = F.cast(_numbers(self.name, values), _native.float64)
        if sample_weight is not None:
            values = values * _targets.weights_like(self.name, sample_weight, values)
        self._add(self.total, _ops.sum(values))

    def result(self) -> Any:
        return self.total.value()


@_keywords.checked_init
class Accuracy(MeanOf):
    """Share of elements where y_pred equals y_true; both of one shape and kind."""

    def __init__(self, name: str | None = None):
        super().__init__(self._hits, name)

    def _hits(self, y_true: Any, y_pred: Any) -> Any:
        y_true, y_pred = _targets.tensor(y_true), _targets.tensor(y_pred)
        _targets.require_same_shape(self.name, y_true, y_pred)
        return _ops.equal(y_true, y_pred)


@_keywords.checked_init
class BinaryAccuracy(MeanOf):
    """Share of elements on the right side of a threshold: y_pred > threshold where y_true is 1."""

    def __init__(self, name: str | None = None, threshold: float = 0.5):
        super().__init__(self._hits, name)
        self.threshold = float(threshold)

    def _hits(self, y_true: Any, y_pred: Any) -> Any:
        y_pred = _targets.predictions(self.name, y_pred)
        y_true = _targets.matching(self.name, y_true, y_pred)
        return _ops.equal(y_true > 0.5, y_pred > self.threshold)

    def _options(self) -> dict[str, Any]:
        return {"threshold": self.threshold}


@_keywords.checked_init
class CategoricalAccuracy(MeanOf):
    """Share of rows whose largest score is at the largest label. Both [..., classes]."""

    def __init__(self, name: str | None = None):
        super().__init__(self._hits, name)

    def _hits(self, y_true: Any, y_pred: Any) -> Any:
        y_pred = _targets.predictions(self.name, y_pred)
        y_true = _targets.matching(self.name, y_true, y_pred)
        return _ops.equal(F.argmax(y_true, axis=-1), F.argmax(y_pred, axis=-1))


@_keywords.checked_init
class SparseCategoricalAccuracy(MeanOf):
    """Share of rows whose largest score is at the class number: [...] and [..., classes]."""

    def __init__(self, name: str | None = None):
        super().__init__(self._hits, name)

    def _hits(self, y_true: Any, y_pred: Any) -> Any:
        y_pred = _targets.predictions(self.name, y_pred)
        return _ops.equal(
            _targets.class_labels(self.name, y_true, y_pred), F.argmax(y_pred, axis=-1)
        )


@_keywords.checked_init
class SparseTopKCategoricalAccuracy(MeanOf):
    """Share of rows whose class number is among the k largest scores.

    Of equal scores the one with the lower index comes first, so constant scores are no hit for most
    classes. A score that is not finite is never a hit.
    """

    def __init__(self, k: int = 5, name: str | None = None):
        super().__init__(self._hits, name)
        self.k = check_positive_int(self.name, "k", k)

    def _hits(self, y_true: Any, y_pred: Any) -> Any:
        y_pred = _targets.predictions(self.name, y_pred)
        labels = _targets.class_labels(self.name, y_true, y_pred)
        classes = _targets.static_size(self.name, y_pred, -1)
        index = _ops.iota(length=(classes,), dtype=labels.dtype)
        label = F.expand_dims(labels, axis=-1)
        is_own = _ops.equal(index, label)
        own = _ops.sum(_ops.where(is_own, y_pred, 0.0), -1, True)
        before = _ops.logical_or(
            y_pred > own, _ops.logical_and(_ops.equal(y_pred, own), index < label)
        )
        exists = _ops.logical_and(
            _ops.any(is_own, -1, False), _ops.isfinite(F.squeeze(own, own.ndim - 1))
        )
        return _ops.logical_and(exists, _ops.sum(before, -1, False) < self.k)

    def _options(self) -> dict[str, Any]:
        return {"k": self.k}


@_keywords.checked_init
class MeanSquaredError(MeanOf):
    """Mean of (y_pred - y_true)². Both of one shape."""

    def __init__(self, name: str | None = None):
        super().__init__(mean_squared_error, name)


@_keywords.checked_init
class MeanAbsoluteError(MeanOf):
    """Mean of |y_pred - y_true|. Both of one shape."""

    def __init__(self, name: str | None = None):
        super().__init__(mean_absolute_error, name)


@_keywords.checked_init
class RootMeanSquaredError(MeanOf):
    """Square root of the mean of (y_pred - y_true)². Both of one shape."""

    def __init__(self, name: str | None = None):
        super().__init__(mean_squared_error, name)

    def result(self) -> Any:
        return _ops.sqrt(super().result())


def _numbers(name: str, values: Any) -> Any:
    values = _targets.tensor(values)
    if values.dtype.kind == "bool":
        raise TypeError(at_line(f"{name}: values are bool; use ost.cast(values, ost.float32)"))
    return values
