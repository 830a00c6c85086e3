# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import images
from row import A, Row, S
from rows.conv_stats import GEOMETRIES


def ref(g, kernel, x, scale, bias, mean, rstd, **attrs):
    axes = tuple(range(x.ndim - 1))
    if x.size == 0:  # nothing was seen: 0 by definition
        return x, *(5 * [0 * scale])
    n = x.size // x.shape[-1]
    xhat = (x - mean) * rstd
    dz = images.conv_grad_input(g, kernel, **attrs) * (xhat * scale + bias > 0)
    dscale, dbias = (dz * xhat).sum(axes), dz.sum(axes)
    factor = scale * rstd
    slope = -factor * rstd * dscale / n
    return dz, dscale, dbias, factor, slope, -factor * dbias / n - slope * mean


ROW = Row(
    op="conv_grad_input_norm",
    ref=ref,
    samples=tuple(
        S(
            A(*images.conv_result(x, k, attrs)),
            A(*k),
            A(*x),
            *(A(x[-1]) for _ in range(3)),
            A(x[-1], low=0.5, high=2),
            **images.filled(k, attrs),
            size=x[1:-1],
        )
        for x, k, attrs in GEOMETRIES
    ),
    gradients=(),
    slack=200,  # sums of products of sums
)
