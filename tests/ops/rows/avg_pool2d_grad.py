# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import images
from row import A, Row, S

ROW = Row(
    op="avg_pool2d_grad",
    ref=images.avg_pool2d_grad,
    samples=tuple(
        S(A(*images.pool_result(x, attrs)), **attrs, size=x[1:3]) for x, attrs in images.POOLS
    ),
    slack=3,  # sums of up to 9 values
)
