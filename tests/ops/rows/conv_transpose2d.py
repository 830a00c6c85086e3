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
    op="conv_transpose2d",
    ref=images.conv_transpose,
    samples=(
        S(A("n", 4, 3, 3), A(3, 3, 2, 5)),
        S(A(2, 3, 3, 4), A(4, 3, 3, 2), strides=(2, 2), padding=(0, 1, 0, 1)),
        S(
            A(1, 3, 4, 4),
            A(4, 2, 3, 1),
            strides=(2, 3),
            padding=(1, 0, 2, 1),
            dilation=(2, 1),
            groups=4,
            output_padding=(1, 2),
        ),
    ),
    errors=(
        Mistake(
            lambda: ops.conv_transpose2d(_ones(*(2, 4, 4, 3)), _ones(*(4, 2, 2, 5))),
            ValueError,
            "conv_transpose2d: 'x' [2, 4, 4, 3] has 3 channels, but kernel "
            "[4, 2, 2, 5] reads 4; kernels are laid out [in, height, width, "
            "out / groups]",
        ),
        Mistake(
            lambda: ops.conv_transpose2d(
                _ones(*(2, 4, 4, 3)), _ones(*(3, 2, 2, 5)), strides=[2, 2], output_padding=[2, 2]
            ),
            ValueError,
            "conv_transpose2d: output_padding must be 2 integers from 0 up to, but not, the "
            "strides (2, 2), but is (2, 2)",
        ),
    ),
    slack=20,  # sums of up to 24 products
)
