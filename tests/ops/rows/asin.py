# SPDX-License-Identifier: Apache-2.0
import numpy as np
from families import unary

ROW = unary("asin", np.arcsin, domain=(-0.9, 0.9))
