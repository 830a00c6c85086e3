# SPDX-License-Identifier: Apache-2.0
"""Estimator, its configuration, and train_and_evaluate, under TensorFlow's names."""

from __future__ import annotations

import importlib as _importlib
from typing import TYPE_CHECKING as _TYPE_CHECKING
from typing import Any as _Any

from ostria.estimator.config import RunConfig
from ostria.estimator.progress import ProgressReporter
from ostria.estimator.specs import EstimatorSpec, EvalSpec, ModeKeys, TrainSpec

if _TYPE_CHECKING:
    from ostria.estimator.estimator import Estimator, WarmStartSettings
    from ostria.estimator.run_hooks import (
        CheckpointSaverListener,
        LoggingTensorHook,
        NanTensorHook,
        SessionRunArgs,
        SessionRunContext,
        SessionRunHook,
        SessionRunValues,
        StopAtStepHook,
    )
    from ostria.estimator.training import train_and_evaluate

# Configuration needs no native code; the rest is imported when first used.
_LAZY = {
    "CheckpointSaverListener": "run_hooks",
    "Estimator": "estimator",
    "LoggingTensorHook": "run_hooks",
    "NanTensorHook": "run_hooks",
    "SessionRunArgs": "run_hooks",
    "SessionRunContext": "run_hooks",
    "SessionRunHook": "run_hooks",
    "SessionRunValues": "run_hooks",
    "StopAtStepHook": "run_hooks",
    "WarmStartSettings": "estimator",
    "train_and_evaluate": "training",
}

__all__ = [
    "CheckpointSaverListener",
    "Estimator",
    "EstimatorSpec",
    "EvalSpec",
    "LoggingTensorHook",
    "ModeKeys",
    "NanTensorHook",
    "ProgressReporter",
    "RunConfig",
    "SessionRunArgs",
    "SessionRunContext",
    "SessionRunHook",
    "SessionRunValues",
    "StopAtStepHook",
    "TrainSpec",
    "WarmStartSettings",
    "train_and_evaluate",
]


def __getattr__(name: str) -> _Any:
    if name in _LAZY:
        return getattr(_importlib.import_module(f"ostria.estimator.{_LAZY[name]}"), name)
    raise AttributeError(f"module 'ostria.estimator' has no attribute '{name}'")
