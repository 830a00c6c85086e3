# SPDX-License-Identifier: Apache-2.0
import numpy as np
from row import FLOATS, INTS, A, Row, S

import ostria as ost

ops = ost._native.ops
ROW = Row(
    op="dim_product",
    fn=lambda x, dtype="int64": ost.cast(ops.dim_product(tuple(x.shape), dtype), "float64"),
    ref=lambda x, dtype="int64": np.float64(x.size),
    samples=(
        S(A(), dtype="float32"),
        S(A(0, 3)),
        *(S(A(2, 3, 4), dtype=t) for t in FLOATS + INTS),
    ),
    dtypes=("float64",),
    gradients=(),
    batch="the gradient of mean puts it over a symbolic batch; see the row of mean",
)
