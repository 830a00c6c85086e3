# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import images
from row import A, I, Row, S

ROW = Row(
    op="max_pool2d_grad",
    ref=images.max_pool2d_grad,
    # Any index in the window will do: places in the padding drop their share.
    samples=tuple(
        S(
            A(*images.pool_result(x, attrs)),
            I(
                *images.pool_result(x, attrs),
                high=attrs["window"][0] * attrs["window"][1],
                dtype="uint8",
            ),
            **attrs,
            size=x[1:3],
        )
        for x, attrs in images.POOLS
    ),
    slack=3,  # sums of up to 9 values
)
