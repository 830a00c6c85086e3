# SPDX-License-Identifier: Apache-2.0
"""The classification report: accuracy, and never accuracy alone.

Beside accuracy stand the accuracy of always answering the most frequent class, each class's
precision, recall, F1 and support, their averages, and who is taken for whom. Everything derives
from one confusion matrix (rows: true class, columns: predicted class), except ROC AUC, which
needs scores.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ostria._errors import at_line
from ostria._keywords import checked_keywords

FloatArray = npt.NDArray[np.float64]

_AVERAGED = ("precision", "recall", "f1")


@dataclass(frozen=True, eq=False)
class ClassificationReport:
    """How well a classifier does, per class and on the whole. ``print`` it, or ``to_dict`` it.

    Attributes:
      confusion_matrix: [C, C], int64 (float64 if weighted); rows are true classes.
      class_names: C names.
      accuracy: share of correct predictions; NaN without examples.
      baseline_accuracy: accuracy of always answering ``baseline_class``.
      baseline_class: index of the most frequent true class (the first of several).
      accuracy_interval: 95 % Wilson score interval, or None for weighted examples.
      precision, recall, f1: [C] float64; 0 where undefined (a class never predicted, or absent).
      support: [C] examples (or weight) of each true class.
      auc: [C] one-against-rest area under the ROC curve, NaN for a class without positives or
        negatives; None unless scores were given.
    """

    confusion_matrix: npt.NDArray[Any]
    class_names: tuple[str, ...]
    accuracy: float
    baseline_accuracy: float
    baseline_class: int
    accuracy_interval: tuple[float, float] | None
    precision: FloatArray
    recall: FloatArray
    f1: FloatArray
    support: npt.NDArray[Any]
    auc: FloatArray | None

    @property
    def macro_average(self) -> dict[str, float]:
        """Plain mean over classes: every class counts the same."""
        return self._average(np.ones(len(self.class_names)))

    @property
    def weighted_average(self) -> dict[str, float]:
        """Mean over classes weighted by support: every example counts the same."""
        return self._average(self.support.astype(np.float64))

    def most_confused(self, count: int = 3) -> list[tuple[int, int, float]]:
        """The ``count`` most frequent mistakes as (true class, predicted class, examples)."""
        off = self.confusion_matrix.copy()
        np.fill_diagonal(off, 0)
        order = np.argsort(-off, axis=None, kind="stable")[:count]
        pairs = [divmod(int(i), len(off)) for i in order]
        return [(t, p, off[t, p].item()) for t, p in pairs if off[t, p] > 0]

    @property
    def text(self) -> str:
        """The report as lines of text, for a terminal."""
        return "\n".join([*self._summary(), "", *self._table(), *self._notes()])

    def __str__(self) -> str:
        return self.text

    def to_dict(self) -> dict[str, Any]:
        """The report as plain Python values, ready for ``json.dumps``; NaN becomes None."""
        columns: dict[str, npt.NDArray[Any]] = {
            "precision": self.precision,
            "recall": self.recall,
            "f1": self.f1,
            "support": self.support,
        }
        if self.auc is not None:
            columns["auc"] = self.auc
        interval = self.accuracy_interval
        return {
            "accuracy": _plain(self.accuracy),
            "accuracy_interval": None if interval is None else list(interval),
            "baseline_accuracy": _plain(self.baseline_accuracy),
            "baseline_class": self.class_names[self.baseline_class],
            "examples": self.support.sum().item(),
            "classes": [
                {"name": name, **{key: _plain(column[i].item()) for key, column in columns.items()}}
                for i, name in enumerate(self.class_names)
            ],
            "macro_average": {k: _plain(v) for k, v in self.macro_average.items()},
            "weighted_average": {k: _plain(v) for k, v in self.weighted_average.items()},
            "confusion_matrix": self.confusion_matrix.tolist(),
        }

    def _average(self, weights: FloatArray) -> dict[str, float]:
        total = weights.sum()
        values = {key: getattr(self, key) for key in _AVERAGED}
        if self.auc is not None:
            values["auc"] = self.auc
        return {
            key: float(v @ weights / total) if total > 0 else math.nan for key, v in values.items()
        }

    def _summary(self) -> list[str]:
        of = f"{_count(self.support.sum())} examples"
        if self.accuracy_interval is not None:
            low, high = self.accuracy_interval
            of += f", 95 % interval {low:.4f} to {high:.4f}"
        return [
            f"accuracy  {self.accuracy:.4f}  ({of})",
            f"baseline  {self.baseline_accuracy:.4f}  (always "
            f"{self.class_names[self.baseline_class]!r}, the most frequent class)",
        ]

    def _table(self) -> list[str]:
        header = ["class", *_AVERAGED, "support"] + ([] if self.auc is None else ["auc"])
        rows = []
        for i, name in enumerate(self.class_names):
            row = [name, *(f"{getattr(self, k)[i]:.4f}" for k in _AVERAGED)]
            row.append(_count(self.support[i]))
            rows.append(row + ([] if self.auc is None else [f"{self.auc[i]:.4f}"]))
        for name, average in (
            ("macro average", self.macro_average),
            ("weighted average", self.weighted_average),
        ):
            row = [name, *(f"{average[k]:.4f}" for k in _AVERAGED), _count(self.support.sum())]
            rows.append(row + ([] if self.auc is None else [f"{average['auc']:.4f}"]))
        widths = [max(len(row[i]) for row in [header, *rows]) for i in range(len(header))]
        lines = [
            "  ".join(
                cell.rjust(width) if i else cell.ljust(width)
                for i, (cell, width) in enumerate(zip(row, widths, strict=True))
            )
            for row in [header, *rows]
        ]
        rule = "-" * len(lines[0])
        return [lines[0], rule, *lines[1:-2], rule, *lines[-2:]]

    def _notes(self) -> list[str]:
        lines = []
        if mistakes := self.most_confused():
            lines.append("most frequent mistakes:")
            for true, predicted, number in mistakes:
                share = 100 * number / self.support[true]
                lines.append(
                    f"  {self.class_names[true]!r} taken for {self.class_names[predicted]!r}: "
                    f"{_count(number)} ({share:.1f} % of its examples)"
                )
        absent = [n for n, s in zip(self.class_names, self.support, strict=True) if s == 0]
        if absent:
            lines.append("without examples (recall and F1 count as 0): " + ", ".join(absent))
        predicted_totals = self.confusion_matrix.sum(axis=0)
        never = [n for n, s in zip(self.class_names, predicted_totals, strict=True) if s == 0]
        if never:
            lines.append("never predicted (precision counts as 0): " + ", ".join(never))
        return ["", *lines] if lines else []


@checked_keywords("classification_report")
def classification_report(
    labels: npt.ArrayLike | None = None,
    predictions: npt.ArrayLike | None = None,
    *,
    confusion_matrix: npt.ArrayLike | None = None,
    class_names: Sequence[str] | None = None,
    sample_weight: npt.ArrayLike | None = None,
) -> ClassificationReport:
    """Compares predictions with labels, or reads a confusion matrix made elsewhere.

    Args:
      labels: [N] integer class ids.
      predictions: [N] integer class ids, or [N, C] scores (logits or probabilities), whose
        largest is the prediction and which also give the AUC.
      confusion_matrix: [C, C] counts or weights instead of the two; rows are true classes.
      class_names: C names; without, class ids are the names and the largest id decides C.
      sample_weight: [N] weights >= 0.

    Raises:
      TypeError: unknown keyword, class ids that are no integers, or both ways of input at once.
      ValueError: shapes that do not fit, an id or weight out of range, non-finite scores.

    >>> report = classification_report([0, 1, 1], [0, 1, 0], class_names=["cat", "dog"])
    >>> round(report.accuracy, 4), round(report.baseline_accuracy, 4)
    (0.6667, 0.6667)
    """
    names = None if class_names is None else tuple(str(name) for name in class_names)
    auc = None
    if confusion_matrix is not None:
        if labels is not None or predictions is not None or sample_weight is not None:
            raise TypeError(
                at_line(
                    "classification_report: labels, predictions or sample_weight are given as well "
                    "as confusion_matrix; give either labels and predictions (and sample_weight), "
                    "or confusion_matrix, not both"
                )
            )
        matrix = check_confusion_matrix("classification_report", confusion_matrix)
    else:
        if labels is None or predictions is None:
            both = labels is None and predictions is None
            one = "labels" if labels is None else "predictions"
            missing = "labels and predictions" if both else one
            raise TypeError(
                at_line(
                    f"classification_report: no {missing} given; give labels and predictions, or "
                    "confusion_matrix="
                )
            )
        y, p, scores, weight = _check_examples(labels, predictions, sample_weight)
        top = int(max(y.max(initial=-1), p.max(initial=-1))) + 1
        classes = scores.shape[1] if scores is not None else len(names) if names else top
        if top > classes:
            raise ValueError(
                at_line(
                    f"classification_report: class id {top - 1} is out of range for {classes} "
                    "classes (the "
                    f"{'width of the scores' if scores is not None else 'class names'}); ids are 0 "
                    f"to {classes - 1}: look at the labels, or give more "
                    f"{'scores' if scores is not None else 'class names'}"
                )
            )
        matrix = _count_pairs(y, p, weight, classes)
        if scores is not None:
            auc = np.array([_roc_auc(y == c, scores[:, c], weight) for c in range(classes)])
    if names is None:
        names = tuple(str(i) for i in range(len(matrix)))
    if len(names) != len(matrix):
        raise ValueError(
            at_line(
                f"classification_report: {len(names)} class names for {len(matrix)} classes; give "
                "one name per class, or None for ids"
            )
        )
    if not names:
        raise ValueError(
            at_line(
                "classification_report: no examples and no class names: nothing to report; give "
                "at least one example, or class_names for an empty report"
            )
        )
    return _report(matrix, names, auc)


def check_confusion_matrix(who: str, matrix: npt.ArrayLike) -> npt.NDArray[Any]:
    """Returns ``matrix`` as a square int64 or float64 array of finite values >= 0.

    Raises:
      ValueError: it is not such a matrix.
    """
    array = np.asarray(matrix)
    if array.ndim != 2 or array.shape[0] != array.shape[1] or not len(array):
        raise ValueError(
            at_line(
                f"{who}: a confusion matrix is square, [C, C]; given shape {list(array.shape)}; "
                "give counts with true classes as rows, one row and column per class"
            )
        )
    if array.dtype.kind not in "iuf" or not np.all(np.isfinite(array)) or np.any(array < 0):
        raise ValueError(
            at_line(
                f"{who}: a confusion matrix holds finite counts or weights >= 0; given "
                f"{_bad_value(array)}; look at what counted them"
            )
        )
    return array.astype(np.float64 if array.dtype.kind == "f" else np.int64)


def _bad_value(array: npt.NDArray[Any]) -> str:
    """What keeps ``array`` from being weights: its dtype, or its first value that is none."""
    if array.dtype.kind not in "iuf":
        return f"dtype {array.dtype}"
    return str(array[~(np.isfinite(array) & (array >= 0))][0])


def _report(
    matrix: npt.NDArray[Any], names: tuple[str, ...], auc: FloatArray | None
) -> ClassificationReport:
    hits = np.diag(matrix).astype(np.float64)
    support, predicted = matrix.sum(axis=1), matrix.sum(axis=0)
    precision, recall = _divide(hits, predicted), _divide(hits, support)
    total = float(matrix.sum())
    correct = float(hits.sum())
    baseline = int(support.argmax())
    counts = matrix.dtype.kind == "i" and total > 0
    return ClassificationReport(
        confusion_matrix=matrix,
        class_names=names,
        accuracy=correct / total if total else math.nan,
        baseline_accuracy=float(support[baseline]) / total if total else math.nan,
        baseline_class=baseline,
        accuracy_interval=_wilson(correct, total) if counts else None,
        precision=precision,
        recall=recall,
        f1=_divide(2 * hits, support + predicted),
        support=support,
        auc=auc,
    )


def _check_examples(
    labels: npt.ArrayLike, predictions: npt.ArrayLike, sample_weight: npt.ArrayLike | None
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], FloatArray | None, FloatArray | None]:
    y, p = _ids("labels", np.asarray(labels)), np.asarray(predictions)
    scores = None
    if p.ndim == 2:
        if p.shape[1] < 2 or p.dtype.kind not in "fiu":
            raise ValueError(
                at_line(
                    "classification_report: scores must be numbers of shape [N, C] with C >= 2; "
                    f"given {p.dtype} {list(p.shape)}; for two classes give ids, such as "
                    "`probability > 0.5`"
                )
            )
        scores = p.astype(np.float64)
        if not np.all(np.isfinite(scores)):
            raise ValueError(
                at_line(
                    "classification_report: predictions hold NaN or infinite scores in "
                    f"{int((~np.isfinite(scores)).any(axis=1).sum())} of {len(scores)} rows; "
                    "scores must be finite: look at the model's outputs"
                )
            )
        p = scores.argmax(axis=1)
    p = _ids("predictions", p)
    if len(y) != len(p):
        raise ValueError(
            at_line(
                f"classification_report: {len(y)} labels but {len(p)} predictions; they must "
                "match: predict the very examples that the labels are of"
            )
        )
    if sample_weight is None:
        return y, p, scores, None
    weight = np.asarray(sample_weight, dtype=np.float64)
    if weight.shape != y.shape or not np.all(np.isfinite(weight)) or np.any(weight < 0):
        fits = weight.shape == y.shape
        given = _bad_value(weight) if fits else f"shape {list(weight.shape)}"
        raise ValueError(
            at_line(
                f"classification_report: sample_weight must hold {len(y)} finite values >= 0; "
                f"given {given}; give one weight per example, 0 to leave it out"
            )
        )
    return y, p, scores, weight


def _ids(what: str, array: npt.NDArray[Any]) -> npt.NDArray[np.int64]:
    if array.ndim != 1:
        raise ValueError(
            at_line(
                f"classification_report: {what} must have shape [N]; given {list(array.shape)}; "
                + (
                    "turn one-hot labels into ids with argmax(axis=1)"
                    if what == "labels"
                    else "give one id, or one row of scores, per example"
                )
            )
        )
    if array.dtype == np.bool_ or not array.size:
        return array.astype(np.int64)
    if array.dtype.kind not in "iu":
        raise TypeError(
            at_line(
                f"classification_report: {what} must be integer class ids; given {array.dtype}. "
                "Scores have shape [N, C]; a probability of class 1 needs a threshold first, as "
                "in `probability > 0.5`"
            )
        )
    if (low := array.min()) < 0:
        raise ValueError(
            at_line(
                f"classification_report: {what} hold the class id {low}; ids are >= 0: leave out "
                "the rows that have no class"
            )
        )
    return array.astype(np.int64)


def _count_pairs(
    y: npt.NDArray[np.int64], p: npt.NDArray[np.int64], weight: FloatArray | None, classes: int
) -> npt.NDArray[Any]:
    flat = np.bincount(y * classes + p, weights=weight, minlength=classes * classes)
    return flat.reshape(classes, classes)


def _divide(a: npt.NDArray[Any], b: npt.NDArray[Any]) -> FloatArray:
    quotient: FloatArray = np.zeros(len(a))
    np.divide(a, b, out=quotient, where=b > 0)
    return quotient


def _wilson(correct: float, total: float) -> tuple[float, float]:
    """E. B. Wilson, 1927: stays inside [0, 1] and is right for small samples too."""
    z = 1.959963984540054
    p, z2 = correct / total, z * z / total
    middle = (p + z2 / 2) / (1 + z2)
    half = z * math.sqrt(p * (1 - p) / total + z2 / (4 * total)) / (1 + z2)
    return max(middle - half, 0.0), min(middle + half, 1.0)


def _roc_auc(
    positive: npt.NDArray[np.bool_], score: FloatArray, weight: FloatArray | None
) -> float:
    """Chance that a positive scores higher than a negative, ties counting half (Mann-Whitney)."""
    w = np.ones(len(score)) if weight is None else weight
    _, group = np.unique(score, return_inverse=True)
    pos = np.bincount(group, weights=w * positive)
    neg = np.bincount(group, weights=w * ~positive)
    pairs = pos.sum() * neg.sum()
    if not pairs > 0:
        return math.nan
    return float(pos @ (np.cumsum(neg) - neg / 2) / pairs)


def _count(value: float) -> str:
    return f"{value:,.0f}" if float(value).is_integer() else f"{value:,.2f}"


def _plain(value: float) -> float | None:
    return None if isinstance(value, float) and math.isnan(value) else value
