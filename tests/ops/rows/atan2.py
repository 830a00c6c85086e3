# SPDX-License-Identifier: Apache-2.0
import numpy as np
from families import binary

ROW = binary("atan2", np.arctan2, domain=(0.3, 3.0))
