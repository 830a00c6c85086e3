# SPDX-License-Identifier: Apache-2.0
import numpy as np
from row import FLOATS, SOME_INTS
from scatters import scatter

ROW = scatter("scatter_add", np.add, FLOATS + SOME_INTS)
