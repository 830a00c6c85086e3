# SPDX-License-Identifier: Apache-2.0
import math

import numpy as np
from families import unary, unary_samples

ERF = np.vectorize(math.erf, otypes=[float])


def gelu(x: np.ndarray, approximate: bool = False) -> np.ndarray:
    if approximate:
        return 0.5 * x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))
    return 0.5 * x * (1 + ERF(x / math.sqrt(2)))


ROW = unary("gelu", gelu, samples=(*unary_samples(), *unary_samples(approximate=True)))
