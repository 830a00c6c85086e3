# SPDX-License-Identifier: Apache-2.0
"""Penalties on what modules return: where their values wait until the loss is made.

In a trace they belong to the trace, so that all calls of one step count and none outlives it. In
eager calls, tapes included, those of the last call of the outermost module count. What a function
of `cond` or the like noted, and nobody read there, is lost: reading it later is an error.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from typing import Any

from ostria import _native, _scope, _tree
from ostria._errors import at_line


def _traced() -> Any:
    trace = _native.current_trace()
    return None if trace is None or trace.is_tape else trace


_local = threading.local()


@contextlib.contextmanager
def ignored() -> Iterator[None]:
    """What modules return inside is no result: a call that only makes weights."""
    outer, _local.ignored = getattr(_local, "ignored", False), True
    try:
        yield
    finally:
        _local.ignored = outer


def add(module: Any, rule: Callable[[Any], Any], result: Any) -> None:
    """Notes `rule` of every tensor that a call of `module` returned."""
    if getattr(_local, "ignored", False):
        return
    values = [rule(y) for y in _tree.flatten(result)[0] if hasattr(y, "dtype")]
    trace = _traced()
    if trace is not None:
        trace.scratch.setdefault("activity", {}).setdefault(module, []).extend(values)
        return
    call = _scope.outermost()
    if module._activity[0] is not call:
        module._activity = (call, [])
    if module._activity[1] is not None:
        module._activity[1].extend(values)


def values(module: Any) -> list[Any]:
    """The values noted for `module`.

    Raises:
        ValueError: some are those of a function that is over.
    """
    trace = _traced()
    if trace is None:
        found = module._activity[1]
        lost = found is None
    else:
        found = trace.scratch.get("activity", {}).get(module, ())
        lost = module in trace.scratch.get("activity_lost", ())
        trace.scratch.setdefault("activity_read", set()).add(module)
    if lost:
        raise ValueError(
            at_line(
                f"losses: the activity regularizer of '{module.name}' was applied in a function "
                "that is traced on its own (of cond, scan, while_loop, checkpoint), which its "
                "penalty has not left; read `losses` in that function and return their sum with "
                "its result"
            )
        )
    return list(found)


def leave(body: Any, outer: Any) -> None:
    """Notes whose penalties end with the trace `body` of a function, traced within `outer`."""
    scratch = body.scratch
    noted = {*scratch.get("activity", ()), *scratch.get("activity_lost", ())}
    for module in noted - scratch.get("activity_read", set()):
        if outer is None or outer.is_tape:
            module._activity = (_scope.outermost(), None)
        else:
            outer.scratch.setdefault("activity_lost", set()).add(module)
