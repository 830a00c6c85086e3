# SPDX-License-Identifier: Apache-2.0
"""What losses and metrics ask of y_true, y_pred and sample_weight, and the messages otherwise.

Shapes are compared, never broadcast: y_true [N] against y_pred [N, 1] would silently make [N, N].
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ostria import _functions as F
from ostria import _native
from ostria._errors import at_line

_ops = _native.ops
_HALF = (_native.float16, _native.bfloat16)


def tensor(x: Any) -> Any:
    """A tensor of a tensor, Variable, array or number."""
    return F.asarray(x)


def predictions(name: str, y_pred: Any) -> Any:
    """`y_pred` as a floating-point tensor of at least float32.

    Raises:
        TypeError: it holds integers or bools.
    """
    y_pred = tensor(y_pred)
    if y_pred.dtype.kind != "float":
        raise TypeError(
            at_line(
                f"{name}: y_pred is {_type(y_pred)}, but predictions are floating-point; use "
                "ost.cast(y_pred, ost.float32)"
            )
        )
    return F.cast(y_pred, _native.float32) if y_pred.dtype in _HALF else y_pred


def matching(name: str, y_true: Any, y_pred: Any) -> Any:
    """`y_true` in the dtype of `y_pred`, whose shape it must have.

    Raises:
        ValueError: the shapes differ; says how to mend a missing or surplus axis of size 1.
    """
    y_true = tensor(y_true)
    require_same_shape(name, y_true, y_pred)
    return y_true if y_true.dtype == y_pred.dtype else F.cast(y_true, y_pred.dtype)


def require_same_shape(name: str, y_true: Any, y_pred: Any) -> None:
    """Raises ValueError unless both have one shape."""
    if tuple(y_true.shape) == tuple(y_pred.shape):
        return
    long, short = ("y_true", "y_pred") if y_true.ndim > y_pred.ndim else ("y_pred", "y_true")
    remedy = "give both one shape"
    if abs(y_true.ndim - y_pred.ndim) == 1:
        shape = tuple((y_true if long == "y_true" else y_pred).shape)
        if shape[-1] == 1:
            remedy = (
                f"use {long}[..., 0], or ost.expand_dims({short}, axis=-1); left alone they would "
                "broadcast against each other"
            )
    raise ValueError(
        at_line(
            f"{name}: y_true has shape {list(y_true.shape)}, but y_pred has {list(y_pred.shape)}; "
            f"equal shapes are needed; {remedy}"
        )
    )


def class_labels(name: str, y_true: Any, y_pred: Any) -> Any:
    """Integer labels, one per row of `y_pred` [..., classes]: shape [...], int32 or int64.

    Labels of shape [..., 1] lose that axis.

    Raises:
        TypeError: the labels are not integers.
        ValueError: the shapes do not fit.
    """
    y_true = tensor(y_true)
    if y_true.dtype.kind not in ("signed", "unsigned"):
        raise TypeError(
            at_line(
                f"{name}: y_true is {_type(y_true)}, but labels are integers (class numbers); use "
                "ost.cast(y_true, ost.int64), or the categorical variant for one-hot labels"
            )
        )
    if y_pred.ndim < 1:
        raise ValueError(
            at_line(f"{name}: y_pred has shape [], but its last axis must hold one score per class")
        )
    want, shape = tuple(y_pred.shape[:-1]), tuple(y_true.shape)
    if shape == (*want, 1):
        y_true = F.squeeze(y_true, y_true.ndim - 1)
    elif shape != want:
        remedy = f"give labels of shape {list(want)}"
        if shape == tuple(y_pred.shape):
            remedy = "one-hot labels belong to the categorical variant"
        raise ValueError(
            at_line(
                f"{name}: y_true has shape {list(shape)}, but y_pred of shape {list(y_pred.shape)} "
                f"needs one class number per row; {remedy}"
            )
        )
    if y_true.dtype in (_native.int32, _native.int64):
        return y_true
    return F.cast(y_true, _native.int64)


def require_in_range(name: str, labels: Any, classes: Any, what: str = "y_true") -> None:
    """Raises IndexError if a label is outside 0 … classes - 1, as far as that is known by now."""
    if labels.is_traced or not isinstance(classes, int):
        return
    values = labels.numpy()
    bad = np.flatnonzero((values < 0) | (values >= classes))
    if bad.size:
        place = ", ".join(str(i) for i in np.unravel_index(bad[0], values.shape))
        raise IndexError(
            at_line(
                f"{name}: label {values.flat[bad[0]]} ({what}[{place}]) is out of range for "
                f"{classes} classes; valid labels are 0..{classes - 1}; count classes from 0, and "
                "have as many as the labels need"
            )
        )


def in_range(name: str, labels: Any, classes: int, what: str = "y_true") -> Any:
    """`labels` as they are; one outside 0 … classes - 1 is an IndexError, in a trace when it runs.

    There the cross-entropy of equal scores, which is at least 0, brings the check and adds nothing.
    """
    require_in_range(name, labels, classes, what)
    if not labels.is_traced:
        return labels
    scores = _ops.full(shape=(*labels.shape, classes), dtype=_native.float32, value=0.0)
    cost = _ops.sparse_softmax_cross_entropy(scores, labels)
    return labels + _ops.cast(_ops.minimum(cost, 0.0), labels.dtype)


def weights_like(name: str, sample_weight: Any, values: Any) -> Any:
    """`sample_weight` in the dtype of `values`, with axes of size 1 added until it broadcasts.

    Raises:
        ValueError: its shape is not that of the leading axes of `values`.
    """
    weight = tensor(sample_weight)
    given, shape = tuple(weight.shape), tuple(values.shape)
    if given != shape[: len(given)]:
        raise ValueError(
            at_line(
                f"{name}: sample_weight has shape {list(given)}, but the values it weighs have "
                f"{list(shape)}; give one weight per example, shape {list(shape[:1])}, or a scalar"
            )
        )
    if weight.dtype != values.dtype:
        weight = F.cast(weight, values.dtype)
    if given and len(given) < len(shape):
        weight = F.expand_dims(weight, axis=tuple(range(len(given), len(shape))))
    return weight


def static_size(name: str, x: Any, axis: int) -> int:
    """The size of an axis, which must be known while tracing."""
    size = x.shape[axis]
    if not isinstance(size, int):
        raise ValueError(
            at_line(
                f"{name}: the size of axis {axis} of {_type(x)} must be known while tracing; only "
                "the "
                "batch may be unknown"
            )
        )
    return size


def _type(x: Any) -> str:
    return f"{x.dtype}[{', '.join(str(d) for d in x.shape)}]"
