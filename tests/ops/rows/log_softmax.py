# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import numpy as np
from row import A, Mistake, Row, S, tensor

import ostria as ost


def ref(x, axis=-1):
    shifted = x - np.max(x, axis, keepdims=True, initial=-np.inf)
    return shifted - np.log(np.sum(np.exp(shifted), axis, keepdims=True))


ROW = Row(
    op="log_softmax",
    ref=ref,
    samples=(
        S(A("n", 4)),
        S(A("n", 3), axis=0),
        S(A(71, 229)),
        S(A(2, 3, 4), axis=1),
        S(A(1)),
        S(A(0, 3)),
        S(A(6, 1)),
    ),
    errors=(
        Mistake(
            lambda: ost._native.ops.log_softmax(tensor(np.int32([1, 2]))),
            TypeError,
            "log_softmax: needs a tensor of floating-point dtype, but 'x' is "
            "int32[2]; cast it first, "
            'as in cast(x, "float32")',
        ),
    ),
)
