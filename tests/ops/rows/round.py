# SPDX-License-Identifier: Apache-2.0
import numpy as np
from families import unary
from row import FLOATS, SOME_INTS

ROW = unary("round", np.round, dtypes=FLOATS + SOME_INTS, kinks=(-2.5, -1.5, -0.5, 0.5, 1.5, 2.5))
