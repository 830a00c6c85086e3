# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import images
from row import A, Row, S

ROW = Row(
    op="conv2d_grad_filter",
    ref=images.conv2d_grad_filter,
    samples=tuple(
        S(A(*x), A(*images.conv_result(x, k, attrs)), **attrs, size=k[1:3])
        for x, k, attrs in images.CONVOLUTIONS
    ),
    slack=50,  # sums of up to 162 products
)
