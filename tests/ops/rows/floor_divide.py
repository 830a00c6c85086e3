# SPDX-License-Identifier: Apache-2.0
import numpy as np
from families import binary, binary_samples
from row import FLOATS, SOME_INTS, S, V

SIGNS = S(V([7, -7, 7, -7]), V([2, 2, -2, -2]))
ROW = binary(
    "floor_divide",
    np.floor_divide,
    samples=(*binary_samples(), SIGNS),
    dtypes=tuple(t for t in FLOATS + SOME_INTS if t[0] != "u"),
    domain_of=lambda t: (1.1, 1.9) if "float" in t else (1, 9),
)
