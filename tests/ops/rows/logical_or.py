# SPDX-License-Identifier: Apache-2.0
import numpy as np
from families import binary, nearby
from row import BOOL, FLOATS, SOME_INTS

ROW = binary(
    "logical_or", np.logical_or, dtypes=FLOATS + SOME_INTS + BOOL, domain_of=nearby, result="bool"
)
