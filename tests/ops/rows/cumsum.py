# SPDX-License-Identifier: Apache-2.0
import numpy as np
from families import nearby
from row import BOOL, FLOATS, INTS, A, Mistake, Row, S, tensor

import ostria as ost

ops = ost._native.ops


def ref(x, axis=0, exclusive=False, reverse=False):
    """NumPy's, turned round, and moved on by one."""
    x = x if x.dtype.kind == "f" else x.astype(np.uint64 if x.dtype.kind == "u" else np.int64)
    y = np.cumsum(np.flip(x, axis) if reverse else x, axis)
    if exclusive:
        before = np.full_like(np.take(y, [0] if y.shape[axis] else [], axis), 0)
        y = np.concatenate([before, np.take(y, range(y.shape[axis] - 1), axis)], axis)
    return np.flip(y, axis) if reverse else y


ROW = Row(
    op="cumsum",
    ref=ref,
    samples=(
        S(A(1)),
        S(A(1), exclusive=True),
        S(A(0)),
        S(A(0), exclusive=True),
        S(A(3, 0), axis=1),
        S(A(5), reverse=True),
        S(A("n", 3)),
        S(A("n", 3), axis=0, exclusive=True, reverse=True),
        S(A("n", 4), axis=-1, exclusive=True),
        S(A(2, 3, 2), axis=1, reverse=True),
        S(A(71, 229)),
        S(A(71, 229), axis=1, exclusive=True),
    ),
    dtypes=FLOATS + INTS + BOOL,
    result=lambda t: t if "float" in t else "uint64" if t[0] == "u" else "int64",
    domain_of=nearby,
    errors=(
        Mistake(
            lambda: ops.cumsum(tensor(np.ones(4)), 1),
            ValueError,
            "cumsum: axis 1 is out of range for a tensor of rank 1 (shape [4]); valid axes are "
            "-1..0",
        ),
    ),
)
