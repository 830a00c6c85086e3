# SPDX-License-Identifier: Apache-2.0
import numpy as np
from families import nearby
from row import BOOL, FLOATS, INTS, A, Mistake, Row, S, V, tensor

import ostria as ost

ops = ost._native.ops


def order(x, axis=-1, descending=False):
    """Stable, NaN last: by whether it is NaN, then by the element, negated when descending."""
    x = np.moveaxis(np.asarray(x), axis, -1)
    y = np.zeros(x.shape, np.int64)
    for at in np.ndindex(x.shape[:-1]):
        row = x[at].tolist()
        keys = [(v != v, 0 if v != v else -v if descending else v) for v in row]
        y[at] = sorted(range(len(row)), key=keys.__getitem__)
    return np.moveaxis(y, -1, axis)


ROW = Row(
    op="argsort",
    ref=order,
    samples=(
        S(A(1)),
        S(A(0)),
        S(A(2, 0)),
        S(A(7), axis=0),
        S(A("n", 4)),
        S(A("n", 3), axis=0),
        S(A("n", 4), descending=True),
        S(A(2, 5, 3), axis=1, descending=True),
        S(A(71, 229), axis=0),
        S(A(71, 229)),
        S(A(3001)),
        S(A(3001), descending=True),
        S(V([3, 1, 3, 1, 2, 3]), descending=True),
        S(V([3, 1, 3, 1, 2, 3])),
        *(
            S(V([0.5, np.nan, -np.inf, 0.0, np.inf, -0.0, -2.0, np.nan, 2.0], t), descending=down)
            for t in ("float16", "bfloat16", "float32", "float64")
            for down in (False, True)
        ),
    ),
    dtypes=FLOATS + INTS + BOOL,
    domain_of=nearby,
    result="int64",
    errors=(
        Mistake(
            lambda: ops.argsort(tensor(np.ones(4)), 1),
            ValueError,
            "argsort: axis 1 is out of range for a tensor of rank 1 (shape [4]); valid axes are "
            "-1..0",
        ),
        Mistake(
            lambda: ops.argsort(tensor(np.ones(())), 0),
            ValueError,
            "argsort: axis 0 is out of range: a tensor of rank 0 has no axes",
        ),
    ),
)
