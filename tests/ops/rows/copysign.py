# SPDX-License-Identifier: Apache-2.0
import numpy as np
from families import binary

ROW = binary("copysign", np.copysign, kinks=(0.0,))
