# SPDX-License-Identifier: Apache-2.0
import numpy as np
from families import binary

ROW = binary("divide", np.divide, domain=(0.4, 3.0))
