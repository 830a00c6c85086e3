# SPDX-License-Identifier: Apache-2.0
import numpy as np
from families import unary

ROW = unary(
    "hard_sigmoid", lambda x: np.clip(x / 6 + 0.5, 0, 1), domain=(-5.0, 5.0), kinks=(-3.0, 3.0)
)
