# SPDX-License-Identifier: Apache-2.0
import numpy as np
from families import reduction
from row import S, V

# Factors near 1, so that 71 * 229 of them stay in range; float32 keeps 16 bits of such a product.
ROW = reduction(
    "prod",
    np.prod,
    extra=(
        S(V([2.0, 0.0, 3.0])),
        S(V([[2.0, 0.0, 3.0], [0.0, 0.0, 3.0], [0.0, 0.0, 0.0], [1.0, 2.0, 3.0]]), axis=1),
    ),
    dtypes=("float32", "float64", "int32", "int64", "uint8", "bool"),
    result=lambda t: t if "float" in t else "uint64" if t[0] == "u" else "int64",
    domain_of=lambda t: (0.999, 1.001) if "float" in t else (0, 1),
    slack=200.0,
)
