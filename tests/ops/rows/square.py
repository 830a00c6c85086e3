# SPDX-License-Identifier: Apache-2.0
import numpy as np
from families import nearby, unary
from row import FLOATS, INTS

ROW = unary("square", np.square, dtypes=FLOATS + INTS, domain_of=nearby)
