# SPDX-License-Identifier: Apache-2.0
"""Losses of margins: what is on the right side by more than 1 costs nothing."""

from __future__ import annotations

from typing import Any

from ostria import _keywords, _native, _targets
from ostria.losses._classes import Plain
from ostria.losses._functions import mean_per_example

_ops = _native.ops


def hinge(y_true: Any, y_pred: Any) -> Any:
    """Mean of max(1 - y_true y_pred, 0) over the last axis.

    Args:
        y_true: -1 or 1, [N, …]; where all of a batch are 0 or 1, 0 stands for -1.
        y_pred: scores of the same shape, floats.

    Returns:
        One loss per example: [N, …] without the last axis; [N] for [N].

    Raises:
        ValueError: the shapes differ; nothing is broadcast.
        TypeError: y_pred is not floating-point.
    """
    return mean_per_example(_short("hinge", y_true, y_pred))


def squared_hinge(y_true: Any, y_pred: Any) -> Any:
    """Mean of max(1 - y_true y_pred, 0)² over the last axis. Labels and shapes as `hinge`."""
    return mean_per_example(_ops.square(_short("squared_hinge", y_true, y_pred)))


def categorical_hinge(y_true: Any, y_pred: Any) -> Any:
    """max(1 + the best score of a wrong class - the score of the right one, 0).

    Args:
        y_true: one-hot labels, [..., classes].
        y_pred: scores of the same shape, floats.

    Returns:
        One loss per row, [...].

    Raises:
        ValueError: the shapes differ; nothing is broadcast.
        TypeError: y_pred is not floating-point.
    """
    name = "categorical_hinge"
    y_pred = _targets.predictions(name, y_pred)
    y = _targets.matching(name, y_true, y_pred)
    right = _ops.sum(y * y_pred, -1, False)
    wrong = _ops.max((1.0 - y) * y_pred, -1, False)
    return _ops.relu(wrong - right + 1.0)


def _short(name: str, y_true: Any, y_pred: Any) -> Any:
    """How much each score lacks to the margin."""
    y_pred = _targets.predictions(name, y_pred)
    y = _targets.matching(name, y_true, y_pred)
    bits = _ops.all(_ops.logical_or(_ops.equal(y, 0.0), _ops.equal(y, 1.0)))
    y = _ops.where(bits, 2.0 * y - 1.0, y)
    return _ops.relu(1.0 - y * y_pred)


@_keywords.checked_init
class Hinge(Plain):
    """Labels -1 and 1; see `hinge`."""

    _fn = staticmethod(hinge)


@_keywords.checked_init
class SquaredHinge(Plain):
    """Labels -1 and 1, squared; see `squared_hinge`."""

    _fn = staticmethod(squared_hinge)


@_keywords.checked_init
class CategoricalHinge(Plain):
    """One-hot labels; see `categorical_hinge`."""

    _fn = staticmethod(categorical_hinge)
