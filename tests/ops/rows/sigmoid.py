# SPDX-License-Identifier: Apache-2.0
import numpy as np
from families import unary

ROW = unary("sigmoid", lambda x: 1 / (1 + np.exp(-x)))
