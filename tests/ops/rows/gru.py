# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import numpy as np
import recurrent
from row import A, I, Mistake, Row, S, tensor

import ostria as ost

ops = ost._native.ops


def _sample(n, t, f, u, lengths=None, **attrs):
    weights = A(f, 3 * u), A(u, 3 * u), A(2, 3 * u)
    more = () if lengths is None else (I(n, low=-1, high=t + 2, dtype=lengths),)
    return S(A(n, t, f), *weights, A(n, u), *more, **attrs)


ROW = Row(
    op="gru",
    ref=recurrent.gru,
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
            lambda: ops.gru(
                *(tensor(np.ones(s, np.float32)) for s in ((2, 3, 4), (4, 15), (6, 18))),
                *(tensor(np.ones(s, np.float32)) for s in ((2, 18), (2, 6))),
            ),
            ValueError,
            "gru: 'kernel' must have shape [4, 18], but has shape [4, 15]; sequences are "
            "[batch, time, features], states [batch, units], and gates lie side by side in the "
            "last axis of kernels",
        ),
    ),
    domain=(-1.0, 1.0),
    slack=60,  # errors of a step go through the next ones
)
