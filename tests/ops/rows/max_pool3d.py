# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import images
import numpy as np
from row import A, Mistake, Row, S, tensor

import ostria as ost

ops = ost._native.ops


def _x():
    return tensor(np.ones((1, 4, 4, 4, 2), np.float32))


ROW = Row(
    op="max_pool3d",
    ref=images.max_pool,
    samples=tuple(S(A(*x), **attrs) for x, attrs in images.POOLS[3]),
    errors=(
        Mistake(
            lambda: ops.max_pool3d(_x(), window=[2, 2], strides=[1, 1]),
            ValueError,
            "max_pool3d: window must be 3 integers of at least 1, but is (2, 2)",
        ),
    ),
)
