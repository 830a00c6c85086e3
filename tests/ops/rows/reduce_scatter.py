# SPDX-License-Identifier: Apache-2.0
from row import FLOATS, INTS, A, Mistake, Row, S

import ostria as ost

ops = ost._native.ops

ROW = Row(
    op="reduce_scatter",
    ref=lambda x, reduction="sum", replicas=1: x,
    samples=(S(A("n", 3)), S(A(1)), S(A(0, 2)), S(A(71, 229), reduction="sum"), S(A(4))),
    dtypes=FLOATS + INTS,
    errors=(
        Mistake(
            lambda: ops.reduce_scatter(ost.asarray(1.0)),
            ValueError,
            "reduce_scatter: a tensor of rank 0 has no axis to cut; expand_dims it first",
        ),
        Mistake(
            lambda: ops.reduce_scatter(ost.ones(5), replicas=2),
            ValueError,
            "reduce_scatter: axis 0 of shape [5] is not a multiple of the 2 replicas; pad it with "
            "zeros",
        ),
        Mistake(
            lambda: ops.reduce_scatter(ost.ones(4), replicas=2),
            ost.DistributedError,
            "reduce_scatter: it was traced for 2 replica(s), but 1, outside of a distributed run, "
            "calls it",
        ),
    ),
)
