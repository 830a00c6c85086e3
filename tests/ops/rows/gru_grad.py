# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import recurrent
from row import A, I, Row, S


def _sample(n, t, f, u, lengths=None, **attrs):
    weights = A(f, 3 * u), A(u, 3 * u)
    kept = (A(n, t, u), A(n, t, 4 * u))
    more = () if lengths is None else (I(n, low=-1, high=t + 2, dtype=lengths),)
    return S(A(n, t, u), A(n, u), A(n, t, f), *weights, A(n, u), *kept, *more, **attrs)


ROW = Row(
    op="gru_grad",
    ref=recurrent.gru_grad,
    samples=(
        _sample("n", 3, 2, 2),
        _sample("n", 3, 2, 2, "int64", reverse=True),
        _sample(1, 1, 1, 1),
        _sample(2, 2, 1, 2, reverse=True),
        _sample(4, 5, 3, 2, "int32"),
        _sample(13, 4, 6, 37, "int64", reverse=True),
        _sample(20, 3, 29, 71),
    ),
    domain=(-1.0, 1.0),
    slack=400,  # sums over all rows and steps of products of several numbers
)
