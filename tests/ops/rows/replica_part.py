# SPDX-License-Identifier: Apache-2.0
from row import BOOL, FLOATS, INTS, A, Mistake, Row, S

import ostria as ost

ops = ost._native.ops

ROW = Row(
    op="replica_part",
    ref=lambda x, replicas=1: x,
    samples=(S(A("n", 3)), S(A(1)), S(A(0, 2)), S(A(71, 229))),
    dtypes=FLOATS + INTS + BOOL,
    gradients=(),
    errors=(
        Mistake(
            lambda: ops.replica_part(ost.asarray(1.0)),
            ValueError,
            "replica_part: a tensor of rank 0 has no axis to cut; expand_dims it first",
        ),
        Mistake(
            lambda: ops.replica_part(ost.ones(5), replicas=2),
            ValueError,
            "replica_part: axis 0 of shape [5] is not a multiple of the 2 replicas; pad it with "
            "zeros",
        ),
        Mistake(
            lambda: ops.replica_part(ost.ones(4), replicas=2),
            ost.DistributedError,
            "replica_part: it was traced for 2 replica(s), but 1, outside of a distributed run, "
            "calls it",
        ),
    ),
)
