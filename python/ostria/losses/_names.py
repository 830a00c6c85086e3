# SPDX-License-Identifier: Apache-2.0
"""Losses by name, Keras's short names among them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ostria import _keywords
from ostria._errors import at_line
from ostria.losses._classes import Loss

# Keras's second names.
_OTHER_NAMES = {
    "bce": "binary_crossentropy",
    "cosine": "cosine_similarity",
    "kld": "kl_divergence",
    "kullback_leibler_divergence": "kl_divergence",
    "logcosh": "log_cosh",
    "mae": "mean_absolute_error",
    "mape": "mean_absolute_percentage_error",
    "mse": "mean_squared_error",
    "msle": "mean_squared_logarithmic_error",
}


def get(identifier: Any) -> Callable[..., Any] | None:
    """A loss from its name: 'mean_squared_error' is a function, 'MeanSquaredError' an object.

    Args:
        identifier: a name, or Keras's short one ('mse', 'KLD'); a loss or None is returned as it
            is, and a class of losses makes an object.

    Raises:
        ValueError: an unknown name.
        TypeError: neither a name nor something to call.

    Example:
        >>> import ostria as ost
        >>> ost.losses.get("MSE")([0.0, 1.0], ost.asarray([2.0, 1.0])).numpy().tolist()
        [4.0, 0.0]
    """
    if identifier is None:
        return None
    if isinstance(identifier, str):
        from ostria import losses  # its names, which this module is one of

        skipped = ("Loss", "get", "reduce")
        known = {n: getattr(losses, n) for n in losses.__all__ if n not in skipped}
        name = identifier
        if name not in known:
            name = _OTHER_NAMES.get(identifier.lower(), identifier)
        if name not in known:
            # The guess is the first that fits: a function where one's style of name was given.
            accepted = sorted(known, key=lambda n: n.islower() != identifier.islower())
            accepted += _OTHER_NAMES
            raise ValueError(at_line(_keywords.unknown_name("loss", identifier, accepted)))
        identifier = known[name]
    if isinstance(identifier, type) and issubclass(identifier, Loss):
        return identifier()
    if callable(identifier):
        return identifier
    raise TypeError(
        at_line(
            f"losses.get: {identifier!r} is not accepted; give a name such as 'mse', a loss or a "
            "function of (y_true, y_pred)"
        )
    )
