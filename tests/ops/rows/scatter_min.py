# SPDX-License-Identifier: Apache-2.0
import numpy as np
from families import nearby
from row import FLOATS, INTS, A, I, Mistake, Row, S, V, tensor

import ostria as ost

ops = ost._native.ops


def ref(x, indices, updates, axis=0):
    """One slice at a time, in order."""
    y = np.moveaxis(x.copy(), axis, 0)
    width = np.ndim(indices)
    u = np.moveaxis(updates, range(axis % x.ndim, axis % x.ndim + width), range(width))
    u = u.reshape((np.size(indices), *u.shape[width:]))
    for i, index in enumerate(np.ravel(indices)):
        y[index] = np.minimum(y[index], u[i])
    return np.moveaxis(y, 0, axis)


ROW = Row(
    op="scatter_min",
    ref=ref,
    samples=(
        S(A(4), V(2, "int32"), A()),
        S(A(1), V([0, -1, 0], "int64"), A(3)),
        S(A(4), I(0, high=1), A(0)),
        S(A(4, 3), I("n", low=-4, high=4), A("n", 3)),
        S(A("n", 3), I(2, low=-3, high=3), A("n", 2), axis=1),
        S(A(2, 3, 2), I(4, 2, low=-3, high=3, dtype="int32"), A(2, 4, 2, 2), axis=1),
        S(A(71, 229), I(101, low=-71, high=71), A(101, 229)),
        S(A(71, 229), I(31, low=-229, high=229), A(71, 31), axis=-1),
    ),
    dtypes=FLOATS + INTS,
    domain_of=nearby,
    gradients=(0, 2),
    errors=(
        Mistake(
            lambda: ops.scatter_min(tensor(np.ones(3)), tensor(np.int64([-4])), tensor(np.ones(1))),
            IndexError,
            "scatter_min: index -4 (number 0 of 1) is out of range for an axis of size 3; valid "
            "indices are -3..2",
        ),
        Mistake(
            lambda: ops.scatter_min(tensor(np.ones(3)), tensor(np.int64([0])), tensor(np.ones(2))),
            ValueError,
            "scatter_min: 'updates' has shape [2], but x of shape [3] and indices of shape [1] "
            "along axis 0 need updates of shape [1]",
        ),
    ),
)
