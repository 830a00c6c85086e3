# SPDX-License-Identifier: Apache-2.0
"""Synchronous training on several devices and in several processes, with TensorFlow's names.

A strategy holds replicas, one on each device. `strategy.run(fn, args)` traces `fn` once and runs it
on all of them, each with its own part of the batch and its own copy of every Variable.

Inside, a loss is the replica's share: shares add up to the loss of the whole batch.
"""

from ostria.distribute._context import (
    ReplicaContext,
    get_replica_context,
    get_strategy,
    has_strategy,
)
from ostria.distribute._control import RankPace
from ostria.distribute._environment import WorkerEnvironment, read_environment
from ostria.distribute._input import DistributedDataset, DistributedIterator, InputContext
from ostria.distribute._strategy import MirroredStrategy, Strategy
from ostria.distribute._values import PerReplica, ReduceOp, ValueContext
from ostria.distribute._workers import MultiWorkerMirroredStrategy

__all__ = [
    "DistributedDataset",
    "DistributedIterator",
    "InputContext",
    "MirroredStrategy",
    "MultiWorkerMirroredStrategy",
    "PerReplica",
    "RankPace",
    "ReduceOp",
    "ReplicaContext",
    "Strategy",
    "ValueContext",
    "WorkerEnvironment",
    "get_replica_context",
    "get_strategy",
    "has_strategy",
    "read_environment",
]
