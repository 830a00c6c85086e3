# SPDX-License-Identifier: Apache-2.0
from row import FLOATS, INTS, A, Mistake, Row, S

import ostria as ost

ops = ost._native.ops

ROW = Row(
    op="all_reduce_start",
    fn=lambda *xs, **attrs: ops.all_reduce_start(list(xs), **attrs),
    ref=lambda *xs, slot, reduction="sum": xs,
    samples=(S(A(71, 229), A(3), slot=0), S(A("n", 2), slot=3, reduction="max"), S(A(0), slot=1)),
    dtypes=FLOATS + INTS,
    gradients=(),
    errors=(
        Mistake(
            lambda: ops.all_reduce_start([ost.ones(2)], slot=-1),
            ValueError,
            "all_reduce_start: slot must not be negative",
        ),
    ),
)
