# SPDX-License-Identifier: Apache-2.0
"""Optimizer state in parts: each replica holds, and updates by, its part of every slot alone.

Gradients are scattered as they are summed, so that each replica gets the sums of its part; it
updates that part of the weights, and all gather the new weights. Parts are ranges of a variable's
elements, of one size; where that does not divide evenly the last ones overlap, and what two
replicas compute of one element is the same. csrc/runtime/state_store says which part is whose.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from ostria import _functions as F
from ostria import _native, _step
from ostria._errors import at_line

_ops = _native.ops
# Bytes that pay for a call: what is larger goes alone, and is not copied to lie beside others.
_BYTES = 1 << 20


def of_step(kind: str, is_elementwise: bool, has_state: bool) -> Division | None:
    """How the running step divides the state of an optimizer; None: it does not.

    Raises:
        ValueError: it is to, but the update takes more than the elements of one place.
    """
    trace = _native.current_trace()
    notes = {} if trace is None else _step.notes()
    parts = notes.get("state_parts")
    if parts is None:
        return None
    if not has_state:
        _report(notes, f"{kind} has no state of weights that replicas could divide")
        return None
    if not is_elementwise:
        raise ValueError(
            at_line(
                f"{kind}: shard_optimizer_state=True divides the elements of weights and slots "
                f"among {parts.total} replicas, but this optimizer takes norms or rows of whole "
                "weights; use one that updates each element by itself, such as Adam, AdamW or SGD "
                "(without lazy=True), or leave shard_optimizer_state out"
            )
        )
    return Division(parts, notes["replica_context"].replica_id_in_sync_group, notes)


class Division:
    """The parts of one step. Tensors of a call have one dtype, and give a part [size] each."""

    def __init__(self, parts: Any, replica: Any, notes: dict[Any, Any]) -> None:
        self.parts, self._replica, self._notes = parts, replica, notes
        self._total = int(parts.total)

    def divide(self, kind: str, slots: Sequence[Any]) -> None:
        """From here on these Variables are read and assigned part by part; the report says so."""
        trace = _native.current_trace()
        for slot in slots:
            trace.divide(slot, self.parts)
        whole = sum(v.size * v.dtype.itemsize for v in slots)
        mine = sum(self._size(v.size) * v.dtype.itemsize for v in slots)
        _report(
            self._notes,
            f"{kind}: each of {self._total} replicas holds {mine} of {whole} bytes of its slots",
        )

    def reduced(self, grads: Sequence[Any]) -> list[Any]:
        """The replica's part of each gradient, summed over all replicas."""
        parts: list[Any] = [None] * len(grads)
        for members in self._buckets(grads):
            rows = [self._rows(grads[i]) for i in members]
            joined = rows[0] if len(rows) == 1 else _ops.concat(rows, 1)
            block = _ops.reduce_scatter(joined, replicas=self._total)
            for i, columns in self._columns(grads, members):
                parts[i] = _ops.reshape(block[:, columns], (columns.stop - columns.start,))
        return parts

    def own(self, weights: Sequence[Any]) -> list[Any]:
        """The replica's part of what all of them have."""
        parts = []
        for w in weights:
            # A gather would check its index, and all replicas would meet.
            part = _ops.replica_part(self._rows(F.asarray(w.value())), replicas=self._total)
            parts.append(_ops.reshape(part, (self._size(w.size),)))
        return parts

    def whole(self, parts: Sequence[Any], like: Sequence[Any]) -> list[Any]:
        """What all parts are together, in the shapes of `like`."""
        values: list[Any] = [None] * len(like)
        for members in self._buckets(like):
            shape = like[members[0]].shape
            if len(members) == 1 and shape and shape[0] % self._total == 0:
                # In the shape of the weight, which is then written where it lies.
                rows = _ops.reshape(parts[members[0]], (shape[0] // self._total, *shape[1:]))
                values[members[0]] = _ops.all_gather(rows, replicas=self._total)
                continue
            own = [parts[i] for i in members]
            joined = own[0] if len(own) == 1 else _ops.concat(own, 0)
            rows = _ops.all_gather(_ops.reshape(joined, (1, joined.shape[0])), replicas=self._total)
            for i, columns in self._columns(like, members):
                values[i] = self._join(rows[:, columns], like[i].shape)
        return values

    def agree(self, finite: Any) -> Any:
        """Whether it is so on all replicas."""
        return _ops.all_reduce([F.cast(finite, _native.int32)], reduction="min") > 0

    def norm(self, parts: Sequence[Any], like: Sequence[Any]) -> Any:
        """As `global_norm`, of what all parts are together."""
        once = [self._once(part, w) for part, w in zip(parts, like, strict=True)]
        return _ops.sqrt(_ops.all_reduce([_ops.square(_ops.global_norm(once))]))

    # --- Where parts are --------------------------------------------------------------------------

    def _size(self, elements: int) -> int:
        return -(-elements // self._total)

    def _full(self, elements: int) -> int:
        """How many parts lie behind each other; those after them end where the tensor ends."""
        return min(elements // max(self._size(elements), 1), self._total)

    def _buckets(self, tensors: Sequence[Any]) -> Iterator[list[int]]:
        """From the last tensor on, whose gradient comes first."""
        bucket: list[int] = []
        size = 0
        for i in reversed(range(len(tensors))):
            more = tensors[i].size * tensors[i].dtype.itemsize
            if more >= _BYTES:
                yield [i]
                continue
            if bucket and size + more > _BYTES:
                yield bucket
                bucket, size = [], 0
            bucket.append(i)
            size += more
        if bucket:
            yield bucket

    def _columns(
        self, tensors: Sequence[Any], members: Sequence[int]
    ) -> Iterator[tuple[int, slice]]:
        begin = 0
        for i in members:
            end = begin + self._size(tensors[i].size)
            yield i, slice(begin, end)
            begin = end

    def _rows(self, x: Any) -> Any:
        """[replicas, size]: the part of each."""
        n, size, full = x.size, self._size(x.size), self._full(x.size)
        flat = _ops.reshape(x, (n,))
        if full < self._total:
            tail = [flat[n - size :]] * (self._total - full)
            flat = _ops.concat([flat[: full * size], *tail], 0)
        return _ops.reshape(flat, (self._total, size))

    def _join(self, rows: Any, shape: Sequence[int]) -> Any:
        """The tensor whose parts are these rows."""
        n = int(np.prod(shape, dtype=np.int64))
        size, full = self._size(n), self._full(n)
        flat = _ops.reshape(rows, (self._total * size,))
        if full < self._total:
            end = (full + 1) * size
            flat = _ops.concat([flat[: full * size], flat[end - (n - full * size) : end]], 0)
        return _ops.reshape(flat, tuple(shape))

    def _once(self, part: Any, like: Any) -> Any:
        """Zeros where an earlier part has the same elements."""
        n, size = like.size, self._size(like.size)
        if self._full(n) == self._total:
            return part
        shared = self._replica * size - (n - size)  # at most 0 in the parts before the last ones
        places = F.asarray(np.arange(size, dtype=np.int32))
        return _ops.where(places >= shared, part, F.zeros_like(part))


def _report(notes: dict[Any, Any], line: str) -> None:
    lines = notes.setdefault("report", [])
    if line not in lines:
        lines.append(line)
