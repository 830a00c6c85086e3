# SPDX-License-Identifier: Apache-2.0
import numpy as np
from row import A, Mistake, Row, S, tensor

import ostria as ost

SHAPES = ((), (1,), (0,), ("n", 4), (71, 229))
ROW = Row(
    op="relu_grad",
    ref=lambda g, y: np.where(y > 0, g, 0),
    samples=tuple(S(A(*shape), A(*shape)) for shape in SHAPES),
    kinks=(0.0,),
    errors=(
        Mistake(
            lambda: ost._native.ops.relu_grad(tensor(np.int32([1])), tensor(np.int32([1]))),
            TypeError,
            "relu_grad: needs a tensor of floating-point dtype, but 'g' is int32[1]; cast it "
            "first, as in "
            'cast(g, "float32")',
        ),
    ),
)
