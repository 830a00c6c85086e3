# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import numpy as np
from row import A, Mistake, Row, S, tensor

import ostria as ost

ops = ost._native.ops


def ref(x, scale, epsilon=1e-6, axes=1):
    last = tuple(range(x.ndim - axes, x.ndim))
    rstd = 1 / np.sqrt(np.square(x).mean(last, keepdims=True) + epsilon)
    return x * rstd * scale, rstd.reshape(x.shape[: x.ndim - axes])


ROW = Row(
    op="rms_norm",
    ref=ref,
    samples=(
        S(A("n", 4), A(4)),
        S(A(71, 229), A(229), epsilon=0.1),
        S(A(2, 3, 5), A(3, 5), axes=2),
        S(A(6), A(6)),
        S(A(0, 3), A(3)),
    ),
    errors=(
        Mistake(
            lambda: ops.rms_norm(*(tensor(np.ones(s, np.float32)) for s in ((2, 3), 3)), axes=3),
            ValueError,
            "rms_norm: axes is 3; it counts the last axes of x [2, 3] that are normalised: 1..2",
        ),
    ),
    slack=20,  # sums of up to 229 squares
)
