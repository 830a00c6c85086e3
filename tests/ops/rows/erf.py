# SPDX-License-Identifier: Apache-2.0
import math

import numpy as np
from families import unary

ROW = unary("erf", np.vectorize(math.erf, otypes=[float]))
