# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import numpy as np
from row import A, Row, S


def ref(y, g, axis=-1):
    return y * (g - np.sum(y * g, axis, keepdims=True))


ROW = Row(
    op="softmax_grad",
    ref=ref,
    samples=(
        S(A("n", 4), A("n", 4)),
        S(A(71, 229, low=0, high=0.01), A(71, 229)),
        S(A(2, 3, 4), A(2, 3, 4), axis=1),
        S(A(0, 3), A(0, 3)),
    ),
    slack=10,  # sums of up to 229 products
)
