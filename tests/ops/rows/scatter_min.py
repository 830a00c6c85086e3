# SPDX-License-Identifier: Apache-2.0
import numpy as np
from row import FLOATS, INTS
from scatters import scatter

ROW = scatter("scatter_min", np.minimum, FLOATS + INTS)
