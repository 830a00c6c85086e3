# SPDX-License-Identifier: Apache-2.0
import numpy as np
from families import unary

ROW = unary("log1p", np.log1p, domain=(-0.6, 3.0))
