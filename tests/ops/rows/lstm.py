# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import numpy as np
import recurrent
from row import A, I, Mistake, Row, S, tensor

import ostria as ost

ops = ost._native.ops


def _sample(n, t, f, u, lengths=None, **attrs):
    weights = A(f, 4 * u), A(u, 4 * u), A(4 * u)
    more = () if lengths is None else (I(n, low=-1, high=t + 2, dtype=lengths),)
    return S(A(n, t, f), *weights, A(n, u), A(n, u), *more, **attrs)


ROW = Row(
    op="lstm",
    ref=recurrent.lstm,
    samples=(
        _sample("n", 3, 2, 2),
        _sample("n", 3, 2, 2, "int64", reverse=True),
        _sample(1, 1, 1, 1),
        _sample(2, 2, 1, 2, reverse=True),
        _sample(4, 5, 3, 2, "int32"),
        _sample(13, 4, 6, 37, "int64", reverse=True),
        _sample(20, 3, 29, 71),
    ),
    errors=(
        Mistake(
            lambda: ops.lstm(
                *(tensor(np.ones(s, np.float32)) for s in ((2, 3, 4), (4, 20), (6, 24))),
                *(tensor(np.ones(s, np.float32)) for s in ((24,), (2, 6), (2, 6))),
            ),
            ValueError,
            "lstm: 'kernel' must have shape [4, 24], but has shape [4, 20]; sequences are "
            "[batch, time, features], states [batch, units], and gates lie side by side in the "
            "last axis of kernels",
        ),
    ),
    domain=(-1.0, 1.0),
    slack=60,  # errors of a step go through the next ones
)
