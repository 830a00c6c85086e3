# SPDX-License-Identifier: Apache-2.0
import numpy as np
from families import _float_only
from row import A, Mistake, Row, S, tensor

import ostria as ost


def glu(x: np.ndarray, axis: int = -1) -> np.ndarray:
    a, b = np.split(x, 2, axis)
    return a / (1 + np.exp(-b))


ROW = Row(
    op="glu",
    ref=glu,
    samples=(
        S(A(2)),
        S(A(0)),
        S(A("n", 4)),
        S(A("n", 6, 3), axis=1),
        S(A(2, 0, 4)),
        S(A(4, 3), axis=-2),
        S(A(71, 230)),
        S(A(72, 229), axis=0),
    ),
    errors=(
        _float_only("glu"),
        Mistake(
            lambda: ost._native.ops.glu(tensor(np.ones((2, 3)))),
            ValueError,
            "glu: axis 1 of [2, 3] is halved, so its size must be even and known while tracing; "
            "give another axis, or twice as many features",
        ),
    ),
)
