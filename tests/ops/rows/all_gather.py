# SPDX-License-Identifier: Apache-2.0
from row import BOOL, FLOATS, INTS, A, Mistake, Row, S

import ostria as ost

ops = ost._native.ops

ROW = Row(
    op="all_gather",
    ref=lambda x, replicas=1: x,
    samples=(S(A("n", 3)), S(A(1)), S(A(0, 2)), S(A(71, 229))),
    dtypes=FLOATS + INTS + BOOL,
    errors=(
        Mistake(
            lambda: ops.all_gather(ost.asarray(1.0)),
            ValueError,
            "all_gather: a tensor of rank 0 has no axis to join along; expand_dims it first",
        ),
        Mistake(
            lambda: ops.all_gather(ost.ones(2), replicas=0),
            ValueError,
            "all_gather: replicas is 0; it must be at least 1",
        ),
        Mistake(
            lambda: ops.all_gather(ost.ones(2), replicas=2),
            ost.DistributedError,
            "all_gather: it was traced for 2 replica(s), but 1, outside of a distributed run, "
            "calls it",
        ),
    ),
)
