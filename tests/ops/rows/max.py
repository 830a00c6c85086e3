# SPDX-License-Identifier: Apache-2.0
import numpy as np
from families import nearby, reduction
from row import FLOATS, Mistake, S, V, tensor

import ostria as ost

ROW = reduction(
    "max",
    lambda x, **attrs: (
        np.max(x, initial=-np.inf if x.dtype.kind == "f" else None, **attrs)
        if x.dtype.kind == "f"
        else np.max(x, **attrs)
    ),
    extra=(S(V([[1.0, 3.0], [4.0, 2.0]]), axis=0),),
    dtypes=FLOATS,
    domain_of=nearby,
    errors=(
        Mistake(
            lambda: ost.max(tensor(np.ones((0, 3), np.int32)), axis=0),
            ValueError,
            "max: no elements to reduce in int32[0, 3], and int32 has no infinity to return; "
            "give at "
            "least one element, or cast to a float",
        ),
    ),
)
