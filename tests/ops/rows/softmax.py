# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import numpy as np
from row import A, Mistake, Row, S, tensor

import ostria as ost


def ref(x, axis=-1):
    e = np.exp(x - np.max(x, axis, keepdims=True, initial=-np.inf))
    return e / np.sum(e, axis, keepdims=True)


ROW = Row(
    op="softmax",
    ref=ref,
    samples=(
        S(A("n", 4)),
        S(A("n", 3), axis=0),
        S(A(71, 229)),
        S(A(2, 3, 4), axis=1),
        S(A(1)),
        S(A(0, 3)),
        S(A(6, 1)),
        S(A(3, 4), axis=-2),
    ),
    errors=(
        Mistake(
            lambda: ost._native.ops.softmax(tensor(np.ones((8, 10))), axis=5),
            ValueError,
            "softmax: axis 5 is out of range for a tensor of rank 2 (shape [8, "
            "10]); valid axes are "
            "-2..1",
        ),
    ),
)
