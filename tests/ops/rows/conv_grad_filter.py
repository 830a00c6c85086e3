# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import images
from row import A, Row, S

# The one before the last is wide enough for register tiles.
GEOMETRIES = [
    *(g for geometries in images.CONVOLUTIONS.values() for g in geometries),
    ((1, 3, 4, 32), (8, 2, 3, 32), {"padding": (1, 0, 1, 1)}),
    images.MINIMAL_FILTERING,
]

ROW = Row(
    op="conv_grad_filter",
    ref=images.conv_grad_filter,
    samples=tuple(
        S(A(*x), A(*images.conv_result(x, k, attrs)), **images.filled(k, attrs), size=k[1:-1])
        for x, k, attrs in GEOMETRIES
    ),
    slack=60,  # sums of up to 468 products
)
