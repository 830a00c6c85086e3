# SPDX-License-Identifier: Apache-2.0
"""Batches for replicas: a global batch cut into parts, shared by workers, in step to the end.

A step takes one batch for each local replica; one that gets no row gets a batch of 0 rows. All
workers ask together, before every step, whether any of them has a row left, so all end at the same
step. Rows pass as views: cutting copies nothing. Positions are exact: what was handed out is
consumed, and nothing else.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ostria import _native
from ostria._errors import at_line
from ostria.data import AutoShardPolicy, Dataset, TensorSpec
from ostria.data._structure import Structure
from ostria.distribute._parts import GlobalBatches, Lanes, Part, Stream
from ostria.distribute._shard import (
    ShardPlan,
    check_agreement,
    has_unseeded_shuffle,
    make_plan,
    share_batches,
)

_KIND = "ostria.distributed_input.1"
_END, _DATA, _FAILED = 0, 1, 2
# Text travels through maxima of integers, this many bytes at a time.
_CHUNK = 7


@dataclass(frozen=True)
class InputContext:
    """What a function of ``distribute_datasets_from_function`` is told.

    Attributes:
      num_input_pipelines: number of workers; each makes one dataset.
      input_pipeline_id: which of them this is, from 0.
      num_replicas_in_sync: replicas of all workers.
    """

    num_input_pipelines: int = 1
    input_pipeline_id: int = 0
    num_replicas_in_sync: int = 1

    def get_per_replica_batch_size(self, global_batch_size: int) -> int:
        """The batch size of one replica.

        Raises:
          ValueError: replicas cannot share the global batch evenly.

        >>> InputContext(2, 0, 4).get_per_replica_batch_size(64)
        16
        """
        if global_batch_size % self.num_replicas_in_sync:
            raise ValueError(
                at_line(
                    f"get_per_replica_batch_size: {self.num_replicas_in_sync} replicas cannot "
                    f"share a global batch of {global_batch_size} evenly; give a multiple of "
                    f"{self.num_replicas_in_sync}"
                )
            )
        return global_batch_size // self.num_replicas_in_sync


@dataclass(frozen=True)
class Workers:
    """The processes that read together, and this one among them.

    Attributes:
      replicas: local replicas, the same on every worker.
      count, index: number of workers, and which this is.
      agree: the maximum of an int64 over all workers; every worker calls it the same number of
        times. For one worker that is the number itself.
      reproducible: a replica reads the same rows whatever the number of workers.
      read: is told how many seconds this one has waited for a batch, and read ahead meanwhile.
    """

    replicas: int
    count: int = 1
    index: int = 0
    agree: Callable[[int], int] = int
    reproducible: bool = False
    read: Callable[[float, float], object] | None = None

    def __post_init__(self) -> None:
        if self.replicas < 1 or not 0 <= self.index < self.count:
            raise ValueError(
                at_line(
                    f"distribute: worker {self.index} of {self.count} with {self.replicas} "
                    "replica(s); accepted are an index from 0 below the number of workers, and a "
                    "replica at least"
                )
            )

    @property
    def in_sync(self) -> int:
        return self.count * self.replicas

    @property
    def mine(self) -> range:
        """The numbers of this worker's replicas."""
        return range(self.index * self.replicas, (self.index + 1) * self.replicas)

    def gather(self, text: str) -> list[str]:
        """``text`` of every worker, in order."""
        return [self.broadcast(text, root) for root in range(self.count)]

    def broadcast(self, text: str, root: int = 0) -> str:
        """``text`` of one worker, on all."""
        if self.count == 1:
            return text
        mine = text.encode() if self.index == root else b""
        size = self.agree(len(mine))
        parts = []
        for at in range(0, size, _CHUNK):
            part = self.agree(int.from_bytes(mine[at : at + _CHUNK], "little"))
            parts.append(part.to_bytes(_CHUNK, "little"))
        return b"".join(parts)[:size].decode()


