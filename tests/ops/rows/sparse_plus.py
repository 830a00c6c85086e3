# SPDX-License-Identifier: Apache-2.0
import numpy as np
from families import unary, unary_samples
from row import S, V

ROW = unary(
    "sparse_plus",
    lambda x: np.where(x >= 1, x, np.square(np.clip(x + 1, 0, 2)) / 4),
    samples=(*unary_samples(), S(V([-6e4, -1.0, 1.0, 6e4]))),
    gradients=(0,),
    kinks=(-1.0, 1.0),
)
