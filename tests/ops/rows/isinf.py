# SPDX-License-Identifier: Apache-2.0
import numpy as np
from families import unary, unary_samples
from row import FLOATS, S, V

SPECIAL = V([0.0, 1.0, -2.5, np.inf, -np.inf, np.nan])
ROW = unary("isinf", np.isinf, samples=(*unary_samples(), S(SPECIAL)), result="bool", dtypes=FLOATS)
