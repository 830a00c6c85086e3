# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import numpy as np
import recurrent
from row import A, Row, S

NOTES = 1024


def _sample(n, t, f, u, cell):
    gates, states = (4, 2) if cell == "lstm" else (3, 1)
    bias = A(4 * u) if cell == "lstm" else A(2, 3 * u)
    weights = A(f, gates * u), A(u, gates * u), bias
    return S(A(n, t, f), *weights, *(A(n, u) for _ in range(states)), cell=cell)


def ref(x, kernel, recurrent_kernel, bias, *states, cell):
    fn = recurrent.lstm if cell == "lstm" else recurrent.gru
    y, *rest = fn(x, kernel, recurrent_kernel, bias, *states)
    last, kept = rest[: len(states)], rest[len(states) :]
    spare = 0 if cell == "lstm" else 2 * y.size
    saved = np.concatenate([*(k.ravel() for k in kept), np.zeros(spare + NOTES)])
    return y, saved, *last


ROW = Row(
    op="recurrent_layer",
    ref=ref,
    samples=(
        _sample(3, 3, 2, 2, "lstm"),
        _sample(3, 3, 2, 2, "gru"),
        _sample(1, 1, 1, 1, "lstm"),
        _sample(7, 4, 29, 37, "lstm"),
        _sample(7, 4, 29, 37, "gru"),
    ),
    domain=(-1.0, 1.0),
    slack=60,  # errors of a step go through the next ones
    batch="passes make it of sizes that are numbers",
)
