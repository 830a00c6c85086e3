# SPDX-License-Identifier: Apache-2.0
import numpy as np
from row import I, Mistake, Row, S, V, tensor

import ostria as ost

ops = ost._native.ops


def ref(indices, depth, dtype="float32"):
    return (indices[..., None] == np.arange(depth)).astype(float)


ROW = Row(
    op="one_hot",
    ref=ref,
    # Every storage size, and both halves, whose one is no plain number.
    fn=lambda indices, depth, dtype="float32": ost.cast(
        ops.one_hot(indices, depth, dtype), "float32"
    ),
    samples=(
        S(V(1, "int64"), depth=3),
        S(I(1, high=1), depth=1),
        S(I(0, high=1), depth=3),
        S(I(3, high=2), depth=0),
        S(I("n", high=4), depth=4),
        S(I("n", 2, low=-1, high=6, dtype="int32"), depth=4),
        S(I(71, high=229), depth=229),
        *(
            S(I(5, high=3), depth=3, dtype=t)
            for t in ("bool", "int8", "int16", "int64", "float16", "bfloat16", "float64")
        ),
    ),
    dtypes=("float32",),
    errors=(
        Mistake(
            lambda: ops.one_hot(tensor(np.float32([1])), 3),
            TypeError,
            "one_hot: indices must be int32 or int64, but 'indices' is float32[1]; cast them "
            "first, as "
            'in cast(indices, "int64")',
        ),
        Mistake(
            lambda: ops.one_hot(tensor(np.int32([1])), -1),
            ValueError,
            "one_hot: depth is -1; it is the number of classes and must not be negative",
        ),
    ),
)