def distribute_dataset(
    dataset: Dataset,
    workers: Workers,
    *,
    pack: Callable[[Sequence[Any]], Any] = tuple,
    report: Callable[[str], None] | None = None,
) -> DistributedDataset:
    """Shares a dataset of global batches among the replicas of all workers.

    A global batch of n rows on r replicas gives each ceil(n / r), the last ones less or none. Which
    rows a worker reads is its AutoShardPolicy (``Dataset.with_options``). Shuffles without a seed
    take that of worker 0.

    Args:
      dataset: batched with the global batch size.
      workers: who reads; every worker calls this with the same dataset.
      pack: makes what a step gets from the batches of the local replicas.
      report: gets the plan as text before the first batch; None prints it on worker 0 where several
        replicas share the data.

    Raises:
      ValueError: the dataset is not batched, its policy cannot be had, or workers' datasets differ.
    """
    if not isinstance(dataset, Dataset):
        raise TypeError(
            at_line(f"distribute: a {type(dataset).__name__} was given; it must be a data.Dataset")
        )
    plan = make_plan(
        dataset,
        replicas=workers.replicas,
        workers=workers.count,
        worker=workers.index,
        reproducible=workers.reproducible,
    )
    return DistributedDataset(plan, workers, pack, report)


def distribute_datasets_from_function(
    function: Callable[[InputContext], Dataset],
    workers: Workers,
    *,
    pack: Callable[[Sequence[Any]], Any] = tuple,
    report: Callable[[str], None] | None = None,
) -> DistributedDataset:
    """A dataset for each worker, from ``function``, in batches for one replica.

    Each step takes as many of its batches as there are local replicas. Which rows they hold is the
    function's own choice, by ``InputContext``. Reproducible workers make one for each replica
    instead, and a step takes one batch of each, so that the choice is the same for any number.

    Raises:
      TypeError: the function does not return a dataset.
    """
    contexts = [InputContext(workers.count, workers.index, workers.in_sync)]
    if workers.reproducible:
        contexts = [InputContext(workers.in_sync, i, workers.in_sync) for i in workers.mine]
    datasets = [function(context) for context in contexts]
    for dataset in datasets:
        if not isinstance(dataset, Dataset):
            raise TypeError(
                at_line(
                    f"distribute_datasets_from_function: the function returned a "
                    f"{type(dataset).__name__}; it must return a data.Dataset"
                )
            )
    who = "replica" if workers.reproducible else "of them"
    text = (
        f"input: {workers.count} worker(s) with {workers.replicas} replica(s) each; each {who} "
        "reads a dataset of its own, made by a function"
    )
    plan = ShardPlan(None, datasets[0], text, 0)
    return DistributedDataset(plan, workers, pack, report, datasets)


