# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import recurrent
from row import A, Row, S

NOTES = 1024


def _sample(n, t, f, u, cell):
    gates, kept = (4, 5) if cell == "lstm" else (3, 6)
    bias = A(4 * u) if cell == "lstm" else A(2, 3 * u)
    states = [A(n, u) for _ in range(4 if cell == "lstm" else 2)]
    weights = A(f, gates * u), A(u, gates * u), bias
    saved = A(kept * n * t * u + NOTES)
    return S(A(n, t, u), A(n, t, f), *weights, A(n, t, u), saved, *states, cell=cell)


def ref(dy, x, kernel, recurrent_kernel, bias, y, saved, dh, h, dc=None, c=None, *, cell):
    gates = saved[: 4 * y.size].reshape(*y.shape[:2], -1)
    if cell == "gru":
        return recurrent.gru_grad(dy, dh, x, kernel, recurrent_kernel, h, y, gates)
    cells = saved[4 * y.size : 5 * y.size].reshape(y.shape)
    return recurrent.lstm_grad(dy, dh, dc, x, kernel, recurrent_kernel, h, c, y, gates, cells)


ROW = Row(
    op="recurrent_layer_grad",
    ref=ref,
    samples=(
        _sample(3, 3, 2, 2, "lstm"),
        _sample(3, 3, 2, 2, "gru"),
        _sample(1, 1, 1, 1, "lstm"),
        _sample(7, 4, 29, 37, "lstm"),
        _sample(7, 4, 29, 37, "gru"),
    ),
    domain=(-1.0, 1.0),
    slack=400,  # sums over all rows and steps of products of several numbers
    batch="passes make it of sizes that are numbers",
)
