# SPDX-License-Identifier: Apache-2.0
import numpy as np
from row import FLOATS, A, Mistake, Row, S, V, tensor

import ostria as ost

ops = ost._native.ops


def ref(a, b, axis=0, exclusive=False, reverse=False):
    """Element by element."""
    a, b = (np.moveaxis(v, axis, 0)[:: -1 if reverse else 1] for v in (a, b))
    y, carry = np.zeros(b.shape), np.zeros(b.shape[1:])
    for i in range(len(b)):
        own = (a[i] * carry if i else 0) + b[i]
        y[i] = carry if exclusive else own
        carry = own
    return np.moveaxis(y[:: -1 if reverse else 1], 0, axis)


ROW = Row(
    op="linear_scan",
    ref=ref,
    samples=(
        S(A(1), A(1)),
        S(A(0), A(0)),
        S(A(5), A(5), reverse=True),
        S(A("n", 3), A("n", 3)),
        S(A("n", 3), A("n", 3), exclusive=True, reverse=True),
        S(A("n", 4), A("n", 4), axis=-1, exclusive=True),
        S(A(2, 3, 2), A(2, 3, 2), axis=1),
        S(A(71, 229), A(71, 229)),
        S(A(71, 229), A(71, 229), axis=1),
        S(V([0.0, 2.0, 0.0, -1.0]), A(4)),
    ),
    dtypes=FLOATS,
    domain=(-1.0, 1.0),
    errors=(
        Mistake(
            lambda: ops.linear_scan(tensor(np.ones(4)), tensor(np.ones(3))),
            ValueError,
            "linear_scan: 'a' has shape [4] and 'b' has shape [3]; they must be equal",
        ),
    ),
)
