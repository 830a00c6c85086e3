# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import images
import numpy as np
from row import A, Mistake, Row, S, tensor

import ostria as ost

ops = ost._native.ops


def _x():
    return tensor(np.ones((1, 4, 4, 2), np.float32))


ROW = Row(
    op="avg_pool2d",
    ref=images.avg_pool,
    samples=tuple(S(A(*x), **attrs) for x, attrs in images.POOLS[2]),
    errors=(
        Mistake(
            lambda: ops.avg_pool2d(_x(), window=[2, 0], strides=[1, 1]),
            ValueError,
            "avg_pool2d: window must be 2 integers of at least 1, but is (2, 0)",
        ),
        Mistake(
            lambda: ops.avg_pool2d(_x(), window=[2, 2], strides=[1, 1], padding=[2, 0, 0, 0]),
            ValueError,
            "avg_pool2d: padding (2, 0, 0, 0) must be smaller than window (2, "
            "2), or a window would "
            "see nothing but padding",
        ),
    ),
    slack=3,  # sums of up to 9 values
)
