# SPDX-License-Identifier: Apache-2.0
import numpy as np
from families import unary, unary_samples
from row import Mistake, tensor

import ostria as ost

ROW = unary(
    "threshold",
    lambda x, threshold, default_value: np.where(x > threshold, x, default_value),
    samples=(
        *unary_samples(threshold=0.5, default_value=-2.0),
        *unary_samples(threshold=-1.0, default_value=0.25)[:5],
    ),
    kinks=(-1.0, 0.5),
    errors=(
        Mistake(
            lambda: ost._native.ops.threshold(tensor(np.int32([1, 2])), 0.0, 0.0),
            TypeError,
            "threshold: needs a tensor of floating-point dtype, but 'x' is int32[2]",
        ),
    ),
)
