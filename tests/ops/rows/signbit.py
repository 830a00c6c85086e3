# SPDX-License-Identifier: Apache-2.0
import numpy as np
from families import unary, unary_samples
from row import S, V

SPECIAL = V([0.0, -0.0, 1.0, -2.5, np.inf, -np.inf])
ROW = unary("signbit", np.signbit, samples=(*unary_samples(), S(SPECIAL)), result="bool")
