# SPDX-License-Identifier: Apache-2.0
import numpy as np
from families import nearby
from row import BOOL, FLOATS, INTS, A, Mistake, Row, S, tensor
from rows.argsort import order

import ostria as ost

ops = ost._native.ops


def ref(x, k, axis=-1, largest=True):
    at = np.take(order(x, axis, largest), range(k), axis)
    return np.take_along_axis(x, at, axis), at


ROW = Row(
    op="top_k",
    ref=ref,
    samples=(
        S(A(1), k=1),
        S(A(0), k=0),
        S(A(0, 3), k=2),
        S(A(5), k=0),
        S(A(7), k=7),
        S(A("n", 4), k=2),
        S(A("n", 4), k=3, largest=False),
        S(A(2, 5, 3), k=2, axis=1),
        S(A(71, 229), k=10),
        S(A(71, 229), k=200),
        S(A(71, 229), k=3, axis=0, largest=False),
        S(A(3001), k=700),
    ),
    dtypes=FLOATS + INTS + BOOL,
    domain_of=nearby,
    errors=(
        Mistake(
            lambda: ops.top_k(tensor(np.ones((2, 4))), 5),
            ValueError,
            "top_k: k is 5, but axis 1 of shape [2, 4] has 4 elements; give 0..4",
        ),
        Mistake(
            lambda: ops.top_k(tensor(np.ones(4)), -1),
            ValueError,
            "top_k: k is -1, but axis 0 of shape [4] has 4 elements; give 0..4",
        ),
    ),
)
