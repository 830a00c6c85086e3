# SPDX-License-Identifier: Apache-2.0
import numpy as np
from families import _float_only
from row import A, Mistake, Row, S, V, tensor

import ostria as ost


def sparsemax(x: np.ndarray, axis: int = -1) -> np.ndarray:
    """By bisection of the threshold, not by sorting."""
    x = np.moveaxis(x, axis, -1)
    if x.size == 0:
        return np.moveaxis(x, -1, axis)
    high = x.max(-1, keepdims=True)
    low = high - 1
    for _ in range(60):
        middle = (low + high) / 2
        more = np.maximum(x - middle, 0).sum(-1, keepdims=True) > 1
        low, high = np.where(more, middle, low), np.where(more, high, middle)
    return np.moveaxis(np.maximum(x - low, 0), -1, axis)


ROW = Row(
    op="sparsemax",
    ref=sparsemax,
    samples=(
        S(A(1)),
        S(A(0)),
        S(A("n", 4)),
        S(A("n", 5, 3), axis=1),
        S(A(2, 0, 3)),
        S(A(4, 3), axis=0),
        S(A(71, 229)),
        S(V([[2.0, 2.0, 2.0, -1.0], [0.5, 0.25, 0.25, -0.5]])),
        S(V([[1000.0, 999.5, 0.0]])),
    ),
    gradients=(0,),
    errors=(
        _float_only("sparsemax"),
        Mistake(
            lambda: ost._native.ops.sparsemax(tensor(np.ones((2, 3))), axis=2),
            ValueError,
            "sparsemax: axis 2 is out of range",
        ),
    ),
    slack=4,  # sums of up to 229 numbers
)
