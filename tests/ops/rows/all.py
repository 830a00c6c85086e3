# SPDX-License-Identifier: Apache-2.0
import numpy as np
from families import nearby, reduction
from row import BOOL, FLOATS, SOME_INTS

ROW = reduction("all", np.all, dtypes=FLOATS + SOME_INTS + BOOL, result="bool", domain_of=nearby)
