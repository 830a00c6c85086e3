# SPDX-License-Identifier: Apache-2.0
import numpy as np
from families import unary

ROW = unary("acosh", np.arccosh, domain=(1.2, 4.0))
