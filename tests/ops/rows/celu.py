# SPDX-License-Identifier: Apache-2.0
import numpy as np
from families import _float_only, unary, unary_samples
from row import Mistake, tensor

import ostria as ost

ROW = unary(
    "celu",
    lambda x, alpha=1.0: np.where(x > 0, x, alpha * np.expm1(np.minimum(x, 0) / alpha)),
    samples=(*unary_samples(), *unary_samples(alpha=1.5)[:5], *unary_samples(alpha=0.25)[:3]),
    kinks=(0.0,),
    errors=(
        _float_only("celu"),
        Mistake(
            lambda: ost._native.ops.celu(tensor(np.ones(2)), alpha=-1.0),
            ValueError,
            "celu: alpha is -1, but must be positive",
        ),
    ),
)
