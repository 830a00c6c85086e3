# SPDX-License-Identifier: Apache-2.0
import numpy as np
from families import unary, unary_samples
from row import S, V

ROW = unary(
    "log_sigmoid",
    lambda x: -np.logaddexp(-x, 0),
    samples=(*unary_samples(), S(V([-800.0, -20.0, 20.0, 800.0]))),
)
