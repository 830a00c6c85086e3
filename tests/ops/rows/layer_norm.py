# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import numpy as np
from row import A, Mistake, Row, S, tensor

import ostria as ost

ops = ost._native.ops


def ref(x, scale, bias, epsilon=0.001, axes=1):
    last = tuple(range(x.ndim - axes, x.ndim))
    mean = x.mean(last, keepdims=True)
    rstd = 1 / np.sqrt(x.var(last, keepdims=True) + epsilon)
    rows = x.shape[: x.ndim - axes]
    return (x - mean) * rstd * scale + bias, mean.reshape(rows), rstd.reshape(rows)


ROW = Row(
    op="layer_norm",
    ref=ref,
    samples=(
        S(A("n", 4), A(4), A(4)),
        S(A(71, 229), A(229), A(229)),
        S(A(2, 3, 5), A(3, 5), A(3, 5), axes=2),
        S(A(6), A(6), A(6)),
        S(A(0, 3), A(3), A(3)),
    ),
    errors=(
        Mistake(
            lambda: ops.layer_norm(
                *(tensor(np.ones(s, np.float32)) for s in ((2, 3), 3, 3)), axes=3
            ),
            ValueError,
            "layer_norm: axes is 3; it counts the last axes of x [2, 3] that are normalised: 1..2",
        ),
    ),
    slack=20,  # differences of values from their mean
)
