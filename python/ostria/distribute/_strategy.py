# SPDX-License-Identifier: Apache-2.0
"""Strategies: which devices a program runs on, and how their replicas act as one.

A strategy is not in the way where there is one replica: then it runs what a compiled function runs.
"""

from __future__ import annotations

import contextlib
import itertools
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from ostria import _device, _native
from ostria import _functions as F
from ostria._errors import at_line
from ostria._keywords import checked_init, checked_keywords
from ostria.data import Dataset
from ostria.distribute import _arguments, _context, _input, _values
from ostria.distribute._function import ReplicaFunction
from ostria.distribute._input import DistributedDataset, InputContext
from ostria.distribute._reproducible import one_thread, replica_devices
from ostria.distribute._values import PerReplica, ReduceOp, ValueContext

_THRASH = 8  # functions of the same lines after which a warning explains what to do


class Strategy:
    """What all strategies have in common; made by their subclasses."""

    # Replicas of this process: their devices, what runs them (None: there is but one in all), the
    # number of the first, and how all replicas divide the state of optimizers (None: they do not).
    devices: list[str]
    _group: Any = None
    _first_replica = 0
    _reproducible = False
    _parts: Any = None

    def __init__(self, devices: list[str]) -> None:
        self.devices = devices
        self._functions: dict[Any, ReplicaFunction] = {}
        self._made: dict[Any, int] = {}  # functions by their code

    @property
    def num_replicas_in_sync(self) -> int:
        """How many replicas there are, over all processes."""
        return len(self.devices)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.devices})"

    @contextlib.contextmanager
    def scope(self) -> Iterator[Strategy]:
        """Inside, the strategy is in force, and Variables are made on its devices.

        Raises:
            RuntimeError: another strategy is in force already.
        """
        self._require_no_other("scope")
        _context.scopes().append(self)
        try:
            with _device.device(self.devices[0]), self._threads():
                yield self
        finally:
            _context.scopes().pop()

    @checked_keywords("strategy.run")
    def run(
        self, fn: Callable[..., Any], args: Sequence[Any] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Runs `fn` on every replica: compiled, once for each kind of arguments.

        Args:
            fn: a function; inside, `get_replica_context` tells of the replica.
            args, kwargs: its arguments. Of a `PerReplica` value each replica is given its own; the
                sizes of their first axes may differ, 0 rows included. All else is given to all.

        Returns:
            What `fn` returns, with `PerReplica` values for tensors where there are several
            replicas.

        Raises:
            RuntimeError: called while a function is traced, or inside of another strategy.
            ValueError: replicas are given values of other dtypes or shapes.

        What a replica raises, the call raises, with the number and device of the replica. State is
        then as it was before the step.
        """
        if not callable(fn):
            raise TypeError(at_line(f"strategy.run: {fn!r} is no function; give one"))
        if not isinstance(args, (tuple, list)):
            raise TypeError(
                at_line(
                    f"strategy.run: args is a {type(args).__name__}; give a tuple, such as (x, y)"
                )
            )
        return self.compile(fn)(*args, **(kwargs or {}))

    def compile(self, fn: Callable[..., Any], *, accumulate: int = 1) -> ReplicaFunction:
        """What `run` runs for `fn`: a compiled function, with its `explain` and `profile`.

        Args:
            accumulate: `optimizer.minimize_batch` splits each replica's rows into so many
                micro-batches, one after the other in less memory, as in `ost.compile`; gradients
                are added over the replicas once, after the last.

        Raises:
            ValueError: it is no positive integer.
        """
        function = self._functions.get((fn, accumulate))
        if function is None:
            function = ReplicaFunction(fn, self, accumulate=accumulate)
            self._functions[fn, accumulate] = function
            code = getattr(fn, "__code__", fn)
            self._made[code] = self._made.get(code, 0) + 1
            if self._made[code] == _THRASH:
                warnings.warn(
                    f"strategy.run: {function.name} was made anew {_THRASH} times, and traced each "
                    "time; define it once, outside of the loop, and pass what changes as arguments",
                    stacklevel=4,
                )
        return function

    @checked_keywords("strategy.reduce")
    def reduce(self, reduce_op: Any, value: Any, axis: int | None = None) -> Any:
        """The values of all replicas as one tensor; over several processes all of them call it.

        Args:
            reduce_op: ReduceOp.SUM or ReduceOp.MEAN, or "sum" or "mean".
            value: what `run` returned, or a structure of that.
            axis: None, or an axis that is reduced as well, where replicas may have different sizes;
                the mean is over all its elements then.

        Returns:
            Of the shape of `value`, less `axis`. Sums of integers and bools are int64 (of unsigned
            ones uint64), as those of `ost.sum`, and means float32.

        Raises:
            TypeError: the axis is no integer.
            ValueError: the operation is none, replicas have values of different shapes (apart from
                `axis`), or a value that is no PerReplica is to be summed over several replicas of
                this process.

        Example:
            >>> import ostria as ost
            >>> strategy = ost.distribute.MirroredStrategy(["cpu:0", "cpu:1"])
            >>> rows = ost.distribute.PerReplica([ost.ones(3), ost.ones(1)])
            >>> strategy.reduce("sum", rows, axis=0).item()
            4.0
        """
        self._require_open("strategy.reduce")
        axis = None if axis is None else _arguments.axis_number("strategy.reduce", axis)
        op = _values.reduce_op(reduce_op, "strategy.reduce")

        def join(values: list[Any]) -> Any:
            total, count, dtype = self._total_here(values, op, axis)
            total = self._sum(total, f"strategy.reduce ({op.value})")
            if op is ReduceOp.MEAN:
                total = total / max(self._count(count, "strategy.reduce"), 1)
            return _values.as_float(total, dtype)

        if op is ReduceOp.SUM and axis is None and len(self.devices) > 1:
            self._require_parts(value)
        with self._threads():
            return _values.joined(value, len(self.devices), "strategy.reduce", join)

    def _total_here(
        self, values: list[Any], op: ReduceOp, axis: int | None
    ) -> tuple[Any, int, Any]:
        """The sum of this process's replicas, how many make its mean, and the result's dtype."""
        here = [_device.to_device(x, self.devices[0]) for x in values]
        dtype = here[0].dtype
        if dtype.kind != "float":
            wide = _native.uint64 if dtype.kind == "unsigned" else _native.int64
            dtype = _native.float32 if op is ReduceOp.MEAN else wide
        if dtype.kind == "float" and dtype.itemsize < 4:  # added in float32 and rounded once
            here = [F.cast(x, "float32") for x in here]
        elif dtype != here[0].dtype:
            here = [F.cast(x, dtype) for x in here]
        count = len(here)
        sizes = [] if axis is None else [self._size(x, axis) for x in here]
        _values.require_equal_shapes(here, axis, self._first_replica)
        if axis is not None:
            count = sum(sizes)
            here = [_native.ops.sum(x, axis=axis) for x in here]
        return _values.tree_sum(here), count, dtype

    def _threads(self) -> contextlib.AbstractContextManager[None]:
        """Around what is computed outside of replicas."""
        return one_thread() if self._reproducible else contextlib.nullcontext()

    @checked_keywords("strategy.gather")
    def gather(self, value: Any, axis: int) -> Any:
        """The values of all replicas behind each other along `axis`, where sizes may differ.

        Raises:
            TypeError: the axis is no integer.
            ValueError: they are scalars, or other sizes differ.

        Example:
            >>> import ostria as ost
            >>> strategy = ost.distribute.MirroredStrategy(["cpu:0", "cpu:1"])
            >>> parts = ost.distribute.PerReplica([ost.asarray([1, 2]), ost.asarray([3])])
            >>> strategy.gather(parts, axis=0).numpy().tolist()
            [1, 2, 3]
        """
        axis = _arguments.axis_number("strategy.gather", axis)

        def join(values: list[Any]) -> Any:
            here = [_device.to_device(x, self.devices[0]) for x in values]
            for x in here:
                self._size(x, axis)
            return here[0] if len(here) == 1 else _native.ops.concat(here, axis=axis)

        return _values.joined(value, len(self.devices), "strategy.gather", join)

    def experimental_local_results(self, value: Any) -> tuple[Any, ...]:
        """The values of the replicas of this process, in their order; a structure of each.

        Example:
            >>> import ostria as ost
            >>> strategy = ost.distribute.MirroredStrategy(["cpu:0", "cpu:1"])
            >>> strategy.experimental_local_results(ost.distribute.PerReplica([1, 2]))
            (1, 2)
        """
        return _values.local(value, len(self.devices))

    def experimental_distribute_values_from_function(
        self, value_fn: Callable[[ValueContext], Any]
    ) -> Any:
        """`value_fn` of every replica of this process, as PerReplica values.

        Raises:
            ValueError: the values have different structures.

        Example:
            >>> import ostria as ost
            >>> strategy = ost.distribute.MirroredStrategy(["cpu:0", "cpu:1"])
            >>> make = strategy.experimental_distribute_values_from_function
            >>> make(lambda context: context.replica_id_in_sync_group * 10).values
            (0, 10)
        """
        values = [
            value_fn(ValueContext(self._first_replica + i, self.num_replicas_in_sync))
            for i in range(len(self.devices))
        ]
        return _values.regroup(values, "experimental_distribute_values_from_function")

    def experimental_distribute_dataset(self, dataset: Dataset) -> DistributedDataset:
        """A dataset of global batches as one of PerReplica batches, every row once.

        A batch of n rows gives each of r replicas ceil(n / r), the last ones less or none.

        Raises:
            ValueError: it is not batched.

        Example:
            >>> import ostria as ost
            >>> strategy = ost.distribute.MirroredStrategy(["cpu:0", "cpu:1"])
            >>> batches = strategy.experimental_distribute_dataset(
            ...     ost.data.Dataset.range(6).batch(4)
            ... )
            >>> [[part.tolist() for part in batch.values] for batch in batches]
            [[[0, 1], [2, 3]], [[4], [5]]]
        """
        return _input.distribute_dataset(dataset, self._workers(), pack=self._pack)

    def distribute_datasets_from_function(
        self, dataset_fn: Callable[[InputContext], Dataset]
    ) -> DistributedDataset:
        """The dataset that `dataset_fn` makes, in batches of one replica, as PerReplica batches.

        Each step takes one of its batches for each replica.

        Raises:
            TypeError: it is no function, or returns no dataset.
        """
        _arguments.require_function(dataset_fn)
        return _input.distribute_datasets_from_function(
            dataset_fn, self._workers(), pack=self._pack
        )

    def _workers(self, what: str = "") -> _input.Workers:
        """The processes, which agree on numbers; `what` names it where that fails."""
        return _input.Workers(len(self.devices), reproducible=self._reproducible)

    @staticmethod
    def _pack(batches: Sequence[Any]) -> Any:
        return _values.regroup(batches, "the dataset")

    def _divide_state(self, shard_optimizer_state: Any) -> None:
        if not isinstance(shard_optimizer_state, bool):
            raise TypeError(
                at_line(
                    f"{type(self).__name__}: shard_optimizer_state {shard_optimizer_state!r} is "
                    "not accepted; give True, to divide the slots of optimizers among the "
                    "replicas, or False"
                )
            )
        if shard_optimizer_state and self._group is not None:
            self._parts = self._group.parts(self.num_replicas_in_sync, self._first_replica)

    # --- For ReplicaFunction ----------------------------------------------------------------------

    def _begin_run(self, function: ReplicaFunction) -> contextlib.AbstractContextManager[None]:
        """Around each run."""
        return contextlib.nullcontext()

    def _ran(self, function: ReplicaFunction) -> None:
        """It did, without an error."""

    def _label_of(self, function: ReplicaFunction) -> str:
        """What all processes call the graph that is traced, to tell its exchanges from others."""
        return ""

    def _traced_for_all(self, name: str, compiled: Any) -> None:
        """A graph was made, and has not run yet."""

    def _first_rows(self, rows: Sequence[int]) -> list[int]:
        """Where the rows of each replica of this process begin in the whole batch."""
        return [0, *itertools.accumulate(rows)][: len(rows)]

    def _sizes_of_all(self, sizes: Sequence[int], name: str) -> tuple[int, ...]:
        """Those of the replicas of all processes, of an argument of the function of that name."""
        return tuple(sizes)

    def _require_open(self, what: str) -> None:
        """Raises where `what` needs other processes that the strategy has left."""

    def _busy(self, what: str) -> contextlib.AbstractContextManager[None]:
        """Around what one process does while the others wait, which may take a while."""
        return contextlib.nullcontext()

    def _sum(self, x: Any, what: str) -> Any:
        """Over all processes, of which each has one and all give the same `what`."""
        return x

    def _count(self, here: int, what: str) -> int:
        """The sum of a number of each process."""
        return here

    def _totals(self, variables: Sequence[Any]) -> list[Any]:
        """The sums that the replicas of all processes hold parts of, as arrays."""
        return [v.numpy() for v in variables]

    def _summed(self, variables: Iterable[Any]) -> contextlib.AbstractContextManager[None]:
        """Inside, Variables that are sums are those of all processes; then each has its part."""
        return contextlib.nullcontext()

    def _require_here(self, what: str) -> None:
        if _context.replica_context() is not None:
            raise RuntimeError(
                at_line(
                    f"{what} was called by a function that a strategy runs; replicas are one level "
                    "deep: call the function itself"
                )
            )
        if _native.current_trace() is not None:
            raise RuntimeError(
                at_line(
                    f"{what} was called while a function is traced or a tape records; it compiles "
                    "what it runs, so call it outside of ost.compile"
                )
            )
        self._require_no_other(what)

    def _require_no_other(self, what: str) -> None:
        if (context := _context.replica_context()) is not None:
            raise RuntimeError(
                at_line(
                    f"{what}: {context.strategy!r} runs this function; a strategy inside of "
                    "another is not possible"
                )
            )
        scopes = _context.scopes()
        if scopes and scopes[-1] is not self:
            raise RuntimeError(
                at_line(
                    f"{what}: {scopes[-1]!r} is in force, and a strategy inside of another is not "
                    f"possible; leave its scope first, to use {self!r}"
                )
            )

    def _require_parts(self, value: Any) -> None:
        for leaf in _values._tree.flatten(value)[0]:
            if not isinstance(leaf, PerReplica):
                raise ValueError(
                    at_line(
                        f"strategy.reduce: the sum of a {type(leaf).__name__}, which is no "
                        f"PerReplica value, over {len(self.devices)} replicas is not defined; give "
                        "what strategy.run returned, or use ReduceOp.MEAN"
                    )
                )

    @staticmethod
    def _size(x: Any, axis: int) -> int:
        rank = len(x.shape)
        if not -rank <= axis < rank:
            raise ValueError(
                at_line(
                    f"axis {axis} is out of range for a tensor of rank {rank} (shape "
                    f"{list(x.shape)})" + ("" if rank else "; scalars have no axis to join along")
                )
            )
        return int(x.shape[axis])


class _DefaultStrategy(Strategy):
    """In force where no other is: one replica, where this thread's tensors go."""

    def __init__(self) -> None:
        super().__init__(["cpu"])

    @contextlib.contextmanager
    def scope(self) -> Iterator[Strategy]:
        yield self

    def run(
        self, fn: Callable[..., Any], args: Sequence[Any] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        return fn(*args, **(kwargs or {}))


_default: _DefaultStrategy | None = None


def default_strategy() -> Strategy:
    """The strategy that is in force where no other is."""
    global _default
    if _default is None:
        _default = _DefaultStrategy()
    return _default


@checked_init
class MirroredStrategy(Strategy):
    """Replicas on several devices of this process; each holds a copy of every Variable.

    The first run of a function copies the Variables that it uses to all devices. Updates keep the
    copies equal; reading one gives that of replica 0. A Variable made with `aggregation="sum"`, as
    metrics make theirs, holds a part on each replica instead, and reading it adds them.

    Args:
        devices: names of different devices of one kind: ["cuda:0", "cuda:1"], or virtual devices of
            the CPU, ["cpu:0", "cpu:1"], which share its cores. None: all GPUs, else the CPU.
        timeout: seconds that a replica waits for the others: in each exchange, and on GPUs until
            a step's work is done, all its exchanges together.
        reproducible: the same bits on however many devices: the job has `virtual_shards` replicas,
            which the devices share evenly. For CPUs; see docs/distributed.md.
        virtual_shards: a power of two, 8 where it is None; what the number of devices must divide.
        shard_optimizer_state: each of n replicas holds 1/n of the slots of optimizers (ZeRO, stage
            1; docs/distributed.md), where else each holds all of them.

    Raises:
        TypeError: `devices` is no list.
        ValueError: a name is none of a device, is given twice, or of another kind than the first;
            `timeout` is no number above 0; or `virtual_shards` cannot be spread over the devices.
        DeviceUnavailableError: there is no such device.

    Example:
        >>> import ostria as ost
        >>> strategy = ost.distribute.MirroredStrategy(["cpu:0", "cpu:1"])
        >>> x = ost.distribute.PerReplica([ost.ones((2, 3)), ost.ones((1, 3))])
        >>> strategy.reduce("sum", strategy.run(lambda x: ost.sum(x), (x,))).item()
        9.0
    """

    def __init__(
        self,
        devices: Sequence[str] | None = None,
        *,
        timeout: float = 120.0,
        reproducible: bool = False,
        virtual_shards: int | None = None,
        shard_optimizer_state: bool = False,
    ) -> None:
        timeout = _arguments.seconds("MirroredStrategy", timeout)
        if devices is None:
            devices = _device.devices()[1:] or ["cpu"]
        names = _arguments.device_names("MirroredStrategy", devices)
        names = replica_devices("MirroredStrategy", names, reproducible, virtual_shards)
        self._reproducible = reproducible
        group = _native.local_replicas(names, timeout, reproducible)  # checks the devices
        super().__init__(names)
        self._group = group if len(names) > 1 else None
        self._divide_state(shard_optimizer_state)
