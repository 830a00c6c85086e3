# SPDX-License-Identifier: Apache-2.0
import numpy as np
from families import binary, binary_samples, nearby, tensor
from row import INTS, Mistake, S, V

import ostria as ost

# A count as large as the width or larger, and, of signed integers, a negative one.
FAR = S(V([1, 5, 127, 100, 1]), V([7, 8, 9, 64, 100]))
ROW = binary(
    "bitwise_left_shift",
    np.left_shift,
    samples=(*binary_samples(), FAR),
    errors=(
        Mistake(
            lambda: ost.bitwise_left_shift(tensor(np.float32([1])), tensor(np.float32([1]))),
            TypeError,
            "bitwise_left_shift: needs a tensor of integer dtype, but 'x' is float32[1]; cast it "
            'first, as in cast(x, "int32")',
        ),
    ),
    dtypes=INTS,
    domain_of=nearby,
)
