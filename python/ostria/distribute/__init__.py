# SPDX-License-Identifier: Apache-2.0
"""Training on several devices and in several processes."""

from ostria.distribute._environment import WorkerEnvironment, read_environment
from ostria.distribute._input import DistributedDataset, DistributedIterator, InputContext

__all__ = [
    "DistributedDataset",
    "DistributedIterator",
    "InputContext",
    "WorkerEnvironment",
    "read_environment",
]
