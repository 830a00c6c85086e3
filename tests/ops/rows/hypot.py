# SPDX-License-Identifier: Apache-2.0
import numpy as np
from families import binary

ROW = binary("hypot", np.hypot, domain=(0.3, 3.0))