class DistributedDataset:
    """What a strategy's loop iterates over. ``plan`` says as text who reads what.

    >>> from ostria.data import Dataset
    >>> shared = distribute_dataset(Dataset.range(6).batch(4), Workers(2))
    >>> [[part.tolist() for part in step] for step in shared.iterator(quiet=True)]
    [[[0, 1], [2, 3]], [[4], [5]]]
    """

    def __init__(
        self,
        plan: ShardPlan,
        workers: Workers,
        pack: Callable[[Sequence[Any]], Any],
        report: Callable[[str], None] | None,
        datasets: Sequence[Dataset] = (),
    ) -> None:
        self._plan, self._workers, self._pack, self._report = plan, workers, pack, report
        self._shared: Dataset | None = None
        if plan.policy is AutoShardPolicy.DATA and workers.count > 1:
            self._shared = share_batches(
                plan.dataset, workers.mine[0], workers.replicas, workers.in_sync
            )
        # What is cut is read ahead by a thread.
        read = datasets or [plan.dataset if self._shared is None else self._shared]
        ahead = max(2, workers.replicas // len(read))
        self._read = [dataset.prefetch(ahead) for dataset in read]
        self._reported = False

    @property
    def plan(self) -> str:
        return self._plan.text

    @property
    def element_spec(self) -> Any:
        """TensorSpecs of the batch of one replica, whose number of rows varies."""
        specs = self._plan.dataset.element_spec
        structure = Structure.of(specs)
        leaves = [
            TensorSpec((None, *(s.shape or (None,))[1:]), s.dtype) for s in structure.flatten(specs)
        ]
        return structure.pack(leaves)

    def cardinality(self) -> int:
        """Steps, as ``Dataset.cardinality``; unknown (-2) where workers may have different data."""
        by_batch = self._plan.policy is AutoShardPolicy.DATA or self._workers.count == 1
        return self._plan.dataset.cardinality() if self._plan.policy and by_batch else -2

    def __iter__(self) -> DistributedIterator:
        return self.iterator()

    def iterator(self, *, quiet: bool = False) -> DistributedIterator:
        """A new pass; all workers make it together."""
        if not self._reported and not quiet:
            self._say_plan()
        is_share = self._shared is not None
        return DistributedIterator(self._plan, self._read, self._workers, self._pack, is_share)

    def _say_plan(self) -> None:
        self._reported = True
        if self._report is not None:
            self._report(self.plan)
        elif self._workers.index == 0 and self._workers.in_sync > 1:
            print(self.plan, file=sys.stderr)


class OtherWorldError(ValueError):
    """The position of workers that read data of their own, and there are more or fewer of them now.

    All workers raise it. Starting the input anew would repeat rows and leave others out, so it is
    for the user to choose.
    """

    _raised_on_all_ranks = True

    def __init__(self, policy: str, before: tuple[int, int], now: tuple[int, int]) -> None:
        how = "datasets from a function" if policy == "function" else f"the policy {policy.upper()}"
        super().__init__(
            at_line(
                f"restore: the position is that of {before[0]} worker(s) with {before[1]} "
                f"replica(s) each, and here are {now[0]} with {now[1]}; with {how} each worker has "
                f"a position of its own, which no other number of them can go on from. Start "
                f"{before[0]} worker(s) with {before[1]} replica(s) each, or use the policy DATA, "
                "whose positions fit every number; the input then begins at its start, once"
            )
        )


class DistributedIterator:
    """One pass, in step with the iterators of the other workers."""

    def __init__(
        self,
        plan: ShardPlan,
        read: Sequence[Dataset],
        workers: Workers,
        pack: Callable[[Sequence[Any]], Any],
        is_share: bool = False,
    ) -> None:
        self._plan, self._workers, self._pack = plan, workers, pack
        if plan.policy is not None:
            check_agreement(plan, workers.agree)
        self._iterators = [dataset.iterator() for dataset in read]
        first = self._iterators[0]
        if plan.policy is not None and workers.count > 1 and has_unseeded_shuffle(plan.dataset):
            first.restore(workers.broadcast(first.save()))
        self._parts: GlobalBatches | Stream | Lanes
        if plan.policy is AutoShardPolicy.DATA or (plan.policy and workers.count == 1):
            self._parts = GlobalBatches(first, workers.mine, workers.in_sync, is_share)
        elif workers.reproducible:
            self._parts = Lanes(self._iterators)
        else:
            parts = 1 if plan.policy is None else workers.in_sync
            self._parts = Stream(first, parts, workers.replicas)
        # Structure, sizes behind the first axis, and dtypes of a batch.
        self._like: tuple[Structure, list[tuple[tuple[int, ...], Any]]] | None = None
        self._ended = False
        self._ahead = 0.0  # seconds of reading ahead so far

    def __iter__(self) -> DistributedIterator:
        return self

    def __next__(self) -> Any:
        """What ``pack`` makes of the batches of the local replicas.

        Raises:
          StopIteration: no worker has a row left.
          DistributedError: another worker's input failed; its own message names the mistake.
        """
        if self._ended:
            raise StopIteration
        begin = time.perf_counter()
        try:
            parts = self._parts.take()
        except Exception:
            self._ended = True
            self._workers.agree(_FAILED)
            raise
        if self._workers.read is not None:
            before = self._ahead  # those that read beside each other count once
            self._ahead = max(iterator._ahead_seconds for iterator in self._iterators)
            self._workers.read(time.perf_counter() - begin, self._ahead - before)
        has_data = any(part is not None for part in parts)
        state = self._workers.agree(_DATA if has_data else _END)
        if state != _DATA:
            self._ended = True
            if state == _END:
                raise StopIteration
            raise _native.DistributedError(
                at_line(
                    f"the input of another worker than worker {self._workers.index} failed, so "
                    "this one stops at the same step; see that worker's error"
                )
            )
        return self._pack([self._filled(part) for part in self._padded(parts)])

    def save(self) -> str:
        """The position of this step, as text, which every worker can restore.

        Where workers read different data (FILE, or datasets from a function), all of them must call
        it at the same step, because it holds all their positions.
        """
        name, own = self._policy_name(), self._parts.save()
        workers, replicas = self._readers()
        if self._is_global():
            position: dict[str, Any] = {"policy": "data", "own": name, "position": own}
        else:
            texts = [own] if name == "off" else self._workers.gather(own)
            if isinstance(self._parts, Lanes):
                texts = [of_one for text in texts for of_one in json.loads(text)]
            position = {"policy": name, "positions": texts}
        return json.dumps({"kind": _KIND, **position, "workers": workers, "replicas": replicas})

    def restore(self, position: str) -> None:
        """Goes to a saved position; what follows equals what followed there.

        A position of shared global batches (DATA), or of reproducible workers, can be restored by
        any number of workers; others need the same number of workers and replicas.

        Raises:
          OtherWorldError: that number differs.
          ValueError: it was saved by another input, or another policy.
        """
        saved = _parse(position)
        name = self._policy_name()
        mine = "data" if self._is_global() else name
        shape = self._readers()
        before = (saved["workers"], saved["replicas"])
        if name == saved.get("own", saved["policy"]) != "data" and before != shape:
            # One worker alone reads global batches, whatever its number of replicas.
            if name == "function" or not before[0] == shape[0] == 1:
                raise OtherWorldError(name, before, shape)
        if saved["policy"] != mine:
            raise ValueError(
                at_line(
                    f"restore: the position was saved with the auto-shard policy "
                    f"{saved['policy'].upper()}, and here it is {mine.upper()}; use the policy and "
                    "number of workers of the saved run, or start the input from its beginning"
                )
            )
        if mine == "data":
            text = saved["position"]
        else:
            texts = saved["positions"]
            text = texts[0 if mine == "off" else self._workers.index]
            if isinstance(self._parts, Lanes):
                text = json.dumps([texts[i] for i in self._workers.mine])
        self._parts.restore(text)
        self._ended = False

    @property
    def wait_seconds(self) -> float:
        """Time that this worker has spent waiting for its data."""
        return sum(iterator.wait_seconds for iterator in self._iterators)

    @property
    def elements(self) -> int:
        """Batches that were read by this worker."""
        return sum(iterator.elements for iterator in self._iterators)

    def _readers(self) -> tuple[int, int]:
        """How many read, and how many replicas each of them reads for."""
        if isinstance(self._parts, Lanes):
            return self._workers.in_sync, 1
        return self._workers.count, self._workers.replicas

    def _is_global(self) -> bool:
        """Whether the position is that of global batches, the same whoever reads them."""
        if isinstance(self._parts, Lanes):
            return False
        return self._plan.policy is AutoShardPolicy.DATA or self._workers.count == 1

    def _policy_name(self) -> str:
        return "function" if self._plan.policy is None else self._plan.policy.value

    def _padded(self, parts: list[Part | None]) -> list[Part | None]:
        return [*parts, *[None] * (self._workers.replicas - len(parts))]

    def _filled(self, part: Part | None) -> Any:
        """The part, or where there is none a batch of 0 rows like the others."""
        if part is not None:
            structure, leaves = part
            self._like = structure, [(leaf.shape[1:], leaf.dtype) for leaf in leaves]
            return structure.pack(leaves)
        if self._like is None:
            specs = self._plan.dataset.element_spec
            structure = Structure.of(specs)
            rows = [(s.shape or (0,), s.dtype) for s in structure.flatten(specs)]
            sizes = [(tuple(1 if n is None else n for n in shape[1:]), d) for shape, d in rows]
            self._like = structure, sizes
        structure, like = self._like
        return structure.pack([np.empty((0, *sizes), dtype) for sizes, dtype in like])


def _parse(position: str) -> dict[str, Any]:
    """A saved position as a dictionary whose entries have the right types."""
    try:
        saved = json.loads(position)
    except (ValueError, TypeError, RecursionError):
        saved = None
    if not isinstance(saved, dict) or saved.get("kind") != _KIND or not _is_complete(saved):
        raise ValueError(
            at_line(
                "restore: this is not the saved position of a distributed input, or it is damaged; "
                "use another checkpoint, or start the input from its beginning"
            )
        )
    return saved


def _is_complete(saved: dict[str, Any]) -> bool:
    workers, replicas = saved.get("workers"), saved.get("replicas")
    if type(workers) is not int or type(replicas) is not int:
        return False
    if saved.get("policy") == "data":
        return isinstance(saved.get("own"), str) and isinstance(saved.get("position"), str)
    texts = saved.get("positions")
    return (
        saved.get("policy") in ("file", "off", "function")
        and isinstance(texts, list)
        and all(isinstance(text, str) for text in texts)
        and len(texts) == (1 if saved["policy"] == "off" else workers)
    )
