# SPDX-License-Identifier: Apache-2.0
"""Metrics by name, Keras's short names among them."""

from __future__ import annotations

from typing import Any

from ostria import _keywords
from ostria._errors import at_line
from ostria.metrics._metric import Metric

# Keras's second names; every class is also known by its own name in snake_case.
_OTHER_NAMES = {
    "acc": "Accuracy",
    "bce": "BinaryCrossentropy",
    "cosine": "CosineSimilarity",
    "kl_divergence": "KLDivergence",
    "kld": "KLDivergence",
    "log_cosh": "LogCoshError",
    "logcosh": "LogCoshError",
    "mae": "MeanAbsoluteError",
    "mape": "MeanAbsolutePercentageError",
    "mse": "MeanSquaredError",
    "msle": "MeanSquaredLogarithmicError",
    "r2_score": "R2Score",
    "rmse": "RootMeanSquaredError",
}


def get(identifier: Any) -> Metric | None:
    """A new metric from its name: 'MeanSquaredError', 'mean_squared_error' or Keras's 'mse'.

    Args:
        identifier: a name; a metric or None is returned as it is, and a class makes a metric.

    Raises:
        ValueError: an unknown name.
        TypeError: neither a name nor a metric.

    Example:
        >>> import ostria as ost
        >>> ost.metrics.get("rmse")([0.0, 0.0], ost.asarray([3.0, 3.0])).item()
        3.0
    """
    if identifier is None or isinstance(identifier, Metric):
        return identifier
    if isinstance(identifier, str):
        from ostria import metrics  # its names, which this module is one of

        skipped = ("Metric", "get")
        classes = {n: getattr(metrics, n) for n in metrics.__all__ if n not in skipped}
        known = {n.lower(): value for n, value in classes.items()}
        name = _OTHER_NAMES.get(identifier.lower(), identifier)
        found = known.get(name.replace("_", "").lower())
        if found is None:
            accepted = [*classes, *_OTHER_NAMES]
            raise ValueError(at_line(_keywords.unknown_name("metric", identifier, accepted)))
        return found()
    if isinstance(identifier, type) and issubclass(identifier, Metric):
        return identifier()
    raise TypeError(
        at_line(
            f"metrics.get: {identifier!r} is not accepted; give a name such as 'mse', or an object "
            "of ost.metrics"
        )
    )
