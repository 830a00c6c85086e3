# SPDX-License-Identifier: Apache-2.0
"""Connectionist temporal classification: sequences of labels whose places in time are not known."""

from __future__ import annotations

from typing import Any

from ostria import _functions as F
from ostria import _keywords, _native, _targets
from ostria._errors import at_line
from ostria.losses._classes import Loss

_ops = _native.ops


def ctc(
    y_true: Any,
    y_pred: Any,
    label_length: Any = None,
    logit_length: Any = None,
    blank: int = 0,
    zero_infinity: bool = False,
) -> Any:
    """Minus the log-probability of each sequence of labels, over all alignments with the logits.

    Args:
        y_true: class numbers, [batch, labels]; without `label_length`, blanks at the end are
            padding.
        y_pred: logits, [batch, time, classes].
        label_length: how many labels of each row count, [batch].
        logit_length: how many steps of each row count, [batch]; all by default.
        blank: the class that stands for no label; -1 is the last.
        zero_infinity: where no alignment exists the loss is 0, not infinite; its gradient is 0
            either way.

    Returns:
        One loss per sequence, [batch].

    Raises:
        ValueError: a shape does not fit, or blank is no class.
        TypeError: y_true does not hold integers, or y_pred is not floating-point.
        IndexError: a label or a length is out of range (when it runs).

    Example:
        >>> import numpy as np, ostria as ost
        >>> logits = np.zeros((1, 3, 2), np.float32)  # 8 paths; 6 of them have one run of ones
        >>> round(float(np.exp(-ost.losses.ctc([[1]], logits).item())), 6)
        0.75
    """
    y_pred, y_true = _targets.predictions("ctc", y_pred), _targets.tensor(y_true)
    if y_pred.ndim != 3 or y_true.ndim != 2:
        raise ValueError(
            at_line(
                f"ctc: y_true has shape {list(y_true.shape)} and y_pred {list(y_pred.shape)}; give "
                "class numbers [batch, labels] and logits [batch, time, classes]"
            )
        )
    if y_true.dtype.kind not in ("signed", "unsigned"):
        raise TypeError(
            at_line(
                f"ctc: y_true is {y_true.dtype}, but labels are integers (class numbers); use "
                "ost.cast(y_true, ost.int64)"
            )
        )
    labels = F.cast(y_true, _native.int64)
    if label_length is None:
        classes = _targets.static_size("ctc", y_pred, 2)
        is_label = labels != (blank + classes if blank < 0 else blank)
        label_length = _ops.sum(F.cast(is_label, _native.int64), 1, False)
    if logit_length is None:
        steps = float(_targets.static_size("ctc", y_pred, 1))
        logit_length = _ops.full(shape=y_pred.shape[:1], dtype=_native.int64, value=steps)
    return _ops.ctc_loss(y_pred, labels, logit_length, label_length, blank, zero_infinity)


@_keywords.checked_init
class CTC(Loss):
    """Labels without places in time; see `ctc`, which takes lengths as well."""

    def __init__(
        self,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = None,
        blank: int = 0,
        zero_infinity: bool = False,
    ):
        super().__init__(reduction, name=name)
        self.blank, self.zero_infinity = blank, zero_infinity

    def call(self, y_true: Any, y_pred: Any) -> Any:
        return ctc(y_true, y_pred, blank=self.blank, zero_infinity=self.zero_infinity)
