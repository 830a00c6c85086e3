# SPDX-License-Identifier: Apache-2.0
import numpy as np
from row import FLOATS
from scatters import segment

ROW = segment(
    "segment_mean",
    lambda x: np.mean(x, 0),
    lambda dtype: 0,
    FLOATS,
    slack=8.0,  # sums of thousands in float32
)
