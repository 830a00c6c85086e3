# SPDX-License-Identifier: Apache-2.0
import numpy as np
from families import nearby, unary, unary_samples
from row import FLOATS, INTS, Mistake, S, V, tensor

import ostria as ost

ROW = unary(
    "clip",
    lambda x, min=-np.inf, max=np.inf: np.clip(x, min, max).astype(x.dtype),
    samples=(
        *unary_samples(min=0.0, max=2.0),
        *unary_samples(max=1.0)[:3],
        S(V([1.0, 2.5, 3.0]), min=2.0),
        S(V([1.0, 2.0, 3.0])),
    ),
    dtypes=FLOATS + INTS,
    domain_of=nearby,
    kinks=(0.0, 1.0, 2.0),
    gradients=(0,),
    errors=(
        Mistake(
            lambda: ost._native.ops.clip(tensor(np.float32([1])), 1.0, 0.0),
            ValueError,
            "clip: the limits min=1 and max=0 leave no value between them; give min <= max, and "
            "neither "
            "as NaN",
        ),
    ),
)
