# SPDX-License-Identifier: Apache-2.0
import numpy as np
from families import nearby, unary
from row import FLOATS

ROW = unary(
    "relu", lambda x: np.maximum(x, 0), dtypes=(*FLOATS, "int32"), kinks=(0.0,), domain_of=nearby
)
