# SPDX-License-Identifier: Apache-2.0
"""What code of a step does otherwise while replicas run it in sync, each on its share of a batch.

Inside a replica a loss is this replica's share: shares add up to the loss of the global batch, and
gradients of shares to its gradient. Whoever traces for replicas notes their number, over all
processes, under "replicas"; elsewhere it is 1 and nothing here adds a node.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterable, Sequence
from typing import Any

from ostria import _functions as F
from ostria import _native, _step

_ops = _native.ops
_CACHE = ("replicas", "sums")
_SHARES = ("replicas", "shares")


# Whose parts other processes hold, by the ids of Variables: the strategy that ran them there.
_elsewhere: dict[int, Any] = {}


def note_parts(variables: Iterable[Any], strategy: Any) -> None:
    """Replicas of `strategy` in other processes add to these Variables too."""
    _elsewhere.update((v.id, strategy) for v in variables)


def of_all_processes(variables: Sequence[Any]) -> contextlib.AbstractContextManager[None]:
    """Inside, Variables hold the sums of all processes, which all come here; not while tracing."""
    if _native.current_trace() is None:
        for v in variables:
            if (strategy := _elsewhere.get(v.id)) is not None:
                summed: contextlib.AbstractContextManager[None] = strategy._summed(variables)
                return summed
    return contextlib.nullcontext()


def count() -> int:
    """How many replicas, over all processes, run the step that is traced; 1 elsewhere."""
    return 1 if _native.current_trace() is None else int(_step.notes().get("replicas", 1))


def sums(values: Sequence[Any]) -> list[Any]:
    """Each of these tensors, all of one dtype, added over all replicas: one node."""
    results = _ops.all_reduce(list(values))
    return list(results) if isinstance(results, tuple) else [results]


def total(x: Any) -> Any:
    """`x` added over all replicas: one node, however often it is asked for in a trace."""
    if count() == 1:
        return x
    found = _cache().get(id(x))
    if found is None:  # with `x`, whose id nobody else has as long as it lives
        found = _cache()[id(x)] = (x, sums([F.asarray(x)])[0])
    return found[1]


def global_count(local: Any) -> Any:
    """How many all replicas have of what this one has `local` of: one node per count and trace.

    Args:
        local: an int or a size of the trace.

    Returns:
        A scalar, int64; in a micro-batch float64, its part of how many there are in the whole
        batch. `local` itself where there is one replica.
    """
    if count() == 1:
        return local
    if (micro := _step.notes().get("micro_batch")) is not None:
        return _count_of_batch(micro, local) * micro.part
    key = str(local)
    if key not in _cache():
        _cache()[key] = sums([F.asarray(0) + local])[0]
    return _cache()[key]


def _count_of_batch(micro: _step.MicroBatch, local: Any) -> Any:
    # The first micro-batch has rows wherever a replica has any, and counts for all of them.
    at = micro.next_count()
    if at == len(micro.counts):
        key = (str(local), str(micro.size), str(micro.rows))
        if key not in _cache():
            here, size, rows = (
                F.cast(F.asarray(0) + n, "float64") for n in (local, micro.size, micro.rows)
            )
            _cache()[key] = sums([here * rows / _ops.maximum(size, 1.0)])[0]
        micro.counts.append(_cache()[key])
    return micro.counts[at]


def size(shape: Sequence[Any]) -> Any:
    """The number of elements: an int, or a size of the trace."""
    return math.prod(shape)


def divided(value: Any, everywhere: Any) -> Any:
    """`value` divided by a count over all replicas; 0 where nobody has anything."""
    return value / _ops.maximum(F.cast(F.asarray(everywhere), value.dtype), 1.0)


def share_of_mean(loss: Any, rows: Any) -> Any:
    """The share of a replica whose loss is a mean over its rows."""
    mine = F.cast(F.asarray(0) + rows, loss.dtype)
    return divided(loss * mine, global_count(rows))


def note_share() -> None:
    """Tells `Shares` that a loss became a share."""
    if count() > 1:
        notes = _step.notes()
        notes[_SHARES] = notes.get(_SHARES, 0) + 1


class Shares:
    """Whether what was traced since it was made already gave shares."""

    def __init__(self) -> None:
        self._before = _step.notes().get(_SHARES, 0)

    def any(self) -> bool:
        return bool(_step.notes().get(_SHARES, 0) > self._before)


def _cache() -> dict[Any, Any]:
    # Of the trace itself, not of its step: what a function of its own makes has no value outside.
    cache: dict[Any, Any] = _native.current_trace().scratch.setdefault(_CACHE, {})
    return cache
