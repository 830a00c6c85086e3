# SPDX-License-Identifier: Apache-2.0
import numpy as np
from families import binary

ROW = binary("logaddexp", np.logaddexp)
