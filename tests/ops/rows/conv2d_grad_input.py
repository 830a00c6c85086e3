# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import images
from row import A, Row, S

ROW = Row(
    op="conv2d_grad_input",
    ref=images.conv2d_grad_input,
    samples=tuple(
        S(A(*images.conv_result(x, k, attrs)), A(*k), **attrs, size=x[1:3])
        for x, k, attrs in images.CONVOLUTIONS
    ),
    slack=20,  # sums of up to 54 products
)
