# SPDX-License-Identifier: Apache-2.0
import numpy as np
from scatters import scatter

# Whole sums are rounded after every step: in halves the order would have to be the reference's.
ROW = scatter("scatter_add", np.add, ("float32", "float64", "int8", "int32", "int64", "uint8"))
