# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import images
import numpy as np
from row import A, Mistake, Row, S, tensor

import ostria as ost

ops = ost._native.ops


def _ones(*shape):
    return tensor(np.ones(shape, np.float32))


ROW = Row(
    op="conv3d",
    ref=images.conv,
    samples=tuple(S(A(*x), A(*k), **attrs) for x, k, attrs in images.CONVOLUTIONS[3]),
    errors=(
        Mistake(
            lambda: ops.conv3d(_ones(2, 9, 11, 3), _ones(*(5, 2, 3, 3, 3))),
            ValueError,
            "conv3d: the image must have rank 5 (batch, depth, height, width, channels), but has "
            "shape [2, 9, 11, 3]",
        ),
        Mistake(
            lambda: ops.conv3d(_ones(*(2, 4, 9, 5, 3)), _ones(*(5, 2, 10, 3, 3))),
            ValueError,
            "conv3d: a window of height 10 does not fit into height 9 of input "
            "[2, 4, 9, 5, 3] padded by 0 and 0",
        ),
        Mistake(
            lambda: ops.conv3d(_ones(*(2, 4, 9, 5, 3)), _ones(*(5, 2, 3, 3, 3)), groups=2),
            ValueError,
            "conv3d: groups is 2; it must be positive and divide the 5 output channels",
        ),
    ),
    slack=20,  # sums of up to 24 products
)
