# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import images
from row import A, Row, S
from rows.conv_stats import GEOMETRIES, normalised


def ref(x, factor, shift, g, **attrs):
    return images.conv_grad_filter(normalised(x, factor, shift), g, **attrs)


ROW = Row(
    op="conv_grad_filter_norm",
    ref=ref,
    samples=tuple(
        S(
            A(*x),
            A(x[-1]),
            A(x[-1]),
            A(*images.conv_result(x, k, attrs)),
            **images.filled(k, attrs),
            size=k[1:-1],
        )
        for x, k, attrs in GEOMETRIES
    ),
    gradients=(),
    slack=100,  # sums of products
)
