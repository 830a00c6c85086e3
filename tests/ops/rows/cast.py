# SPDX-License-Identifier: Apache-2.0
import numpy as np
from families import nearby
from row import BOOL, FLOATS, INTS, A, Mistake, Row, S, V, tensor

import ostria as ost

# To float64 and back through every dtype of a sample's own: small whole numbers survive both ways.
ROW = Row(
    op="cast",
    fn=lambda x, dtype: ost._native.ops.cast(ost._native.ops.cast(x, dtype), "float64"),
    ref=lambda x, dtype: x.astype(np.float64),
    samples=(
        S(A(), dtype="float64"),
        S(A(1), dtype="float64"),
        S(A(0), dtype="float32"),
        S(A("n", 4), dtype="float64"),
        S(A(71, 229), dtype="float64"),
        *(S(V([0, 1, 1, 0]), dtype=t) for t in FLOATS + INTS + BOOL),
        *(S(V([0, 1, 5, 100]), dtype=t) for t in FLOATS + INTS),
    ),
    dtypes=FLOATS + INTS,
    result="float64",
    domain_of=nearby,
    # Derivatives with respect to whole numbers that pass through an integer are 0 by rule.
    gradients=(),
    errors=(Mistake(lambda: ost.cast(tensor(np.float32([1])), "float99"), TypeError, "float99"),),
)
