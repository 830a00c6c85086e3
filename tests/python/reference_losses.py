# SPDX-License-Identifier: Apache-2.0
"""Losses in plain NumPy, float64: what the graph's losses must equal. Definitions are Keras's.

Each takes [N, ...] and gives one loss per example, [N] (the mean over the last axis where it has
one); ``reduce`` turns those into what the optimizer sees. Probabilities are clipped to
[1e-7, 1 - 1e-7]; logits need no clipping.
"""

import numpy as np

EPSILON = 1e-7


def reduce(losses, weight=None, reduction="sum_over_batch_size"):
    """'sum_over_batch_size' divides by the number of losses, not by the sum of weights."""
    losses = np.asarray(losses, np.float64)
    weighted = losses if weight is None else losses * np.asarray(weight, np.float64)
    if reduction == "none":
        return weighted
    if reduction == "sum":
        return weighted.sum()
    if reduction == "mean_with_sample_weight":
        total = losses.size if weight is None else np.broadcast_to(weight, losses.shape).sum()
    else:
        assert reduction in ("sum_over_batch_size", "mean"), reduction
        total = losses.size
    return weighted.sum() / total if total else 0.0


def mse(y, p):
    return np.mean(np.square(_f64(p) - _f64(y)), axis=-1)


def mae(y, p):
    return np.mean(np.abs(_f64(p) - _f64(y)), axis=-1)


def huber(y, p, delta=1.0):
    error = np.abs(_f64(p) - _f64(y))
    return np.mean(
        np.where(error <= delta, 0.5 * error**2, delta * error - 0.5 * delta**2), axis=-1
    )


def binary_crossentropy(y, p, from_logits=False, label_smoothing=0.0):
    y = _f64(y) * (1 - label_smoothing) + 0.5 * label_smoothing
    p = _f64(p)
    if from_logits:
        losses = np.maximum(p, 0) - p * y + np.log1p(np.exp(-np.abs(p)))
    else:
        p = np.clip(p, EPSILON, 1 - EPSILON)
        losses = -(y * np.log(p) + (1 - y) * np.log1p(-p))
    return losses.mean(axis=-1)


def categorical_crossentropy(y, p, from_logits=False, label_smoothing=0.0):
    y, p = _f64(y), _f64(p)
    y = y * (1 - label_smoothing) + label_smoothing / y.shape[-1]
    return -(y * _log_probabilities(p, from_logits)).sum(axis=-1)


def sparse_categorical_crossentropy(y, p, from_logits=False, ignore_class=None):
    """``ignore_class``: examples with that label cost nothing (but count in the mean)."""
    y, p = np.asarray(y), _f64(p)
    kept = np.ones(y.shape, bool) if ignore_class is None else y != ignore_class
    log_p = _log_probabilities(p, from_logits)
    own = np.take_along_axis(log_p, np.where(kept, y, 0)[..., None], axis=-1)[..., 0]
    return np.where(kept, -own, 0.0)


def _log_probabilities(p, from_logits):
    if from_logits:
        shifted = p - p.max(axis=-1, keepdims=True)
        return shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))
    p = p / p.sum(axis=-1, keepdims=True)
    return np.log(np.clip(p, EPSILON, 1 - EPSILON))


def _f64(x):
    return np.asarray(x, np.float64)
