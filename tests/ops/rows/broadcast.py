# SPDX-License-Identifier: Apache-2.0
from row import BOOL, FLOATS, INTS, A, Mistake, Row, S

import ostria as ost

ops = ost._native.ops

ROW = Row(
    op="broadcast",
    ref=lambda x, root=0: x,
    samples=(S(A("n", 3)), S(A()), S(A(0, 2)), S(A(71, 229))),
    dtypes=FLOATS + INTS + BOOL,
    gradients=(),
    errors=(
        Mistake(
            lambda: ops.broadcast(ost.ones(2), root=-1),
            ValueError,
            "broadcast: root is -1; it is a rank, 0 or more",
        ),
        Mistake(
            lambda: ops.broadcast(ost.ones(2), root=1),
            ost.DistributedError,
            "broadcast: root is rank 1, but the group has 1 rank(s); give one of 0..0",
        ),
    ),
)
