# SPDX-License-Identifier: Apache-2.0
import numpy as np
from families import nearby, unary
from row import BOOL, FLOATS, SOME_INTS

ROW = unary(
    "logical_not", np.logical_not, dtypes=FLOATS + SOME_INTS + BOOL, domain_of=nearby, result="bool"
)
