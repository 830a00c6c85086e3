# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import numpy as np
from row import A, Row, S


def ref(y, g, axis=-1):
    return g - np.exp(y) * np.sum(g, axis, keepdims=True)


ROW = Row(
    op="log_softmax_grad",
    ref=ref,
    samples=(
        S(A("n", 4), A("n", 4)),
        S(A(71, 229, low=-7, high=-4), A(71, 229)),
        S(A(2, 3, 4), A(2, 3, 4), axis=1),
        S(A(0, 3), A(0, 3)),
    ),
    slack=10,  # sums of up to 229 values
)
