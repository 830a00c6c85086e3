# SPDX-License-Identifier: Apache-2.0
"""Optimizers and learning-rate schedules with Keras's names."""

from ostria.optim import schedules
from ostria.optim._optimizer import Optimizer
from ostria.optim._rules import SGD, Adagrad, Adam, AdamW

__all__ = ["SGD", "Adagrad", "Adam", "AdamW", "Optimizer", "schedules"]
