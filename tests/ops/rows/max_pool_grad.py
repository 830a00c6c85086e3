# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import math

import images
from row import A, I, Row, S

ROW = Row(
    op="max_pool_grad",
    ref=images.max_pool_grad,
    # Any index in the window will do: places in the padding drop their share.
    samples=tuple(
        S(
            A(*images.pool_result(x, attrs)),
            I(
                *images.pool_result(x, attrs),
                high=math.prod(attrs["window"]),
                dtype="uint8",
            ),
            **images.padded(attrs),
            size=x[1:-1],
        )
        for pools in images.POOLS.values()
        for x, attrs in pools
    ),
    slack=3,  # sums of up to 9 values
)
