# SPDX-License-Identifier: Apache-2.0
import numpy as np
from families import unary

ROW = unary("mish", lambda x: x * np.tanh(np.logaddexp(x, 0)))
