# SPDX-License-Identifier: Apache-2.0
"""Area under the ROC or precision-recall curve, from counts at fixed thresholds.

State is how much weight of each label lies between neighbouring thresholds; the counts at a
threshold are the sums above it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from ostria import _functions as F
from ostria import _keywords, _native, _targets
from ostria._errors import at_line
from ostria.metrics._metric import Metric, divide, example_weights

_ops = _native.ops
_F64 = _native.float64
_EPSILON = 1e-7  # Keras's: the outer thresholds lie this far outside [0, 1]
_ROUNDING = 1e-5  # how far a softmax may miss [0, 1]
_CURVES = ("ROC", "PR")
_METHODS = ("interpolation", "minoring", "majoring")


@_keywords.checked_init
class AUC(Metric):
    """Area under a curve over thresholds.

    Args:
        num_thresholds: how many, evenly spaced over [0, 1], ends included.
        curve: 'ROC' (recall over false positive rate) or 'PR' (precision over recall).
        summation_method: 'interpolation' (trapezium; for PR as Davis and Goadrich 2006), 'minoring'
            or 'majoring' (the lower or higher end of every interval).
        thresholds: inner thresholds to use instead; 0 and 1 are added.
        from_logits: y_pred are logits.

    y_true holds 0 or 1, y_pred scores in [0, 1], both of one shape. A compiled step cannot refuse
    NaN or a score outside [0, 1]; the result is NaN from then on, until `reset_state`. What weighs
    0 may have any score.

    Raises:
        ValueError: an unknown curve or method, fewer than two thresholds, or some outside [0, 1];
            from `update_state` outside traces, NaN or a score outside [0, 1].
    """

    def __init__(
        self,
        num_thresholds: int = 200,
        curve: str = "ROC",
        summation_method: str = "interpolation",
        name: str | None = None,
        thresholds: Sequence[float] | None = None,
        from_logits: bool = False,
    ):
        super().__init__(name)
        for what, given, accepted in (
            ("curve", curve, _CURVES),
            ("summation_method", summation_method, _METHODS),
        ):
            if given not in accepted:
                raise ValueError(
                    at_line(
                        f"{self.name}: {what} {given!r} is not known; accepted are "
                        + ", ".join(accepted)
                    )
                )
        if thresholds is not None:
            inner = sorted(float(t) for t in thresholds)
            if any(not 0 <= t <= 1 for t in inner):
                raise ValueError(at_line(f"{self.name}: thresholds {inner} must be in [0, 1]"))
        else:
            if num_thresholds < 2:
                raise ValueError(
                    at_line(
                        f"{self.name}: num_thresholds {num_thresholds} is not accepted; give at "
                        "least 2"
                    )
                )
            inner = [i / (num_thresholds - 1) for i in range(1, num_thresholds - 1)]
        self.thresholds = (-_EPSILON, *inner, 1.0 + _EPSILON)
        self.curve, self.summation_method, self.from_logits = curve, summation_method, from_logits
        shape = (len(self.thresholds) + 1,)
        self.positives = self.add_state("positives", shape)
        self.negatives = self.add_state("negatives", shape)

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        y_pred = _targets.predictions(self.name, y_pred)
        truth = F.cast(_targets.matching(self.name, y_true, y_pred) > 0.5, _F64)
        if self.from_logits:
            y_pred = _ops.sigmoid(y_pred)
        weights = example_weights(self.name, sample_weight, truth)
        fits = _ops.logical_and(y_pred >= -_ROUNDING, y_pred <= 1.0 + _ROUNDING)
        fits = _ops.logical_or(fits, _ops.equal(weights, 0.0))
        self._require(fits, y_pred)
        limits = np.asarray(self.thresholds)
        score = _ops.clip(F.cast(y_pred, _F64), 0.0, 1.0)
        above = F.expand_dims(score, axis=-1) > limits
        place = _ops.sum(above, -1, False)  # how many thresholds lie below the score
        positive = _ops.where(fits, weights * truth, math.nan)
        zeros = _ops.full(shape=self.positives.shape, dtype=_F64, value=0.0)
        self._add(self.positives, _ops.scatter_add(zeros, place, positive))
        self._add(self.negatives, _ops.scatter_add(zeros, place, weights * (1.0 - truth)))

    def result(self) -> Any:
        positives, negatives = self.positives.value(), self.negatives.value()
        tp, fp = self._above(positives), self._above(negatives)
        fn, tn = _ops.sum(positives) - tp, _ops.sum(negatives) - fp
        if self.curve == "PR" and self.summation_method == "interpolation":
            return _interpolated_pr(tp, fp, fn)
        recall = divide(tp, tp + fn)
        x, y = (
            (divide(fp, fp + tn), recall) if self.curve == "ROC" else (recall, divide(tp, tp + fp))
        )
        left, right = y[:-1], y[1:]
        if self.summation_method == "minoring":
            height = _ops.minimum(left, right)
        elif self.summation_method == "majoring":
            height = _ops.maximum(left, right)
        else:
            height = (left + right) * 0.5
        return _ops.sum((x[:-1] - x[1:]) * height)

    def _require(self, fits: Any, y_pred: Any) -> None:
        if fits.is_traced:
            return
        bad = np.argwhere(~fits.numpy())
        if not bad.size:
            return
        place = ", ".join(str(i) for i in bad[0])
        remedy = "mend the model or the input, or give such examples sample_weight 0"
        if not self.from_logits:
            remedy = "for logits use from_logits=True or ost.sigmoid; " + remedy
        value = y_pred.numpy()[tuple(bad[0])].item()
        raise ValueError(
            at_line(
                f"{self.name}: y_pred[{place}] is {value}, but scores are numbers in [0, 1]; "
                f"{remedy}"
            )
        )

    def _above(self, weights: Any) -> Any:
        """Sum of the weights that lie above each threshold."""
        count = len(self.thresholds)
        is_above = np.arange(count + 1)[None, :] > np.arange(count)[:, None]
        return _ops.sum(_ops.where(is_above, weights, 0.0), -1, False)

    def _options(self) -> dict[str, Any]:
        return {"thresholds": self.thresholds, "from_logits": self.from_logits}


def _interpolated_pr(tp: Any, fp: Any, fn: Any) -> Any:
    # Davis, Goadrich (ICML 2006): between two points precision is a function of the true positives.
    predicted = tp + fp
    dtp = tp[:-1] - tp[1:]
    slope = divide(dtp, predicted[:-1] - predicted[1:])
    intercept = tp[1:] - slope * predicted[1:]
    both = _ops.logical_and(predicted[:-1] > 0.0, predicted[1:] > 0.0)
    ratio = _ops.where(both, divide(predicted[:-1], predicted[1:]), 1.0)
    area = slope * (dtp + intercept * _ops.log(ratio))
    return _ops.sum(divide(area, tp[1:] + fn[1:]))
