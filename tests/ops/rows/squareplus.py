# SPDX-License-Identifier: Apache-2.0
import numpy as np
from families import _float_only, unary, unary_samples
from row import Mistake, S, V, tensor

import ostria as ost


def squareplus(x: np.ndarray, b: float = 4.0) -> np.ndarray:
    root = np.hypot(x, np.sqrt(b))
    return np.where(x > 0, (root + x) / 2, b / (2 * (root + np.abs(x))))


ROW = unary(
    "squareplus",
    squareplus,
    samples=(
        *unary_samples(),
        *unary_samples(b=0.5)[:5],
        S(V([-6e4, -300.0, 0.0, 300.0, 6e4])),  # x^2 overflows a float16
    ),
    errors=(
        _float_only("squareplus"),
        Mistake(
            lambda: ost._native.ops.squareplus(tensor(np.ones(2)), b=0.0),
            ValueError,
            "squareplus: b is 0, but must be positive",
        ),
    ),
)
