# SPDX-License-Identifier: Apache-2.0
import numpy as np
from families import binary, binary_samples
from row import FLOATS, S, V

# The slope in the exponent needs a positive base; that in the base is checked at 0 and below too.
ROW = binary(
    "pow",
    np.power,
    samples=(*binary_samples(), S(V([0.5, 1.0, 2.0, 3.0]), V([0.0, 2.0, 3.0, 1.0]))),
    dtypes=(*FLOATS, "int32", "int64", "uint8"),
    domain_of=lambda t: (0.4, 2.5) if "float" in t else (0, 4),
)
