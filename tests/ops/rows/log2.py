# SPDX-License-Identifier: Apache-2.0
import numpy as np
from families import unary

ROW = unary("log2", np.log2, domain=(0.2, 4.0))
