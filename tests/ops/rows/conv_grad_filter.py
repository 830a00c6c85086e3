# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import images
from row import A, Row, S

ROW = Row(
    op="conv_grad_filter",
    ref=images.conv_grad_filter,
    samples=tuple(
        S(A(*x), A(*images.conv_result(x, k, attrs)), **images.filled(k, attrs), size=k[1:-1])
        for geometries in images.CONVOLUTIONS.values()
        for x, k, attrs in geometries
    ),
    slack=50,  # sums of up to 162 products
)
