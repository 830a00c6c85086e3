# SPDX-License-Identifier: Apache-2.0
"""What recurrent ops decompose into: loops, whose size does not depend on the number of steps."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import ostria as ost

ops = ost._native.ops
GATES = {"simple_rnn": 1, "gru": 3, "lstm": 4}


def second_derivative(kind: str, time: int, lengths: bool) -> str:
    """The plan of a derivative of a derivative, which no kernel computes."""
    rng = np.random.default_rng(0)
    width = GATES[kind] * 3
    bias = (2, width) if kind == "gru" else (width,)
    shapes = [(2, time, 4), (4, width), (3, width), bias] + [(2, 3)] * (1 + (kind == "lstm"))
    inputs = [ost.asarray(rng.normal(size=s).astype(np.float32)) for s in shapes]
    more = [ost.asarray(np.array([time, 1]))] if lengths else []

    @ost.compile
    def f(*xs: Any) -> Any:
        y = getattr(ops, kind)(*xs, *more, reverse=True)[0]
        (dx,) = ost.gradients([ost.sum(y * y)], [xs[0]])
        return ost.gradients([ost.sum(dx * dx)], list(xs))

    f(*inputs)
    return str(f.explain())


@pytest.mark.parametrize("lengths", [False, True])
@pytest.mark.parametrize("kind", GATES)
def test_plans_have_as_many_lines_for_any_number_of_steps(kind: str, lengths: bool) -> None:
    short, long = (second_derivative(kind, time, lengths) for time in (3, 30))
    assert "scan" in short
    assert len(long.splitlines()) == len(short.splitlines())
