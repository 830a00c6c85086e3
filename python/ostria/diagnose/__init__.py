# SPDX-License-Identifier: Apache-2.0
"""Looking at a trained model: the classification report and the pictures of a run."""

from ostria.diagnose.plots import confusion_matrix, learning_curve
from ostria.diagnose.report import ClassificationReport, classification_report

__all__ = ["ClassificationReport", "classification_report", "confusion_matrix", "learning_curve"]
