# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import images
from row import A, Row, S

ROW = Row(
    op="avg_pool_grad",
    ref=images.avg_pool_grad,
    samples=tuple(
        S(A(*images.pool_result(x, attrs)), **images.padded(attrs), size=x[1:-1])
        for pools in images.POOLS.values()
        for x, attrs in pools
    ),
    slack=3,  # sums of up to 9 values
)
