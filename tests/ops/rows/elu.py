# SPDX-License-Identifier: Apache-2.0
import numpy as np
from families import unary, unary_samples

ROW = unary(
    "elu",
    lambda x, alpha=1.0: np.where(x > 0, x, alpha * np.expm1(x)),
    samples=(*unary_samples(), *unary_samples(alpha=1.5)[:5]),
    kinks=(0.0,),
)
