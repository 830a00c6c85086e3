# SPDX-License-Identifier: Apache-2.0
import numpy as np
from families import unary

ROW = unary("relu6", lambda x: np.clip(x, 0, 6), domain=(-4.0, 9.0), kinks=(0.0, 6.0))
