# SPDX-License-Identifier: Apache-2.0
"""Which strategy is in force here, and which replica the running code stands for.

Code is in one of two places: in a function that a strategy runs, where there is a replica context;
or outside, where there is the strategy alone. Where no strategy is in force, a default one with one
replica stands in, so that code need not ask.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

from ostria import _functions as F
from ostria import _replicas, _step, _tree
from ostria.distribute import _values

if TYPE_CHECKING:
    from ostria.distribute._strategy import Strategy

_local = threading.local()


class ReplicaContext:
    """The replica that the code of a function inside `strategy.run` stands for.

    The function is traced once for all replicas, so `replica_id_in_sync_group` is a value of the
    graph: `ost.where` and `ost.cond` choose by it, Python's `if` cannot.
    """

    def __init__(self, strategy: Strategy, replica_id: Any) -> None:
        self.strategy = strategy
        self.replica_id_in_sync_group = replica_id  # int32[], from 0 to num_replicas_in_sync - 1

    @property
    def num_replicas_in_sync(self) -> int:
        """How many replicas there are, over all processes."""
        return self.strategy.num_replicas_in_sync

    def all_reduce(self, reduce_op: Any, value: Any) -> Any:
        """The sum or mean of what all replicas hold; each gets the same.

        Args:
            reduce_op: ReduceOp.SUM or ReduceOp.MEAN, or "sum" or "mean". The mean of integers is
                float32.
            value: a tensor of one shape on all replicas, or a structure of such.

        Example:
            >>> import ostria as ost
            >>> strategy = ost.distribute.MirroredStrategy(["cpu:0", "cpu:1"])
            >>> def fn(x):
            ...     return ost.distribute.get_replica_context().all_reduce("sum", ost.sum(x))
            >>> parts = ost.distribute.PerReplica([ost.ones(3), ost.ones(1)])
            >>> [total.item() for total in strategy.run(fn, (parts,)).values]
            [4.0, 4.0]
        """
        op = _values.reduce_op(reduce_op, "all_reduce")
        leaves, structure = _tree.flatten(value)
        tensors = [F.asarray(leaf) for leaf in leaves]
        if op is _values.ReduceOp.MEAN:
            tensors = [F.cast(x, "float32") if "int" in str(x.dtype) else x for x in tensors]
        if self.num_replicas_in_sync > 1:
            for dtype in {str(x.dtype): None for x in tensors}:  # a node takes one dtype
                places = [i for i, x in enumerate(tensors) if str(x.dtype) == dtype]
                totals = _replicas.sums([tensors[i] for i in places])
                for i, total in zip(places, totals, strict=True):
                    tensors[i] = total
            if op is _values.ReduceOp.MEAN:
                tensors = [x / float(self.num_replicas_in_sync) for x in tensors]
        return _tree.unflatten(structure, tensors)

    def __repr__(self) -> str:
        return f"ReplicaContext(one of {self.num_replicas_in_sync})"


def scopes() -> list[Strategy]:
    """The strategies whose scopes this thread is in; the innermost last."""
    if not hasattr(_local, "scopes"):
        _local.scopes = []
    stack: list[Strategy] = _local.scopes
    return stack


def replica_context() -> ReplicaContext | None:
    """Of the function that is traced for replicas; None outside of any."""
    context: ReplicaContext | None = _step.notes().get("replica_context")
    return context


def has_strategy() -> bool:
    """Whether a strategy is in force: inside of its scope, or of what it runs.

    Example:
        >>> import ostria as ost
        >>> ost.distribute.has_strategy()
        False
    """
    return replica_context() is not None or bool(scopes())


def get_strategy() -> Strategy:
    """The strategy in force; the default one, of one replica, where there is none.

    Example:
        >>> import ostria as ost
        >>> ost.distribute.get_strategy().num_replicas_in_sync
        1
    """
    if (context := replica_context()) is not None:
        return context.strategy
    return scopes()[-1] if scopes() else _default()


def get_replica_context() -> ReplicaContext | None:
    """The replica that the running code stands for.

    None inside of a strategy's scope, but outside of what it runs; where no strategy is in force,
    that of the default strategy.

    Example:
        >>> import ostria as ost
        >>> ost.distribute.get_replica_context().num_replicas_in_sync
        1
    """
    if (context := replica_context()) is not None:
        return context
    if scopes():
        return None
    return ReplicaContext(_default(), F.asarray(0, dtype="int32"))


def _default() -> Strategy:
    from ostria.distribute._strategy import default_strategy

    return default_strategy()
