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
    op="conv_transpose3d",
    ref=images.conv_transpose,
    samples=(
        S(A("n", 2, 3, 2, 3), A(3, 2, 3, 2, 4)),
        S(
            A(1, 3, 2, 2, 4),
            A(4, 2, 2, 3, 3),
            strides=(2, 1, 3),
            padding=(1, 0, 0, 1, 1, 1),
            dilation=(1, 2, 1),
            groups=2,
            output_padding=(1, 0, 2),
        ),
    ),
    errors=(
        Mistake(
            lambda: ops.conv_transpose3d(_ones(*(2, 4, 4, 4, 3)), _ones(*(4, 2, 2, 2, 5))),
            ValueError,
            "conv_transpose3d: 'x' [2, 4, 4, 4, 3] has 3 channels, but kernel "
            "[4, 2, 2, 2, 5] reads 4; kernels are laid out [in, depth, height, width, "
            "out / groups]",
        ),
        Mistake(
            lambda: ops.conv_transpose3d(
                _ones(*(2, 4, 4, 4, 3)),
                _ones(*(3, 2, 2, 2, 5)),
                strides=[2, 2, 2],
                output_padding=[2, 2, 2],
            ),
            ValueError,
            "conv_transpose3d: output_padding must be 3 integers from 0 up to, but not, the "
            "strides (2, 2, 2), but is (2, 2, 2)",
        ),
    ),
    slack=20,  # sums of up to 24 products
)
