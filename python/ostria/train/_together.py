# SPDX-License-Identifier: Apache-2.0
"""What a Trainer does together with the other replicas of its strategy, and other processes.

Every process runs the same loop and takes every decision of it at the same step: whatever one
process alone knows (a signal, its clock, a file, a hook that asks to stop) passes through an
agreement here before anybody acts on it. Rank 0 alone writes; what it meets there, all raise.
"""

from __future__ import annotations

import contextlib
import json
import os
import warnings
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np

from ostria import _functions as F
from ostria import _replicas, _tree, io
from ostria._errors import at_line, has_line
from ostria.data import Dataset
from ostria.distribute import _context
from ostria.distribute._function import ReplicaFunction
from ostria.distribute._input import OtherWorldError
from ostria.distribute._strategy import Strategy
from ostria.distribute._values import PerReplica
from ostria.io._checkpoints import latest_and_messages
from ostria.train import _nonfinite
from ostria.train._input import BatchReader, is_batch, leaves, takes_context
from ostria.train._signals import of_all

# What a process asks for, the largest of which counts; a signal is _SIGNAL and its number.
_SAVE, _STOP, _SIGNAL = 1, 2, 1024


class Together:
    """One process's part in the loop of a strategy.

    Raises:
      TypeError: `strategy` is none.
    """

    def __init__(self, strategy: Any) -> None:
        if not isinstance(strategy, Strategy):
            raise TypeError(
                at_line(
                    f"Trainer: strategy must be one of ost.distribute, given: {strategy!r}; give "
                    "an object such as ost.distribute.MirroredStrategy(), or None"
                )
            )
        self.strategy = strategy
        self.num_workers = int(getattr(strategy, "num_workers", 1))
        self.is_chief = bool(getattr(strategy, "is_chief", True))
        self._rank = strategy._first_replica // len(strategy.devices)

    def scope(self) -> Any:
        return self.strategy.scope()

    @contextlib.contextmanager
    def instead(self) -> Iterator[None]:
        """Inside, this strategy is in force, whichever was before; Variables follow at a run."""
        scopes = _context.scopes()
        outer = scopes[:]
        scopes.clear()
        try:
            with self.scope():
                yield
        finally:
            scopes[:] = outer

    # --- Steps and batches ------------------------------------------------------------------------

    def compile(
        self, fn: Callable[..., Any], name: str, precision: str | None, accumulate: int = 1
    ) -> ReplicaStep:
        return ReplicaStep(self.strategy, fn, name, precision, accumulate)

    def reader(self, input_fn: Any, *, endless: bool) -> BatchReader:
        """Batches of all replicas of this process, in step with the other processes."""
        strategy = self.strategy
        if takes_context(input_fn):
            shared: Any = strategy.distribute_datasets_from_function(
                lambda context: input_fn(input_context=context)
            )
            return _reader_of(shared, endless)
        source = input_fn() if callable(input_fn) else input_fn
        if isinstance(source, BatchReader):
            return source
        if is_constant := is_batch(source):
            source = _one_batch(source, endless)
        if isinstance(source, Dataset):
            source = strategy.experimental_distribute_dataset(source)
        elif not callable(getattr(source, "iterator", None)):
            raise TypeError(
                at_line(
                    f"input_fn returned a {type(source).__name__}, which {strategy!r} cannot share "
                    "among replicas; return a Dataset in batches of all replicas together, such as "
                    "Dataset.from_generator(...).batch(...), or one batch of arrays"
                )
            )
        reader = _reader_of(source, endless)
        reader.is_constant = is_constant
        return reader

    @staticmethod
    def is_other_world(error: Exception) -> bool:
        """Whether an input cannot go on because there are more or fewer processes than before."""
        return isinstance(error, OtherWorldError)

    def joined(self, outputs: Any) -> Any:
        """The replicas' predictions for one batch as NumPy arrays, with the rows in their order."""
        if self.num_workers > 1:
            outputs = self.strategy.gather(outputs, axis=0)

        def join(leaf: Any) -> Any:
            parts = leaf.values if isinstance(leaf, PerReplica) else (leaf,)
            return np.concatenate([x.numpy() for x in parts]) if len(parts) > 1 else leaf.numpy()

        return _tree.map_structure(join, outputs)

    def bad_inputs(self, args: tuple[Any, ...]) -> str:
        """As `_nonfinite.bad_inputs`, of all replicas, with the number of each."""
        texts = []
        for i, part in enumerate(self.strategy.experimental_local_results(args)):
            if text := _nonfinite.bad_inputs(part):
                texts.append(f"{text} of replica {self.strategy._first_replica + i}")
        return ", ".join(text for text in self._gather(", ".join(texts)) if text)

    # --- Decisions --------------------------------------------------------------------------------

    def settle(self, signum: int | None, stop: bool, save: bool) -> tuple[int | None, bool, bool]:
        """(signal, whether to stop, whether to save) of all processes, from those of this one.

        A signal comes before a wish to stop, and that before a save, which both of them imply.
        """
        if self.num_workers == 1:
            return signum, stop, save
        mine = _SIGNAL + signum if signum else _STOP if stop else _SAVE if save else 0
        if not self.is_chief and mine == _SAVE:
            mine = 0  # rank 0's clock counts
        most = self._agree(mine, "agreeing on the end of a step")
        return (most - _SIGNAL if most > _SIGNAL else None), most == _STOP, most == _SAVE

    def decide(self, choice: bool) -> bool:
        """What rank 0 decided."""
        if self.num_workers == 1:
            return choice
        return bool(self._agree(int(self.is_chief and choice), "agreeing on what rank 0 decides"))

    def on_chief(self, what: str, action: Callable[[], str]) -> str:
        """What `action` gives on rank 0, where alone it runs; the others wait for it.

        Raises:
          OSError, RuntimeError: it failed, with its message, on all ranks.
        """
        if self.num_workers == 1:
            return action()
        error: Exception | None = None
        told = ""
        if self.is_chief:
            try:
                with self.strategy._busy(what):
                    told = json.dumps(["", action()])
            except Exception as found:
                error = found
                told = json.dumps([type(found).__name__, str(found), isinstance(found, OSError)])
        kind, text, *is_os = json.loads(self._workers(what).broadcast(told))
        if error is not None:
            raise of_all(error)
        if kind:
            message = f"{what}: rank 0 failed, so all ranks stop; {kind}: {text}"
            if not has_line(message):  # rank 0's own is where it failed
                message = at_line(message)
            raise of_all(OSError(message) if is_os[0] else RuntimeError(message))
        return str(text)

    # --- State ------------------------------------------------------------------------------------

    def load(self, model_dir: str | None, path: str | None = None) -> Any:
        """The checkpoint at `path`, or the newest good one of `model_dir`: the same on all ranks.

        All ranks warn of the damaged ones that rank 0 found before it.

        Raises:
          FileNotFoundError: a rank does not see the one that rank 0 has; on all ranks.
        """
        found: list[Any] = []

        def choose() -> str:
            messages: list[str] = []
            if path is not None:
                found.append(io.load_checkpoint(path))
            else:
                assert model_dir is not None
                latest, messages = latest_and_messages(model_dir)
                found.append(latest)
            return json.dumps(["" if found[0] is None else str(found[0].path), *messages])

        chosen, *messages = json.loads(self.on_chief("restoring a checkpoint", choose))
        for message in messages:
            warnings.warn(message, RuntimeWarning, stacklevel=5)
        if not chosen or self.num_workers == 1:
            return found[0] if found else None
        problem = ""
        if not self.is_chief:
            mine = path or os.path.join(model_dir or "", os.path.basename(chosen))
            try:
                found.append(io.load_checkpoint(mine))
            except (OSError, ValueError) as error:
                problem = f"rank {self._rank} cannot load {mine}: {error}"
        problems = [text for text in self._gather(problem) if text]
        if problems:
            missing = FileNotFoundError(
                at_line(
                    f"rank 0 goes on from {chosen}, but {'; '.join(problems)}. model_dir must be "
                    "a folder that all processes share"
                )
            )
            raise of_all(missing)
        return found[0]

    def latest(self, model_dir: str) -> str | None:
        """The path of rank 0's newest checkpoint."""
        return (
            self.on_chief("looking for checkpoints", lambda: io.latest_checkpoint(model_dir) or "")
            or None
        )

    def assigned(self, variables: list[Any]) -> None:
        """All ranks have assigned values: those of rank 0 count, and it holds the sums."""
        if self.num_workers == 1:
            return
        for v in _sums(variables):
            if not self.is_chief:
                v.assign(np.zeros(v.shape))
        if whole := [v for v in variables if v.aggregation != "sum" and v.num_parts == 1]:
            self.strategy._group.broadcast_variables(whole)

    def collect(self, variables: list[Any]) -> dict[int, Any]:
        """Moves what replicas hold of sums to the first, as a restored checkpoint has it.

        Returns:
          Of Variables that processes hold parts of the whole value, by id: on rank 0.
        """
        parts = _sums(variables)
        for v, total in zip(parts, self.strategy._totals(parts), strict=True):
            v.assign(total if self.is_chief else np.zeros(v.shape))
        whole: dict[int, Any] = {}
        if self.num_workers > 1:
            for v in variables:
                if v.num_parts == 1:
                    continue
                value = v.numpy()  # all take part
                if self.is_chief:
                    whole[v.id] = value
        return whole

    def summed(self, variables: Iterable[Any]) -> contextlib.AbstractContextManager[None]:
        """Inside, sums are those of all processes; after it each has its own part again."""
        return self.strategy._summed(variables)

    # --- Over all processes -----------------------------------------------------------------------

    def _workers(self, what: str) -> Any:
        return self.strategy._workers(what)

    def _agree(self, number: int, what: str) -> int:
        return int(self._workers(what).agree(number))

    def _gather(self, text: str) -> list[str]:
        return list(self._workers("gathering messages").gather(text))


