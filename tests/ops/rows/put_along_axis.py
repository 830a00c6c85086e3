# SPDX-License-Identifier: Apache-2.0
import numpy as np
from families import nearby
from row import FLOATS, INTS, A, I, Mistake, Row, S, V, tensor

import ostria as ost

ops = ost._native.ops

RULES = {
    "update": lambda a, b: b,
    "add": lambda a, b: a + b,
    "max": np.maximum,
    "min": np.minimum,
}


def ref(x, indices, values, axis=-1, reduce="update"):
    """One element at a time, in order."""
    axis %= x.ndim
    places = (*x.shape[:axis], indices.shape[axis], *x.shape[axis + 1 :])
    indices, values = np.broadcast_to(indices, places), np.broadcast_to(values, places)
    y = x.copy()
    for at in np.ndindex(places):
        to = (*at[:axis], indices[at], *at[axis + 1 :])
        y[to] = RULES[reduce](y[to], values[at])
    return y


ROW = Row(
    op="put_along_axis",
    ref=ref,
    samples=tuple(
        sample
        for reduce in RULES
        for sample in (
            S(A(1), V([0, -1, 0], "int32"), A(3), reduce=reduce),
            S(A(4), I(0, high=1), A(0), reduce=reduce),
            S(A(0, 3), I(0, 2, high=1), A(0, 2), reduce=reduce),
            S(A("n", 3), I("n", 2, low=-3, high=3), A("n", 2), reduce=reduce),
            S(A(4, 3), I("n", 3, low=-4, high=4), A("n", 1), axis=0, reduce=reduce),
            S(A("n", 3), I(1, 4, low=-3, high=3), A(), reduce=reduce),
            S(A(2, 3, 2), I(2, 4, 1, low=-3, high=3), A(2), axis=1, reduce=reduce),
            S(A(71, 229), I(71, 3, low=-229, high=229), A(71, 3), reduce=reduce),
        )
    ),
    dtypes=FLOATS + INTS,
    domain_of=nearby,
    gradients=(0, 2),
    errors=(
        Mistake(
            lambda: ops.put_along_axis(
                tensor(np.ones((2, 3))), tensor(np.int64([[0], [-4]])), tensor(np.ones((2, 1)))
            ),
            IndexError,
            "put_along_axis: index -4 (number 1 of 2) is out of range for an axis of size 3; valid "
            "indices are -3..2",
        ),
        Mistake(
            lambda: ops.put_along_axis(
                tensor(np.ones((2, 3))), tensor(np.int64([[0], [1]])), tensor(np.ones((2, 2)))
            ),
            ValueError,
            "put_along_axis: 'values' has shape [2, 2], which does not broadcast to the [2, 1] "
            "places of x of shape [2, 3] that are written to",
        ),
        Mistake(
            lambda: ops.put_along_axis(
                tensor(np.ones(3)), tensor(np.int64([0])), tensor(np.ones(1)), reduce="mean"
            ),
            ValueError,
            "put_along_axis: reduce is 'mean'; accepted are 'update', 'add', 'max' and 'min'",
        ),
    ),
)
