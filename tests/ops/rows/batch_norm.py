# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import numpy as np
from row import A, Mistake, Row, S, tensor

import ostria as ost

ops = ost._native.ops


def ref(x, scale, bias, epsilon=0.001):
    if x.size == 0:  # no rows have no mean: 0 by definition
        return x, 0 * bias, 0 * bias
    axes = tuple(range(x.ndim - 1))
    mean, var = x.mean(axes), x.var(axes)
    return (x - mean) / np.sqrt(var + epsilon) * scale + bias, mean, var


ROW = Row(
    op="batch_norm",
    ref=ref,
    samples=(
        S(A("n", 4), A(4), A(4)),
        S(A(71, 29), A(29), A(29)),
        S(A(3, 4, 5, 17), A(17), A(17)),
        S(A(2, 3), A(3), A(3), epsilon=0.1),
    ),
    errors=(
        Mistake(
            lambda: ops.batch_norm(*(tensor(np.ones(s, np.float32)) for s in ((2, 3), 4, 3))),
            ValueError,
            "batch_norm: 'scale' must have shape [3] for x [2, 3], but has shape [4]",
        ),
    ),
    slack=20,  # differences of values from their mean
)
