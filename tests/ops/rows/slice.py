# SPDX-License-Identifier: Apache-2.0
import numpy as np
from families import nearby
from row import BOOL, FLOATS, INTS, A, Mistake, Row, S, tensor

import ostria as ost

ops = ost._native.ops

OPEN, BEFORE = 2**63 - 1, -(2**63)


def ref(x, start, stop, step=None):
    """Python's own slices; an open end is None."""
    open_end = {OPEN: None, BEFORE: None}
    step = step or [1] * x.ndim
    return x[
        tuple(
            slice(open_end.get(a, a), open_end.get(b, b), s)
            for a, b, s in zip(start, stop, step, strict=True)
        )
    ]


ROW = Row(
    op="slice",
    ref=ref,
    samples=(
        S(A(), start=(), stop=()),
        S(A(1), start=(0,), stop=(1,)),
        S(A(0), start=(0,), stop=(3,)),
        S(A(5), start=(3,), stop=(2,)),
        S(A("n", 4), start=(0, 1), stop=(OPEN, -1)),
        S(A("n", 4), start=(BEFORE, 0), stop=(OPEN, OPEN), step=(2, 3)),
        S(A("n", 2), start=(OPEN, 0), stop=(BEFORE, OPEN), step=(-1, 1)),
        S(A(7, 5), start=(-3, -100), stop=(100, 3)),
        S(A(7, 5), start=(5, 4), stop=(BEFORE, -5), step=(-2, -1)),
        S(A(7), start=(100,), stop=(-100,), step=(-3,)),
        S(A(71, 229), start=(1, 3), stop=(70, 200), step=(1, 2)),
    ),
    dtypes=FLOATS + INTS + BOOL,
    domain_of=nearby,
    errors=(
        Mistake(
            lambda: ops.slice(tensor(np.ones(4)), (0,), (4,), (0,)),
            ValueError,
            "slice: the step along axis 0 is 0; it must be positive or negative",
        ),
    ),
)
