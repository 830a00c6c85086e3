# SPDX-License-Identifier: Apache-2.0
import numpy as np
from families import nearby
from row import BOOL, FLOATS, INTS, A, B, Mistake, Row, S, tensor

import ostria as ost

ops = ost._native.ops
ROW = Row(
    op="where",
    ref=np.where,
    samples=(
        S(B(), A(), A()),
        S(B(1), A(), A(1)),
        S(B(0), A(1), A()),
        S(B("n", 1), A("n", 3), A(3)),
        S(B(2, 3), A(2, 3), A(2, 3)),
        S(B(71, 229), A(71, 1), A(229)),
    ),
    dtypes=FLOATS + INTS + BOOL,
    domain_of=nearby,
    errors=(
        Mistake(
            lambda: ops.where(
                tensor(np.float32([1])), tensor(np.float32([1])), tensor(np.float32([2]))
            ),
            TypeError,
            "where: needs a tensor of bool dtype, but 'condition' is float32[1]; cast it first, "
            "as in "
            'cast(condition, "bool")',
        ),
    ),
)
