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


def bad_inputs(args: tuple[Any, ...]) -> str:
    """Which arrays of a batch hold NaN or infinity, and in how many of their rows; "" for none."""
    bad = [f"{name} {rows}" for name, x in leaves(args, "batch") if (rows := _bad_rows(x))]
    return ", ".join(bad)


def find(step: Any, args: tuple[Any, ...], generators: list[Any]) -> str:
    """What made the first non-finite value when ``step`` runs again on ``args``; "" if unknown."""
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


def message(step: int, loss: float, bad: str, cause: str, saved: int | None) -> str:
    """The text of the error that ends training; ``bad`` is that of ``bad_inputs``."""
    what = f"the loss is {loss}" if not np.isfinite(loss) else "a gradient is not finite"
    text = f"step {step}: {what}. "
    if bad:
        text += f"The input is not finite: NaN or infinity is in {bad}. "
    elif cause:
        text += f"First: {cause}. "
    text += f"The model is as it was after step {step - 1}"
    text += "" if saved is None else f"; the last checkpoint is of step {saved}"
    if bad:
        return text + (
            ". Look at the data: clean or leave out such rows where it is loaded, for instance "
            "with np.nan_to_num; on_nonfinite='skip' leaves out whole batches"
        )
    return text + ". Remedies: a smaller learning rate, clipping, or on_nonfinite='skip'"


def _bad_rows(x: Any) -> str:
    array = np.asarray(x.numpy() if hasattr(x, "numpy") else x)
    if array.dtype.kind != "f" or np.isfinite(array).all():
        return ""
    if array.ndim == 0:
        return "(a scalar)"
    rows = ~np.isfinite(array.reshape(len(array), -1)).all(axis=1)
    return f"({int(rows.sum())} of {len(rows)} rows, the first is {int(rows.argmax())})"
