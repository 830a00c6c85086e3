# SPDX-License-Identifier: Apache-2.0
import numpy as np
from families import unary

ROW = unary("softsign", lambda x: x / (1 + np.abs(x)))
