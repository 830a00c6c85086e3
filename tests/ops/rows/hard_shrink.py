# SPDX-License-Identifier: Apache-2.0
import numpy as np
from families import _float_only, unary, unary_samples
from row import Mistake, tensor

import ostria as ost

ROW = unary(
    "hard_shrink",
    lambda x, threshold=0.5: np.where(np.abs(x) > threshold, x, 0),
    samples=(*unary_samples(), *unary_samples(threshold=1.0)[:5]),
    kinks=(-1.0, -0.5, 0.5, 1.0),
    errors=(
        _float_only("hard_shrink"),
        Mistake(
            lambda: ost._native.ops.hard_shrink(tensor(np.ones(2)), threshold=-0.5),
            ValueError,
            "hard_shrink: threshold is -0.5, but must be at least 0",
        ),
    ),
)
