# SPDX-License-Identifier: Apache-2.0
import numpy as np
from families import binary, nearby
from row import FLOATS, INTS

ROW = binary("subtract", np.subtract, dtypes=FLOATS + INTS, domain_of=nearby)
