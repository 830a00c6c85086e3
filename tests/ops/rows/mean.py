# SPDX-License-Identifier: Apache-2.0
import numpy as np
from families import reduction
from row import Mistake, tensor

import ostria as ost


def mean(
    x: np.ndarray, axis: int | tuple[int, ...] | None = None, keepdims: bool = False
) -> np.ndarray:
    """NumPy's, but 0 for no elements."""
    count = np.sum(np.ones_like(x), axis=axis, keepdims=keepdims)
    return np.sum(x, axis=axis, keepdims=keepdims) / np.maximum(count, 1)


ROW = reduction(
    "mean",
    mean,
    errors=(
        Mistake(
            lambda: ost.mean(tensor(np.int32([1, 2]))),
            TypeError,
            "mean: needs a tensor of floating-point dtype, but 'x' is int32[2]; cast it first, "
            "as in "
            'cast(x, "float32")',
        ),
    ),
)
