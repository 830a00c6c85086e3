# SPDX-License-Identifier: Apache-2.0
import numpy as np
from families import nearby
from row import BOOL, FLOATS, INTS, A, Mistake, Row, S, tensor

import ostria as ost

ops = ost._native.ops


def reshape(x, shape):
    sizes = [x.shape[0] if d == "n" else d for d in shape]
    return ops.reshape(x, sizes) if hasattr(x, "is_traced") else np.reshape(x, sizes)


ROW = Row(
    op="reshape",
    fn=reshape,
    ref=reshape,
    samples=(
        S(A(), shape=(1, 1)),
        S(A(1), shape=()),
        S(A(0, 3), shape=(3, 0, 2)),
        S(A("n", 4), shape=("n", 2, 2)),
        S(A(2, 3, 4), shape=(4, 6)),
        S(A(71, 229), shape=(229, 71)),
    ),
    dtypes=FLOATS + INTS + BOOL,
    domain_of=nearby,
    errors=(
        Mistake(
            lambda: ops.reshape(tensor(np.ones((8, 10))), (4, 10)),
            ValueError,
            "reshape: a tensor of shape [8, 10] (80 elements) cannot become [4, 10] (40 elements)",
        ),
    ),
)
