# SPDX-License-Identifier: Apache-2.0
"""Metrics in plain NumPy, float64, one call over all data: what the graph's metrics must equal.

Definitions are Keras's: predictions are positive when *greater* than the threshold, a division by
zero gives 0, AUC is a sum over fixed thresholds. ``weight`` is one number per example.
"""

import numpy as np

EPSILON = 1e-7


def mean(values, weight=None):
    values = np.asarray(values, np.float64)
    weight = np.ones(values.shape) if weight is None else np.broadcast_to(weight, values.shape)
    return divide(np.sum(values * weight), np.sum(weight))


def accuracy(labels, predictions, weight=None):
    return mean(np.asarray(labels) == np.asarray(predictions), weight)


def binary_accuracy(labels, scores, threshold=0.5, weight=None):
    hits = (np.asarray(scores) > threshold) == (np.asarray(labels) > 0.5)
    return mean(hits if hits.ndim < 2 else hits.mean(axis=-1), weight)


def sparse_categorical_accuracy(labels, scores, weight=None):
    return mean(np.argmax(scores, axis=-1) == np.asarray(labels), weight)


def categorical_accuracy(one_hot, scores, weight=None):
    return sparse_categorical_accuracy(np.argmax(one_hot, axis=-1), scores, weight)


def sparse_top_k_categorical_accuracy(labels, scores, k=5, weight=None):
    """Of equal scores the lower index comes first; a score that is not finite is never a hit.

    TensorFlow counts every class tied with the k-th, so that constant scores are always right.
    """
    scores, labels = np.asarray(scores, np.float64), np.asarray(labels)
    own = np.take_along_axis(scores, labels[:, None], axis=1)
    earlier = np.arange(scores.shape[1]) < labels[:, None]
    before = (scores > own) | ((scores == own) & earlier)
    return mean(np.isfinite(own[:, 0]) & (before.sum(axis=1) < k), weight)


def confusion_matrix(labels, predictions, classes, weight=None):
    """[classes, classes]; rows are true classes."""
    matrix = np.zeros((classes, classes))
    weight = np.ones(len(labels)) if weight is None else weight
    np.add.at(matrix, (np.asarray(labels), np.asarray(predictions)), weight)
    return matrix


def counts_at(labels, scores, threshold, weight=None):
    """(tp, fp, tn, fn) of binary labels at one threshold."""
    positive, truth = np.asarray(scores) > threshold, np.asarray(labels) > 0.5
    weight = np.ones(truth.shape) if weight is None else np.broadcast_to(weight, truth.shape)
    return tuple(
        float(np.sum(weight, where=(positive == p) & (truth == t)))
        for p, t in ((True, True), (True, False), (False, False), (False, True))
    )


def precision(labels, scores, threshold=0.5, weight=None):
    tp, fp, _, _ = counts_at(labels, scores, threshold, weight)
    return divide(tp, tp + fp)


def recall(labels, scores, threshold=0.5, weight=None):
    tp, _, _, fn = counts_at(labels, scores, threshold, weight)
    return divide(tp, tp + fn)


def fbeta(labels, scores, beta=1.0, threshold=None, average=None, weight=None):
    """Of [N, C] indicators and scores. ``threshold=None``: the largest score is the prediction.

    ``average``: None ([C]), 'micro', 'macro' or 'weighted' (by true examples).
    """
    labels, scores = np.asarray(labels, np.float64), np.asarray(scores, np.float64)
    if threshold is None:
        top = scores.max(axis=-1, keepdims=True)
        predicted = (scores >= top) & (np.abs(scores) > 1e-9)
    else:
        predicted = scores > threshold
    predicted = predicted.astype(np.float64)
    w = np.ones((len(labels), 1)) if weight is None else np.reshape(weight, (-1, 1))
    axis = None if average == "micro" else 0
    tp = np.sum(labels * predicted * w, axis=axis)
    fp = np.sum((1 - labels) * predicted * w, axis=axis)
    fn = np.sum(labels * (1 - predicted) * w, axis=axis)
    p, r = tp / (tp + fp + EPSILON), tp / (tp + fn + EPSILON)
    score = (1 + beta**2) * p * r / (beta**2 * p + r + EPSILON)
    if average == "macro":
        return score.mean()
    if average == "weighted":
        support = np.sum(labels * w, axis=0)
        return np.sum(score * support / (support.sum() + EPSILON))
    return score


def f1(labels, scores, threshold=None, average=None, weight=None):
    return fbeta(labels, scores, 1.0, threshold, average, weight)


def auc_thresholds(count=200):
    """``count`` thresholds, the outer two just outside [0, 1]."""
    inner = np.arange(1, count - 1) / (count - 1)
    return np.concatenate([[-EPSILON], inner, [1 + EPSILON]])


def auc(labels, scores, num_thresholds=200, curve="ROC", summation="interpolation", weight=None):
    """``summation``: 'interpolation' (trapezium; for PR, Davis and Goadrich 2006), 'minoring',
    'majoring'."""
    counts = [counts_at(labels, scores, t, weight) for t in auc_thresholds(num_thresholds)]
    tp, fp, tn, fn = np.array(counts).T
    if curve == "PR" and summation == "interpolation":
        dtp, p = tp[:-1] - tp[1:], tp + fp
        slope = divide(dtp, p[:-1] - p[1:])
        intercept = tp[1:] - slope * p[1:]
        both = (p[:-1] > 0) & (p[1:] > 0)
        ratio = np.where(both, divide(p[:-1], p[1:]), 1.0)
        return float(np.sum(divide(slope * (dtp + intercept * np.log(ratio)), tp[1:] + fn[1:])))
    sensitivity = divide(tp, tp + fn)
    if curve == "ROC":
        x, y = divide(fp, fp + tn), sensitivity
    else:
        x, y = sensitivity, divide(tp, tp + fp)
    height = {
        "interpolation": (y[:-1] + y[1:]) / 2,
        "minoring": np.minimum(y[:-1], y[1:]),
        "majoring": np.maximum(y[:-1], y[1:]),
    }[summation]
    return float(np.sum((x[:-1] - x[1:]) * height))


def mean_squared_error(labels, predictions, weight=None):
    return mean(_per_example(np.square, labels, predictions), weight)


def mean_absolute_error(labels, predictions, weight=None):
    return mean(_per_example(np.abs, labels, predictions), weight)


def root_mean_squared_error(labels, predictions, weight=None):
    return np.sqrt(mean_squared_error(labels, predictions, weight))


def divide(a, b):
    """a / b, and 0 where b is 0."""
    a, b = np.broadcast_arrays(np.asarray(a, np.float64), np.asarray(b, np.float64))
    quotient = np.divide(a, b, out=np.zeros(a.shape), where=b != 0)
    return quotient if quotient.ndim else float(quotient)


def _per_example(fn, labels, predictions):
    error = fn(np.asarray(predictions, np.float64) - np.asarray(labels, np.float64))
    return error.reshape(len(error), -1).mean(axis=1)
