# SPDX-License-Identifier: Apache-2.0
import numpy as np
from families import unary, unary_samples

ROW = unary(
    "leaky_relu",
    lambda x, negative_slope=0.2: np.where(x > 0, x, negative_slope * x),
    samples=(*unary_samples(), *unary_samples(negative_slope=0.5)[:5]),
    kinks=(0.0,),
)
