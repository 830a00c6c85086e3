# SPDX-License-Identifier: Apache-2.0
import numpy as np
from families import nearby
from row import BOOL, FLOATS, INTS, A, Mistake, Row, S, tensor

import ostria as ost

ops = ost._native.ops

OPEN = 2**63 - 1


def sizes(g, shape):
    return [g.shape[0] if d == "n" else d for d in shape]


def ref(g, shape, start, stop, step=None):
    y = np.zeros(sizes(g, shape), g.dtype)
    step = step or [1] * y.ndim
    y[
        tuple(
            slice(a, None if b == OPEN else b, s) for a, b, s in zip(start, stop, step, strict=True)
        )
    ] = g
    return y


ROW = Row(
    op="slice_grad",
    fn=lambda g, shape, start, stop, step=(): ops.slice_grad(g, sizes(g, shape), start, stop, step),
    ref=ref,
    samples=(
        S(A(0), shape=(3,), start=(2,), stop=(2,)),
        S(A(1), shape=(1,), start=(0,), stop=(1,)),
        S(A("n", 2), shape=("n", 5), start=(0, 1), stop=(OPEN, -1), step=(1, 2)),
        S(A(3, 2), shape=(6, 4), start=(5, 1), stop=(0, 3), step=(-2, 1)),
        S(A(71, 100), shape=(71, 229), start=(0, 29), stop=(OPEN, 129)),
    ),
    dtypes=FLOATS + INTS + BOOL,
    domain_of=nearby,
    errors=(
        Mistake(
            lambda: ops.slice_grad(tensor(np.ones(4)), (6,), (0,), (3,)),
            ValueError,
            "slice_grad: 'g' has shape [4], but the slice of [6] has shape [3]",
        ),
    ),
)
