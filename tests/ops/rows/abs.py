# SPDX-License-Identifier: Apache-2.0
import numpy as np
from families import nearby, unary
from row import FLOATS, INTS

ROW = unary("abs", np.abs, dtypes=FLOATS + INTS, kinks=(0.0,), domain_of=nearby)
