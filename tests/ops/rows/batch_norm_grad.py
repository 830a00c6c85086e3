# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import numpy as np
from row import A, Row, S


def ref(g, x, scale, mean, var, epsilon=0.001):
    if x.size == 0:
        return x, 0 * scale, 0 * scale
    axes = tuple(range(x.ndim - 1))
    n, rstd = x.size // x.shape[-1], 1 / np.sqrt(var + epsilon)
    xhat = (x - mean) * rstd
    dscale, dbias = np.sum(g * xhat, axes), np.sum(g, axes)
    return scale * rstd * (g - (dbias + xhat * dscale) / n), dscale, dbias


def _sample(*shape, **attrs):
    c = shape[-1]
    return S(A(*shape), A(*shape), A(c), A(c), A(c, low=0.5, high=2), **attrs)


ROW = Row(
    op="batch_norm_grad",
    ref=ref,
    samples=(_sample("n", 4), _sample(71, 29), _sample(3, 4, 5, 17), _sample(2, 3, epsilon=0.1)),
    slack=50,  # sums of up to 71 products
)
