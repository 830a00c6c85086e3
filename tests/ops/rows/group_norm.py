# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import math

import numpy as np
from row import A, Mistake, Row, S, tensor

import ostria as ost

ops = ost._native.ops


def ref(x, scale, bias, epsilon=0.001, groups=32):
    split = x.reshape(x.shape[0], math.prod(x.shape[1:-1]), groups, x.shape[-1] // groups)
    mean = split.mean((1, 3), keepdims=True)
    rstd = 1 / np.sqrt(split.var((1, 3), keepdims=True) + epsilon)
    rows = (x.shape[0], groups)
    y = ((split - mean) * rstd).reshape(x.shape) * scale + bias
    return y, mean.reshape(rows), rstd.reshape(rows)


ROW = Row(
    op="group_norm",
    ref=ref,
    samples=(
        S(A("n", 3, 2, 6), A(6), A(6), groups=3),
        S(A(2, 71, 20), A(20), A(20), groups=4, epsilon=0.1),
        S(A(3, 8), A(8), A(8), groups=2),
        S(A(2, 3, 2, 2, 4), A(4), A(4), groups=1),
    ),
    errors=(
        Mistake(
            lambda: ops.group_norm(
                *(tensor(np.ones(s, np.float32)) for s in ((2, 3, 6), 6, 6)), groups=4
            ),
            ValueError,
            "group_norm: groups is 4; it must be positive and divide the 6 channels of x [2, 3, 6]",
        ),
    ),
    slack=20,  # differences of values from their mean
)
