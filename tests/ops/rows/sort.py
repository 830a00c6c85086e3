# SPDX-License-Identifier: Apache-2.0
import numpy as np
from families import nearby
from row import BOOL, FLOATS, INTS, A, Mistake, Row, S, V, tensor
from rows.argsort import order

import ostria as ost

ops = ost._native.ops

# Far enough apart to be moved without changing places.
SHUFFLED = np.random.default_rng(0).permutation(3001)

ROW = Row(
    op="sort",
    ref=lambda x, axis=-1, **attrs: np.take_along_axis(x, order(x, axis, **attrs), axis),
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
        S(V(SHUFFLED)),
        S(V(SHUFFLED), descending=True),
    ),
    dtypes=FLOATS + INTS + BOOL,
    domain_of=nearby,
    errors=(
        Mistake(
            lambda: ops.sort(tensor(np.ones(4)), 1),
            ValueError,
            "sort: axis 1 is out of range for a tensor of rank 1 (shape [4]); valid axes are -1..0",
        ),
        Mistake(
            lambda: ops.sort(tensor(np.ones(())), 0),
            ValueError,
            "sort: axis 0 is out of range: a tensor of rank 0 has no axes",
        ),
    ),
)
