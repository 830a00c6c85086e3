# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import numpy as np
from row import A, Row, S


def ref(g, x, scale, rstd, axes=1):
    last, lead = tuple(range(x.ndim - axes, x.ndim)), tuple(range(x.ndim - axes))
    rstd = rstd.reshape(x.shape[: x.ndim - axes] + (1,) * axes)
    xhat, gs = x * rstd, g * scale
    return (gs - xhat * (gs * xhat).mean(last, keepdims=True)) * rstd, np.sum(g * xhat, lead)


def _sample(shape, axes):
    lead, last = shape[: len(shape) - axes], shape[len(shape) - axes :]
    return S(A(*shape), A(*shape), A(*last), A(*lead, low=0.5, high=2), axes=axes)


ROW = Row(
    op="rms_norm_grad",
    ref=ref,
    samples=(_sample(("n", 4), 1), _sample((71, 29), 1), _sample((2, 3, 5), 2), _sample((6,), 1)),
    slack=100,  # sums of up to 71 products of three numbers
)
