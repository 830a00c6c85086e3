# SPDX-License-Identifier: Apache-2.0
import numpy as np
from families import unary

ROW = unary("log10", np.log10, domain=(0.2, 4.0))
