# SPDX-License-Identifier: Apache-2.0
import numpy as np
from families import nearby, reduction
from row import BOOL, FLOATS, INTS

ROW = reduction(
    "sum",
    np.sum,
    dtypes=FLOATS + INTS + BOOL,
    result=lambda t: t if "float" in t else "uint64" if t[0] == "u" else "int64",
    domain_of=nearby,
    # 71 * 229 numbers of both signs: rounding is relative to the largest partial sum, not to the
    # result.
    slack=20.0,
)
