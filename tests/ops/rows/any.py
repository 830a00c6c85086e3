# SPDX-License-Identifier: Apache-2.0
import numpy as np
from families import nearby, reduction
from row import BOOL, FLOATS, SOME_INTS

ROW = reduction("any", np.any, dtypes=FLOATS + SOME_INTS + BOOL, result="bool", domain_of=nearby)
