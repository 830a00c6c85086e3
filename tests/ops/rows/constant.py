# SPDX-License-Identifier: Apache-2.0
import numpy as np
from row import BOOL, FLOATS, INTS, A, Mistake, Row, S, round_to, tensor

import ostria as ost

VALUES = np.array([[0.0, 1.5, -2.0], [7.0, 0.25, 100.0]])


def held(t: str) -> np.ndarray:
    """VALUES as dtype `t` holds them, without what unsigned integers cannot."""
    return round_to(np.abs(VALUES) if t[0] == "u" else VALUES, t)


# x + a constant of every dtype, so that the constant stays part of a traced graph.
ROW = Row(
    op="constant",
    fn=lambda x, t: ost.add(x, ost.cast(ost._native.ops.constant(tensor(held(t), t)), "float64")),
    ref=lambda x, t: x + held(t).astype(float),
    samples=(
        S(A(), t="float64"),
        S(A("n", 1, 1), t="float32"),
        *(S(A(2, 3), t=t) for t in FLOATS + INTS + BOOL),
    ),
    dtypes=("float64",),
    errors=(
        Mistake(
            lambda: ost._native.ops.constant(),
            TypeError,
            "constant: attribute 'value' (tensor) is missing",
        ),
    ),
)
