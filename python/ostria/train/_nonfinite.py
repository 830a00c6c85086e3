# SPDX-License-Identifier: Apache-2.0
"""Finding out where a NaN or an infinity came from, after the step that made it.

The commit predicate kept the step's writes out, so the state is still that before it; only random
generators have moved on, and are set back. The same batch then runs node by node.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ostria import _native
from ostria._compile import debug
from ostria.train._input import leaves


def generators(trace: Any) -> list[Any]:
    """State Variables of the generators that a traced step draws from."""
    drawn = {key[1] for key in trace.scratch if isinstance(key, tuple) and key[0] == "generator"}
    return [v for v in trace.variables() if v.id in drawn]


def find(step: Any, args: tuple[Any, ...], generators: list[Any]) -> str:
    """What made the first non-finite value when ``step`` runs again on ``args``; "" if unknown."""
    bad = [name for name, x in leaves(args, "batch") if _is_bad(x)]
    if bad:
        return f"the input is not finite: {', '.join(bad)} holds NaN or infinity"
    moved = [v.numpy() for v in generators]
    for variable, state in zip(generators, moved, strict=True):
        variable.assign(state - np.array([0, 1], np.int64))
    try:
        with debug():
            step(*args)
    except _native.NonFiniteError as error:
        return str(error)
    finally:
        for variable, state in zip(generators, moved, strict=True):
            variable.assign(state)
    return ""


def message(step: int, loss: float, cause: str, saved: int | None) -> str:
    """The text of the error that ends training."""
    what = f"the loss is {loss}" if not np.isfinite(loss) else "a gradient is not finite"
    text = f"step {step}: {what}. "
    if cause:
        text += f"First: {cause}. "
    text += f"The model is as it was after step {step - 1}"
    text += "" if saved is None else f"; the last checkpoint is of step {saved}"
    return text + ". Remedies: a smaller learning rate, clipping, or on_nonfinite='skip'"


def _is_bad(x: Any) -> bool:
    array = np.asarray(x.numpy() if hasattr(x, "numpy") else x)
    return array.dtype.kind == "f" and not np.isfinite(array).all()
