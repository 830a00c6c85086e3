# SPDX-License-Identifier: Apache-2.0
import numpy as np
from families import nearby
from row import BOOL, FLOATS, INTS, A, I, Mistake, Row, S, V, tensor

import ostria as ost

ops = ost._native.ops


def ref(x, indices, axis=-1):
    """NumPy's, with the axes broadcast first, as empty ones need."""
    axis %= x.ndim
    rest = np.broadcast_shapes(
        (*x.shape[:axis], 1, *x.shape[axis + 1 :]),
        (*indices.shape[:axis], 1, *indices.shape[axis + 1 :]),
    )
    x = np.broadcast_to(x, (*rest[:axis], x.shape[axis], *rest[axis + 1 :]))
    indices = np.broadcast_to(indices, (*rest[:axis], indices.shape[axis], *rest[axis + 1 :]))
    return np.take_along_axis(x, indices, axis)


ROW = Row(
    op="take_along_axis",
    ref=ref,
    samples=(
        S(A(1), V([0, -1, 0], "int32")),
        S(A(4), I(0, high=1)),
        S(A(2, 0), I(2, 0, high=1)),
        S(A("n", 3), I("n", 2, low=-3, high=3)),
        S(A(4, 3), I("n", 3, low=-4, high=4), axis=0),
        S(A("n", 3), I(1, 2, low=-3, high=3)),
        S(A(2, 3, 1), I(1, 4, 2, low=-3, high=3, dtype="int32"), axis=1),
        S(A(71, 229), I(71, 3, low=-229, high=229)),
        S(A(71, 229), I(300, 229, low=-71, high=71), axis=0),
    ),
    dtypes=FLOATS + INTS + BOOL,
    domain_of=nearby,
    gradients=(0,),
    errors=(
        Mistake(
            lambda: ops.take_along_axis(tensor(np.ones((2, 3))), tensor(np.int64([[0], [3]]))),
            IndexError,
            "take_along_axis: index 3 (number 1 of 2) is out of range for an axis of size 3; valid "
            "indices are -3..2",
        ),
        Mistake(
            lambda: ops.take_along_axis(tensor(np.ones((2, 3))), tensor(np.int64([0]))),
            ValueError,
            "take_along_axis: 'x' has shape [2, 3] and 'indices' has shape [1]; both must have one "
            "rank",
        ),
    ),
)
