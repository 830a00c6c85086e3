# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import images
from row import A, Row, S

GEOMETRIES = [
    *(g for geometries in images.CONVOLUTIONS.values() for g in geometries),
    images.MANY_CHANNELS[2],
    images.MINIMAL_FILTERING,
]

ROW = Row(
    op="conv_grad_input",
    ref=images.conv_grad_input,
    samples=tuple(
        S(A(*images.conv_result(x, k, attrs)), A(*k), **images.filled(k, attrs), size=x[1:-1])
        for x, k, attrs in GEOMETRIES
    ),
    slack=60,  # sums of up to 594 products
)
