# SPDX-License-Identifier: Apache-2.0
import numpy as np
from families import nearby
from row import FLOATS, INTS, A, Mistake, Row, S, tensor

import ostria as ost

ops = ost._native.ops


def ref(x, low, high, value=0.0):
    return np.pad(x, list(zip(low, high, strict=True)), constant_values=value) if x.ndim else x


ROW = Row(
    op="pad",
    ref=ref,
    samples=(
        S(A(), low=(), high=()),
        S(A(1), low=(0,), high=(0,)),
        S(A(0), low=(1,), high=(2,)),
        S(A("n", 3), low=(0, 1), high=(0, 2), value=1.0),
        S(A("n", 3), low=(1, 0), high=(2, 0)),
        S(A(2, 3, 2), low=(1, 0, 2), high=(0, 1, 1), value=3.0),
        S(A(71, 229), low=(0, 3), high=(1, 0)),
    ),
    dtypes=FLOATS + INTS,
    domain_of=nearby,
    errors=(
        Mistake(
            lambda: ops.pad(tensor(np.ones(4)), (-1,), (0,)),
            ValueError,
            "pad: low (-1) and high (0) must not be negative; use slice to take elements away",
        ),
    ),
)
