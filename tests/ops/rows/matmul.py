# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import numpy as np
from families import nearby
from row import FLOATS, A, Mistake, Row, S, tensor

import ostria as ost

ops = ost._native.ops


def ref(a, b, transpose_a=False, transpose_b=False):
    a = np.swapaxes(a, -1, -2) if transpose_a else a
    b = np.swapaxes(b, -1, -2) if transpose_b else b
    return a @ b


ROW = Row(
    op="matmul",
    ref=ref,
    samples=(
        S(A("n", 4), A(4, 3)),
        S(A(4, "n"), A(3, 4), transpose_a=True, transpose_b=True),
        S(A("n", 4), A(3, 4), transpose_b=True),
        S(A(71, 29), A(29, 13)),
        S(A(1, 77), A(77, 33)),
        S(A(33, 77), A(77, 1)),
        S(A(9, 1), A(1, 70)),
        S(A(1, 1), A(1, 1)),
        S(A(2, 3, 4), A(4, 5)),
        S(A("n", 3, 4), A("n", 4, 2)),
        S(A(2, 1, 3, 4), A(5, 4, 2)),
        S(A(0, 3), A(3, 2)),
        S(A(2, 0), A(0, 3)),
        S(A(2, 3), A(3, 0)),
    ),
    errors=(
        Mistake(
            lambda: ops.matmul(tensor(np.ones((2, 3))), tensor(np.ones((4, 5)))),
            ValueError,
            "matmul: cannot multiply shapes [2, 3] and [4, 5]: 3 columns on "
            "the left, 4 rows on the "
            "right; they must be equal; transpose or reshape one of them",
        ),
        Mistake(
            lambda: ops.matmul(tensor(np.ones(3)), tensor(np.ones((3, 5)))),
            ValueError,
            "matmul: 'a' must have rank 2 or more, but has shape [3]; give a vector a second axis "
            "with expand_dims",
        ),
    ),
    dtypes=(*FLOATS, "int8", "int32", "int64", "uint8"),
    domain_of=nearby,
    slack=10,  # sums of up to 77 products
)
