# SPDX-License-Identifier: Apache-2.0
import numpy as np
from families import nearby, unary
from row import BOOL, INTS

ROW = unary("bitwise_invert", np.invert, dtypes=INTS + BOOL, domain_of=nearby)
