# SPDX-License-Identifier: Apache-2.0
"""Metrics with Keras's names: weighted, mergeable, part of the compiled step and of checkpoints."""

from ostria.metrics._auc import AUC
from ostria.metrics._counts import ConfusionMatrix, F1Score, FBetaScore, Precision, Recall
from ostria.metrics._means import (
    Accuracy,
    BinaryAccuracy,
    CategoricalAccuracy,
    Mean,
    MeanAbsoluteError,
    MeanSquaredError,
    RootMeanSquaredError,
    SparseCategoricalAccuracy,
    SparseTopKCategoricalAccuracy,
    Sum,
)
from ostria.metrics._metric import Metric

__all__ = [
    "AUC",
    "Accuracy",
    "BinaryAccuracy",
    "CategoricalAccuracy",
    "ConfusionMatrix",
    "F1Score",
    "FBetaScore",
    "Mean",
    "MeanAbsoluteError",
    "MeanSquaredError",
    "Metric",
    "Precision",
    "Recall",
    "RootMeanSquaredError",
    "SparseCategoricalAccuracy",
    "SparseTopKCategoricalAccuracy",
    "Sum",
]