class ReplicaStep:
    """A function of a batch, run by all replicas; gives what replica 0 of this process gives."""

    def __init__(
        self,
        strategy: Strategy,
        fn: Callable[..., Any],
        name: str,
        precision: str | None,
        accumulate: int,
    ) -> None:
        def counted(*batch: Any) -> Any:
            rows = next((x.shape[0] for _, x in leaves(batch) if len(x.shape)), 1)
            return fn(*batch), F.asarray(0) + _replicas.global_count(rows)

        self._strategy = strategy
        self._function = ReplicaFunction(
            counted, strategy, name=name, precision=precision, accumulate=accumulate
        )
        self._rows: Any = None

    @property
    def rows(self) -> int:
        """Rows of the last batch, over all replicas."""
        return int(self._rows.item())

    def trace(self, *args: Any) -> Any:
        with self._strategy._begin_run(self._function):
            return self._function.trace(*args)

    def of_all(self, *args: Any) -> Any:
        """What every replica of this process gives."""
        return self._function(*args)[0]

    def __call__(self, *args: Any) -> Any:
        result, rows = self._function(*args)
        self._rows = _first(rows)
        return _tree.map_structure(_first, result)


def _reader_of(shared: Any, endless: bool) -> BatchReader:
    shared._reported = not endless  # the plan of training is printed; evaluations repeat theirs
    return BatchReader(shared, endless=endless)


def _one_batch(batch: Any, endless: bool) -> Dataset:
    arrays = _tree.map_structure(
        lambda x: x.numpy() if hasattr(x, "numpy") else np.asarray(x), batch
    )
    rows = next(len(x) for _, x in leaves(arrays))
    dataset = Dataset.from_tensor_slices(arrays).batch(rows)
    return dataset.repeat() if endless else dataset


def _first(leaf: Any) -> Any:
    return leaf.values[0] if isinstance(leaf, PerReplica) else leaf


def _sums(variables: Iterable[Any]) -> list[Any]:
    return [v for v in variables if v.aggregation == "sum"]
