# SPDX-License-Identifier: Apache-2.0
import numpy as np
from families import unary

ROW = unary("reciprocal", np.reciprocal, domain=(0.4, 3.0))
