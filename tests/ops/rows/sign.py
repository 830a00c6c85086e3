# SPDX-License-Identifier: Apache-2.0
import numpy as np
from families import nearby, unary
from row import FLOATS, INTS

ROW = unary("sign", np.sign, dtypes=FLOATS + INTS, kinks=(0.0,), domain_of=nearby)
