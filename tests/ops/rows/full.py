# SPDX-License-Identifier: Apache-2.0
import numpy as np
from row import BOOL, FLOATS, INTS, Mistake, Row, S

import ostria as ost

ops = ost._native.ops

ROW = Row(
    op="full",
    fn=lambda shape, dtype, value=0.0: ost.cast(ops.full(shape, dtype, value), "float64"),
    ref=lambda shape, dtype, value=0.0: np.full(
        shape, float(bool(value) if dtype == "bool" else value)
    ),
    samples=(
        S(shape=(), dtype="float32", value=2.5),
        S(shape=(1,), dtype="float64", value=-np.inf),
        S(shape=(0, 3), dtype="float32", value=1.0),
        S(shape=(71, 229), dtype="float32", value=0.25),
        *(S(shape=(3,), dtype=t, value=3.0) for t in FLOATS + INTS + BOOL),
    ),
    dtypes=("float64",),
    batch="it has no inputs; symbolic shapes are tested through the gradients that use it",
    errors=(Mistake(lambda: ops.full((2,), "float99", 1.0), TypeError, "float99"),),
)
