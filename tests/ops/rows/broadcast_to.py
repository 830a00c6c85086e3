# SPDX-License-Identifier: Apache-2.0
import numpy as np
from families import nearby
from row import BOOL, FLOATS, INTS, A, Mistake, Row, S, tensor

import ostria as ost

ops = ost._native.ops


def broadcast_to(x, shape):
    sizes = [x.shape[0] if d == "n" else d for d in shape]
    return ops.broadcast_to(x, sizes) if hasattr(x, "is_traced") else np.broadcast_to(x, sizes)


ROW = Row(
    op="broadcast_to",
    fn=broadcast_to,
    ref=broadcast_to,
    samples=(
        S(A(), shape=(2, 3)),
        S(A(1), shape=(0,)),
        S(A(1), shape=(7,)),
        S(A("n", 1), shape=(2, "n", 3)),
        S(A(3, 1, 2), shape=(3, 4, 2)),
        S(A(229), shape=(71, 229)),
        S(A(71, 1), shape=(71, 229)),
    ),
    dtypes=FLOATS + INTS + BOOL,
    domain_of=nearby,
    errors=(
        Mistake(
            lambda: ops.broadcast_to(tensor(np.ones(3)), (2, 4)),
            ValueError,
            "broadcast_to: a tensor of shape [3] cannot be broadcast to [2, 4]; from the right, "
            "each of "
            "its sizes must be 1 or equal to the new one",
        ),
    ),
)
