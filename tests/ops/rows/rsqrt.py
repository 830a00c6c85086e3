# SPDX-License-Identifier: Apache-2.0
import numpy as np
from families import unary

ROW = unary("rsqrt", lambda x: 1 / np.sqrt(x), domain=(0.2, 4.0))
