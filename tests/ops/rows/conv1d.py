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
    op="conv1d",
    ref=images.conv,
    samples=tuple(
        S(A(*x), A(*k), **attrs)
        for x, k, attrs in [*images.CONVOLUTIONS[1], images.MANY_CHANNELS[1]]
    ),
    errors=(
        Mistake(
            lambda: ops.conv1d(_ones(2, 9, 11, 3), _ones(*(5, 3, 3))),
            ValueError,
            "conv1d: the image must have rank 3 (batch, length, channels), but has shape "
            "[2, 9, 11, 3]",
        ),
        Mistake(
            lambda: ops.conv1d(_ones(*(2, 9, 3)), _ones(*(5, 10, 3))),
            ValueError,
            "conv1d: a window of length 10 does not fit into length 9 of input "
            "[2, 9, 3] padded by 0 and 0",
        ),
        Mistake(
            lambda: ops.conv1d(_ones(*(2, 9, 3)), _ones(*(5, 0, 3))),
            ValueError,
            "conv1d: kernel [5, 0, 3] has no elements to slide; give at least 1 in length",
        ),
        Mistake(
            lambda: ops.conv1d(_ones(*(2, 9, 3)), _ones(*(5, 3, 3)), groups=2),
            ValueError,
            "conv1d: groups is 2; it must be positive and divide the 5 output channels",
        ),
    ),
    slack=20,  # sums of up to 256 products
)
