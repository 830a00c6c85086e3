# SPDX-License-Identifier: Apache-2.0
import numpy as np
from families import unary

ROW = unary(
    "hard_silu", lambda x: x * np.clip(x + 3, 0, 6) / 6, domain=(-5.0, 5.0), kinks=(-3.0, 3.0)
)
