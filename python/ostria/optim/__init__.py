# SPDX-License-Identifier: Apache-2.0
"""Optimizers and learning-rate schedules with Keras's names."""

from ostria.optim import schedules
from ostria.optim._loss_scale import LossScaleOptimizer
from ostria.optim._optimizer import Optimizer
from ostria.optim._rules import (
    SGD,
    Adadelta,
    Adafactor,
    Adagrad,
    Adam,
    Adamax,
    AdamW,
    Ftrl,
    Lamb,
    Lion,
    Nadam,
    RMSprop,
)

__all__ = [
    "SGD",
    "Adadelta",
    "Adafactor",
    "Adagrad",
    "Adam",
    "AdamW",
    "Adamax",
    "Ftrl",
    "Lamb",
    "Lion",
    "LossScaleOptimizer",
    "Nadam",
    "Optimizer",
    "RMSprop",
    "schedules",
]
