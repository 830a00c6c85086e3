# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import numpy as np
from row import A, Mistake, Row, S, tensor

import ostria as ost

ops = ost._native.ops


def ref(x, scale, bias, epsilon=0.001):
    inside = tuple(range(1, x.ndim - 1))
    mean, var = x.mean(inside, keepdims=True), x.var(inside, keepdims=True)
    return (x - mean) / np.sqrt(var + epsilon) * scale + bias


ROW = Row(
    op="instance_norm",
    ref=ref,
    samples=(S(A("n", 3, 4, 5), A(5), A(5)), S(A(2, 71, 3), A(3), A(3), epsilon=0.1)),
    errors=(
        Mistake(
            lambda: ops.instance_norm(*(tensor(np.ones(s, np.float32)) for s in ((2, 3, 6), 5, 6))),
            ValueError,
            "instance_norm: 'scale' must have shape [6] for x [2, 3, 6], but has shape [5]",
        ),
    ),
    slack=20,  # differences of values from their mean
)
