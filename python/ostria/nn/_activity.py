# SPDX-License-Identifier: Apache-2.0
"""Penalties on what modules return: where their values wait until the loss is made.

In a trace they belong to the trace, so that all calls of one step count and none outlives it. In
eager calls, tapes included, those of the last call of the outermost module count.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ostria import _native, _scope, _tree


def _traced() -> Any:
    trace = _native.current_trace()
    return None if trace is None or trace.is_tape else trace


def add(module: Any, rule: Callable[[Any], Any], result: Any) -> None:
    """Notes `rule` of every tensor that a call of `module` returned."""
    values = [rule(y) for y in _tree.flatten(result)[0] if hasattr(y, "dtype")]
    trace = _traced()
    if trace is not None:
        trace.scratch.setdefault("activity", {}).setdefault(id(module), []).extend(values)
        return
    call = _scope.outermost()
    if module._activity[0] is not call:
        module._activity = (call, [])
    module._activity[1].extend(values)


def values(module: Any) -> list[Any]:
    """The values noted for `module`."""
    trace = _traced()
    if trace is not None:
        return list(trace.scratch.get("activity", {}).get(id(module), ()))
    return list(module._activity[1])
