# SPDX-License-Identifier: Apache-2.0
import numpy as np
from row import FLOATS, SOME_INTS
from scatters import segment

ROW = segment(
    "segment_sum",
    lambda x: np.sum(x, 0, x.dtype),
    lambda dtype: 0,
    FLOATS + SOME_INTS,
    slack=8.0,  # sums of thousands in float32
)
