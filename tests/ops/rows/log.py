# SPDX-License-Identifier: Apache-2.0
import numpy as np
from families import unary

ROW = unary("log", np.log, domain=(0.3, 4.0))
