# SPDX-License-Identifier: Apache-2.0
import numpy as np
from families import unary

ROW = unary("tan", np.tan, domain=(-1.2, 1.2))
