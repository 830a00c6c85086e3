# SPDX-License-Identifier: Apache-2.0
import numpy as np
from families import nearby
from row import BOOL, FLOATS, INTS, A, Mistake, Row, S, tensor

import ostria as ost

ops = ost._native.ops

ROW = Row(
    op="concat",
    fn=lambda *xs, axis=0: ops.concat(list(xs), axis),
    ref=lambda *xs, axis=0: np.concatenate(xs, axis),
    samples=(
        S(A(1)),
        S(A(0), A(0)),
        S(A(3), A(0), A(2)),
        S(A("n", 2), A("n", 3), axis=-1),
        S(A("n", 2), A(3, 2), A("n", 2)),
        S(A(2, 3, 2), A(2, 1, 2), axis=1),
        S(A(71, 229), A(71, 3), axis=1),
        S(*[A(2, 2)] * 20),
    ),
    dtypes=FLOATS + INTS + BOOL,
    domain_of=nearby,
    errors=(
        Mistake(
            lambda: ops.concat([tensor(np.ones((2, 3))), tensor(np.ones((2, 4)))], 0),
            ValueError,
            "concat: 'xs1' has shape [2, 4] and 'xs0' has shape [2, 3]; joined along axis 0, all "
            "other "
            "sizes must be equal",
        ),
        Mistake(
            lambda: ops.concat([], 0),
            ValueError,
            "concat: needs at least one tensor, but none was given",
        ),
    ),
)
