# SPDX-License-Identifier: Apache-2.0
import numpy as np
from families import _float_only, unary, unary_samples
from row import Mistake, tensor

import ostria as ost

ROW = unary(
    "soft_shrink",
    lambda x, threshold=0.5: np.sign(x) * np.maximum(np.abs(x) - threshold, 0),
    samples=(*unary_samples(), *unary_samples(threshold=1.0)[:5], *unary_samples(threshold=0.0)),
    kinks=(-1.0, -0.5, 0.0, 0.5, 1.0),
    errors=(
        _float_only("soft_shrink"),
        Mistake(
            lambda: ost._native.ops.soft_shrink(tensor(np.ones(2)), threshold=-0.5),
            ValueError,
            "soft_shrink: threshold is -0.5, but must be at least 0",
        ),
    ),
)
