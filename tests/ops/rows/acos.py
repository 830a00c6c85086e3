# SPDX-License-Identifier: Apache-2.0
import numpy as np
from families import unary

ROW = unary("acos", np.arccos, domain=(-0.9, 0.9))
