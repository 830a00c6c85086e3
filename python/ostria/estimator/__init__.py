# SPDX-License-Identifier: Apache-2.0
"""Estimator, its configuration, and train_and_evaluate, under TensorFlow's names."""

from ostria.estimator.config import RunConfig
from ostria.estimator.progress import ProgressReporter
from ostria.estimator.specs import EstimatorSpec, EvalSpec, ModeKeys, TrainSpec

__all__ = ["EstimatorSpec", "EvalSpec", "ModeKeys", "ProgressReporter", "RunConfig", "TrainSpec"]
