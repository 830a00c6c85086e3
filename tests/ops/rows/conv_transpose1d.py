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
    op="conv_transpose1d",
    ref=images.conv_transpose,
    samples=(
        S(A("n", 4, 3), A(3, 3, 5)),
        S(A(2, 6, 2), A(2, 3, 4), padding=(2, 2)),  # as far as the kernel reaches: shorter than x
        S(
            A(2, 5, 4),
            A(4, 3, 3),
            strides=(3,),
            padding=(1, 2),
            dilation=(2,),
            groups=2,
            output_padding=(2,),
        ),
    ),
    errors=(
        Mistake(
            lambda: ops.conv_transpose1d(_ones(*(2, 4, 3)), _ones(*(4, 2, 5))),
            ValueError,
            "conv_transpose1d: 'x' [2, 4, 3] has 3 channels, but kernel "
            "[4, 2, 5] reads 4; kernels are laid out [in, length, "
            "out / groups]",
        ),
        Mistake(
            lambda: ops.conv_transpose1d(
                _ones(*(2, 4, 3)), _ones(*(3, 2, 5)), strides=[2], output_padding=[2]
            ),
            ValueError,
            "conv_transpose1d: output_padding must be 1 integers from 0 up to, but not, the "
            "strides (2), but is (2)",
        ),
        Mistake(
            lambda: ops.conv_transpose1d(_ones(*(2, 4, 3)), _ones(*(3, 2, 5)), padding=[3, 2]),
            ValueError,
            "conv_transpose1d: padding (3, 2) takes everything away from the result of image "
            "[2, 4, 3] and kernel [3, 2, 5]; use less of it",
        ),
        Mistake(
            lambda: ops.conv_transpose1d(_ones(*(2, 4, 3)), _ones(*(3, 3, 5)), dilation=[2**62]),
            ValueError,
            "conv_transpose1d: a dimension overflows 64 bits",
        ),
    ),
    slack=20,  # sums of up to 24 products
)
