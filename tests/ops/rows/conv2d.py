# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import images
import numpy as np
from row import A, Mistake, Row, S, tensor

import ostria as ost

ops = ost._native.ops


def _x():
    return tensor(np.ones((2, 9, 11, 3), np.float32))


ROW = Row(
    op="conv2d",
    ref=images.conv,
    samples=tuple(
        S(A(*x), A(*k), **attrs)
        for x, k, attrs in [
            *images.CONVOLUTIONS[2],
            images.MANY_CHANNELS[2],
            images.MINIMAL_FILTERING,
        ]
    ),
    errors=(
        Mistake(
            lambda: ops.conv2d(_x(), tensor(np.ones((5, 3, 3, 4), np.float32))),
            ValueError,
            "conv2d: image [2, 9, 11, 3] has 3 channels, but kernel [5, 3, 3, 4] with groups=1 "
            "reads 4; kernels are laid out [out, height, width, in / groups]",
        ),
        Mistake(
            lambda: ops.conv2d(_x(), tensor(np.ones((5, 10, 3, 3), np.float32))),
            ValueError,
            "conv2d: a window of height 10 does not fit into height 9 of input "
            "[2, 9, 11, 3] padded "
            'by 0 and 0; use a smaller window or padding "same"',
        ),
        Mistake(
            lambda: ops.conv2d(_x(), tensor(np.ones((5, 3, 3, 3), np.float32)), strides=[0, 1]),
            ValueError,
            "conv2d: strides must be 2 integers of at least 1, but is (0, 1)",
        ),
    ),
    slack=60,  # sums of up to 315 products
)
