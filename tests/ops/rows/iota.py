# SPDX-License-Identifier: Apache-2.0
import numpy as np
from row import FLOATS, INTS, Mistake, Row, S

import ostria as ost

ops = ost._native.ops
ROW = Row(
    op="iota",
    fn=lambda length, dtype="int64": ost.cast(ops.iota((length,), dtype), "float64"),
    ref=lambda length, dtype="int64": np.arange(float(length)),
    samples=(
        S(length=0),
        S(length=1),
        S(length=16259, dtype="float32"),
        *(S(length=100, dtype=t) for t in FLOATS + INTS),
    ),
    dtypes=("float64",),
    batch="it has no inputs",
    errors=(
        Mistake(
            lambda: ops.iota((2, 3)),
            ValueError,
            "iota: length must be a shape of one dimension, but is [2, 3]; give one number",
        ),
        Mistake(
            lambda: ops.iota((2,), "bool"),
            TypeError,
            "iota: numbers 0..n-1 do not fit bool; give an integer or floating-point dtype",
        ),
    ),
)
