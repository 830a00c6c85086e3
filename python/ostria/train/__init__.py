# SPDX-License-Identifier: Apache-2.0
"""The training loop: ``Trainer``, its tasks, and the hooks that watch it."""

from ostria.train._hooks import Hook, StepResults
from ostria.train._input import BatchReader
from ostria.train._reporting import ProgressHook, SummaryHook
from ostria.train._signals import TrainingInterrupted
from ostria.train._task import ModelTask, StepTask, Task
from ostria.train._trainer import Trainer

__all__ = [
    "BatchReader",
    "Hook",
    "ModelTask",
    "ProgressHook",
    "StepResults",
    "StepTask",
    "SummaryHook",
    "Task",
    "Trainer",
    "TrainingInterrupted",
]
