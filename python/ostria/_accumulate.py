# SPDX-License-Identifier: Apache-2.0
"""Gradient accumulation: one step over a batch in micro-batches, in one compiled graph.

Each micro-batch runs forward and backward before the next begins, so the planner gives all of them
the same memory. Draws count rows along the whole batch, so they are those of one large batch: the
loss of that is traced once, apart, to see which draws have rows.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ostria import _functions as F
from ostria import _native, _step, _tree
from ostria._errors import at_line

_UNITS = {"": 1, "B": 1, "KB": 2**10, "MB": 2**20, "GB": 2**30, "TB": 2**40}


def parse_bytes(size: int | str, what: str) -> int:
    """`size` as a number of bytes; text has a unit, of which each is 1024 of the one before.

    Raises:
        ValueError: it is no positive size.
    """
    if isinstance(size, str):
        match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([KMGT]?B?)\s*", size.upper())
        if match and match[2] in _UNITS and (count := int(float(match[1]) * _UNITS[match[2]])):
            return count
    elif isinstance(size, (int, np.integer)) and not isinstance(size, bool) and size > 0:
        return int(size)
    raise ValueError(
        at_line(
            f"{what}: {size!r} is not accepted; give a number of bytes, or text such as '512MB'"
        )
    )


def over_batch(
    loss_fn: Callable[..., Any],
    variables: Sequence[Any] | Callable[[], Sequence[Any]],
    batch: Sequence[Any],
    gradients: Callable[[Any, Sequence[Any]], list[Any]],
) -> tuple[Any, list[Any], list[Any]]:
    """(loss, gradients, variables) of `loss_fn(*batch)`, a mean over rows, in micro-batches.

    As many as the compiled function was told to make: one outside of it. A function may be given
    for `variables` where a model makes them in its first call.

    Raises:
        TypeError: `batch` is no sequence of arguments.
        ValueError: a loss is no scalar.
    """
    if not isinstance(batch, (tuple, list)):
        raise TypeError(
            at_line(
                f"minimize_batch: batch is a {type(batch).__name__}; give a tuple of what the loss "
                "function takes, such as (x, y)"
            )
        )

    def differentiated(loss: Any) -> tuple[list[Any], list[Any]]:
        wrt = list(variables() if callable(variables) else variables)
        return gradients(loss, wrt), wrt

    trace = _native.current_trace()
    steps = 1 if trace is None else trace.scratch.get("accumulate", 1)
    leaves, structure = _tree.flatten(tuple(batch))
    rows = _rows(leaves)
    if trace is not None and rows is not None:
        known = rows if isinstance(rows, int) else 0
        trace.scratch["rows"] = max(known, trace.scratch.get("rows", 0))
    if steps == 1 or rows is None or (isinstance(rows, int) and rows < 2):
        loss = _require_scalar(loss_fn(*batch))
        grads, wrt = differentiated(loss)
        return loss, grads, wrt

    # Every micro-batch makes the same draws, told apart by their rows.
    counts, penalties = _step.draw_counts(trace.scratch), trace.scratch.get("activity", {})
    draws = _draws_of_whole(trace, loss_fn, batch, rows)
    total: Any = None
    sums: list[Any] = []
    shared: list[Any] = []
    for begin, end in _cuts(rows, steps):
        part = _part(end - begin, rows, steps)
        _step.set_draw_counts(trace.scratch, counts)
        trace.scratch["activity"] = {key: list(values) for key, values in penalties.items()}
        trace.scratch["micro_batch"] = _step.MicroBatch(begin, end, rows, part, draws, shared)
        try:
            own = [_taken(x, begin, end) if _is_batched(x, rows) else x for x in leaves]
            loss = _require_scalar(loss_fn(*_tree.unflatten(structure, own)))
            loss = loss * (part if isinstance(part, float) else F.cast(part, loss.dtype))
            grads, wrt = differentiated(loss)
        finally:
            del trace.scratch["micro_batch"]
        total = loss if total is None else total + loss
        sums = [a + b for a, b in zip(sums, grads, strict=True)] if sums else grads
    return total, sums, wrt


def _cuts(rows: Any, steps: int) -> list[tuple[Any, Any]]:
    """(begin, end) of each micro-batch; where there are rows at all, the first has some."""
    if isinstance(rows, int):
        size = -(-rows // steps)
        return [(begin, min(begin + size, rows)) for begin in range(0, rows, size)]
    ends = [(rows * (i + 1) + (steps - 1)) // steps for i in range(steps - 1)]
    return list(zip([0, *ends], [*ends, rows], strict=True))


def _part(size: Any, rows: Any, steps: int) -> Any:
    """The share of the rows, a float, or a float64 of the trace; without rows all are alike."""
    if isinstance(rows, int):
        return size / rows
    here, all_rows = (F.cast(F.asarray(0) + n, "float64") for n in (size, rows))
    share = here / _native.ops.maximum(all_rows, 1.0)
    return _native.ops.where(all_rows > 0.0, share, 1.0 / steps)


def _taken(x: Any, begin: Any, end: Any) -> Any:
    if isinstance(begin, int) and isinstance(end, int):
        return x[begin:end]
    return _native.ops.slice_at(x, 0, (begin,), (end - begin,))


def _draws_of_whole(
    trace: Any, loss_fn: Callable[..., Any], batch: Sequence[Any], rows: Any
) -> dict[Any, tuple[Any, ...]]:
    """The shapes of the draws that the loss of the whole batch makes; its graph is thrown away."""
    draws: dict[Any, tuple[Any, ...]] = {}
    body = _native.Trace("body")
    _step.enter_as(body, trace)
    trace.scratch["micro_batch"] = _step.MicroBatch(0, rows, rows, 1.0, draws, [])
    body.push()
    try:
        loss_fn(*batch)
    finally:
        body.pop()
        del trace.scratch["micro_batch"]
    return draws


def _require_scalar(loss: Any) -> Any:
    if tuple(getattr(loss, "shape", ())):
        raise ValueError(
            at_line(
                f"minimize_batch: the loss is {loss.dtype}{list(loss.shape)}, but must be a "
                "scalar, a mean over the rows; reduce it with ost.mean"
            )
        )
    return loss


def _rows(leaves: list[Any]) -> Any:
    for x in leaves:
        if isinstance(x, (_native.Tensor, np.ndarray)) and len(x.shape) > 0:
            return x.shape[0]
    return None


def _is_batched(x: Any, rows: Any) -> bool:
    is_array = isinstance(x, (_native.Tensor, np.ndarray))
    return is_array and len(x.shape) > 0 and bool(x.shape[0] == rows)
