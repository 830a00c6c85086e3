# SPDX-License-Identifier: Apache-2.0
import numpy as np
from families import binary, binary_samples
from row import S, V

SIGNS = S(V([7, -7, 7, -7]), V([2, 2, -2, -2]))
ROW = binary(
    "remainder",
    np.remainder,
    samples=(*binary_samples(), SIGNS),
    # Halves are less exact here: next to a multiple of y one rounding step moves the result by y.
    dtypes=("float32", "float64", "int8", "int32", "int64"),
    domain_of=lambda t: (1.1, 1.9) if "float" in t else (1, 9),
    # 7 / 2 and its like lie on no jump, but slopes in y differ at equal operands.
    second=False,
)
