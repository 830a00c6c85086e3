# SPDX-License-Identifier: Apache-2.0
import numpy as np
from families import unary
from row import FLOATS, SOME_INTS

ROW = unary(
    "trunc",
    np.trunc,
    dtypes=FLOATS + SOME_INTS,
    kinks=(-2.0, -1.0, 0.0, 1.0, 2.0),
    domain=(-2.9, 2.9),
)
