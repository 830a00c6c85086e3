# SPDX-License-Identifier: Apache-2.0
import numpy as np
from families import binary, nearby
from row import BOOL, INTS

ROW = binary("bitwise_xor", np.bitwise_xor, dtypes=INTS + BOOL, domain_of=nearby)
