# SPDX-License-Identifier: Apache-2.0
"""Metrics of counted decisions: precision, recall, F scores, the confusion matrix.

A prediction is positive when it is greater than the threshold; a division by zero gives 0.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ostria import _functions as F
from ostria import _keywords, _native, _targets
from ostria._errors import at_line
from ostria.metrics._metric import Metric, divide, example_weights

_ops = _native.ops
_F64 = _native.float64
_EPSILON = 1e-7  # Keras's, in the denominators of F scores


class _Thresholded(Metric):
    """Decisions at thresholds: true positives, and what they are a share of."""

    def __init__(
        self,
        beside: str,
        thresholds: float | Sequence[float] | None,
        top_k: int | None,
        class_id: int | None,
        name: str | None,
    ):
        super().__init__(name)
        if thresholds is None:
            # With top_k, whatever is among the first k is a positive, as in Keras.
            thresholds = 0.5 if top_k is None else -np.inf
        self._scalar = np.ndim(thresholds) == 0
        self.thresholds = tuple(float(t) for t in np.ravel(thresholds))
        if top_k is None and any(not 0 <= t <= 1 for t in self.thresholds):
            raise ValueError(
                at_line(f"{self.name}: thresholds {list(self.thresholds)} must be in [0, 1]")
            )
        self.top_k, self.class_id = top_k, class_id
        count = (len(self.thresholds),)
        self.true_positives = self.add_state("true_positives", count)
        self._other = self.add_state(beside, count)

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        y_pred = _targets.predictions(self.name, y_pred)
        y_true = _targets.matching(self.name, y_true, y_pred)
        if self.top_k is not None:
            y_pred = _keep_top_k(self.name, y_pred, self.top_k)
        if self.class_id is not None:
            classes = _targets.static_size(self.name, y_pred, -1)
            if not 0 <= self.class_id < classes:
                raise ValueError(
                    at_line(
                        f"{self.name}: class_id {self.class_id} is out of range for {classes} "
                        "classes"
                    )
                )
            y_true, y_pred = y_true[..., self.class_id], y_pred[..., self.class_id]
        truth = F.cast(y_true > 0.5, _F64)
        weights = example_weights(self.name, sample_weight, truth)
        axes = tuple(range(truth.ndim))
        limits = np.asarray(self.thresholds, y_pred.dtype.numpy())
        positive = F.expand_dims(y_pred, axis=-1) > limits
        truth, weights = F.expand_dims(truth * weights, axis=-1), F.expand_dims(weights, axis=-1)
        self._add(self.true_positives, _ops.sum(_ops.where(positive, truth, 0.0), axes, False))
        self._add(self._other, self._count(positive, truth, weights, axes))

    def _count(self, positive: Any, truth: Any, weights: Any, axes: tuple[int, ...]) -> Any:
        raise NotImplementedError

    def result(self) -> Any:
        tp = self.true_positives.value()
        share = divide(tp, tp + self._other.value())
        return share[0] if self._scalar else share

    def _options(self) -> dict[str, Any]:
        return {"thresholds": self.thresholds, "top_k": self.top_k, "class_id": self.class_id}


@_keywords.checked_init
class Precision(_Thresholded):
    """True positives as a share of predicted positives.

    Args:
        thresholds: one number or several (then the result is a vector); 0.5 by default.
        top_k: only the k largest scores of each row count as predictions.
        class_id: look at this column only.

    y_true holds 0 or 1, y_pred scores, both of one shape.
    """

    def __init__(
        self,
        thresholds: float | Sequence[float] | None = None,
        top_k: int | None = None,
        class_id: int | None = None,
        name: str | None = None,
    ):
        super().__init__("false_positives", thresholds, top_k, class_id, name)

    @property
    def false_positives(self) -> Any:
        """Weighted count per threshold."""
        return self._other

    def _count(self, positive: Any, truth: Any, weights: Any, axes: tuple[int, ...]) -> Any:
        return _ops.sum(_ops.where(positive, weights - truth, 0.0), axes, False)


@_keywords.checked_init
class Recall(_Thresholded):
    """True positives as a share of what is positive in truth. Arguments as `Precision`."""

    def __init__(
        self,
        thresholds: float | Sequence[float] | None = None,
        top_k: int | None = None,
        class_id: int | None = None,
        name: str | None = None,
    ):
        super().__init__("false_negatives", thresholds, top_k, class_id, name)

    @property
    def false_negatives(self) -> Any:
        """Weighted count per threshold."""
        return self._other

    def _count(self, positive: Any, truth: Any, weights: Any, axes: tuple[int, ...]) -> Any:
        return _ops.sum(_ops.where(positive, 0.0, truth), axes, False)


@_keywords.checked_init
class FBetaScore(Metric):
    """(1 + beta²) P R / (beta² P + R) of precision P and recall R, per class.

    Args:
        average: None (a vector), 'micro' (all classes pooled), 'macro' (plain mean) or 'weighted'
            (by the number of true examples).
        beta: how many times recall counts more than precision.
        threshold: scores above it are predictions; None: the largest score of each row is.

    y_true [N, classes] of 0 and 1, y_pred [N, classes] of scores.
    """

    _SUMS = ("true_positives", "false_positives", "false_negatives", "intermediate_weights")

    def __init__(
        self,
        average: str | None = None,
        beta: float = 1.0,
        threshold: float | None = None,
        name: str | None = None,
    ):
        super().__init__(name)
        if average not in (None, "micro", "macro", "weighted"):
            raise ValueError(
                at_line(
                    f"{self.name}: average {average!r} is not known; accepted are None, 'micro', "
                    "'macro' and 'weighted'"
                )
            )
        if not beta > 0:
            raise ValueError(
                at_line(f"{self.name}: beta {beta} is not accepted; give a positive number")
            )
        if threshold is not None and not 0 < threshold <= 1:
            raise ValueError(
                at_line(
                    f"{self.name}: threshold {threshold} is not accepted; give a number in (0, 1]"
                )
            )
        self.average, self.beta, self.threshold = average, float(beta), threshold

    def _build(self, classes: int) -> None:
        if self._state:
            have = self._state["true_positives"].shape[-1] if self.average != "micro" else classes
            if have != classes:
                raise ValueError(
                    at_line(
                        f"{self.name}: was given {have} classes before, and {classes} now; use "
                        "one metric for each"
                    )
                )
            return
        for key in self._SUMS:
            self.add_state(key, () if self.average == "micro" else (classes,))

    def _adopt(self, other: FBetaScore) -> None:
        shape = other._state["true_positives"].shape
        self._build(shape[0] if shape else 0)

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        y_pred = _targets.predictions(self.name, y_pred)
        y_true = F.cast(_targets.matching(self.name, y_true, y_pred), _F64)
        if y_pred.ndim != 2:
            raise ValueError(
                at_line(
                    f"{self.name}: y_pred has shape {list(y_pred.shape)}, but [N, classes] is "
                    "needed; use ost.expand_dims(y_pred, axis=-1) for one class"
                )
            )
        self._build(_targets.static_size(self.name, y_pred, 1))
        if self.threshold is None:
            largest = _ops.max(y_pred, -1, True)
            # A row of zeros predicts nothing, as in Keras.
            predicted = _ops.logical_and(_ops.equal(y_pred, largest), _ops.abs(y_pred) > 1e-9)
        else:
            predicted = y_pred > self.threshold
        weights = example_weights(self.name, sample_weight, y_true)
        truth = y_true * weights
        sums = (
            _ops.where(predicted, truth, 0.0),
            _ops.where(predicted, weights - truth, 0.0),
            _ops.where(predicted, 0.0, truth),
            truth,
        )
        axes = (0, 1) if self.average == "micro" else (0,)
        for key, values in zip(self._SUMS, sums, strict=True):
            self._add(self._state[key], _ops.sum(values, axes, False))

    def result(self) -> Any:
        if not self._state:
            return F.full((), 0.0, dtype=_F64)
        tp, fp, fn, support = (self._state[key].value() for key in self._SUMS)
        precision, recall = tp / (tp + fp + _EPSILON), tp / (tp + fn + _EPSILON)
        square = self.beta**2
        score = (1.0 + square) * (precision * recall) / (precision * square + recall + _EPSILON)
        if self.average == "macro":
            return _ops.mean(score)
        if self.average == "weighted":
            return _ops.sum(score * (support / (_ops.sum(support) + _EPSILON)))
        return score

    def _options(self) -> dict[str, Any]:
        return {"average": self.average, "beta": self.beta, "threshold": self.threshold}


@_keywords.checked_init
class F1Score(FBetaScore):
    """The harmonic mean of precision and recall: `FBetaScore` with beta = 1."""

    def __init__(
        self, average: str | None = None, threshold: float | None = None, name: str | None = None
    ):
        super().__init__(average, 1.0, threshold, name)


@_keywords.checked_init
class ConfusionMatrix(Metric):
    """Weighted counts [true class, predicted class].

    y_true holds class numbers [...], y_pred scores [..., classes] or class numbers [...]. A class
    number out of range is an IndexError when it runs.
    """

    def __init__(self, num_classes: int, name: str | None = None):
        super().__init__(name)
        if not isinstance(num_classes, int) or num_classes < 1:
            raise ValueError(
                at_line(
                    f"{self.name}: num_classes {num_classes!r} is not accepted; give a positive "
                    "integer"
                )
            )
        self.num_classes = num_classes
        self.matrix = self.add_state("matrix", (num_classes, num_classes))

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        y_pred = _targets.tensor(y_pred)
        if y_pred.dtype.kind == "float":
            if y_pred.ndim < 1 or y_pred.shape[-1] != self.num_classes:
                raise ValueError(
                    at_line(
                        f"{self.name}: y_pred has shape {list(y_pred.shape)}, but its last axis "
                        f"must hold {self.num_classes} scores"
                    )
                )
            y_true = _targets.class_labels(self.name, y_true, y_pred)
            y_pred = F.argmax(y_pred, axis=-1)
        else:
            y_true = _targets.tensor(y_true)
            _targets.require_same_shape(self.name, y_true, y_pred)
            y_pred = F.cast(y_pred, _native.int64)
            y_pred = _targets.in_range(self.name, y_pred, self.num_classes, "y_pred")
        rows = _targets.in_range(self.name, F.cast(y_true, _native.int64), self.num_classes)
        weights = example_weights(self.name, sample_weight, rows)
        size = self.num_classes * self.num_classes
        flat = _ops.scatter_add(
            _ops.full(shape=(size,), dtype=_F64, value=0.0),
            rows * self.num_classes + y_pred,
            weights,
        )
        self._add(self.matrix, F.reshape(flat, (self.num_classes, self.num_classes)))

    def result(self) -> Any:
        return self.matrix.value()

    def _options(self) -> dict[str, Any]:
        return {"num_classes": self.num_classes}


def _keep_top_k(name: str, scores: Any, k: int) -> Any:
    """Scores outside the k largest of each row become -inf; of equals the lower index is first."""
    classes = _targets.static_size(name, scores, -1)
    if not 0 < k <= classes:
        raise ValueError(at_line(f"{name}: top_k {k} is out of range for {classes} classes"))
    index = np.arange(classes)
    own, other = F.expand_dims(scores, axis=-1), F.expand_dims(scores, axis=-2)
    earlier = index[None, :] < index[:, None]
    before = _ops.logical_or(other > own, _ops.logical_and(_ops.equal(other, own), earlier))
    return _ops.where(_ops.sum(before, -1, False) < k, scores, -np.inf)
