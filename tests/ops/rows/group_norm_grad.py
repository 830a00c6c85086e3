# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import math

import numpy as np
from row import A, Row, S


def ref(g, x, scale, mean, rstd, groups=32):
    split = (x.shape[0], math.prod(x.shape[1:-1]), groups, x.shape[-1] // groups)
    column = (x.shape[0], 1, groups, 1)
    xhat = (x.reshape(split) - mean.reshape(column)) * rstd.reshape(column)
    gs = (g * scale).reshape(split)
    dot = (gs * xhat).mean((1, 3), keepdims=True)
    dx = (gs - gs.mean((1, 3), keepdims=True) - xhat * dot) * rstd.reshape(column)
    lead = tuple(range(x.ndim - 1))
    return dx.reshape(x.shape), np.sum(g * xhat.reshape(x.shape), lead), np.sum(g, lead)


def _sample(shape, groups):
    rows = (shape[0], groups)
    return S(A(*shape), A(*shape), A(shape[-1]), A(*rows), A(*rows, low=0.5, high=2), groups=groups)


ROW = Row(
    op="group_norm_grad",
    ref=ref,
    samples=(_sample(("n", 3, 2, 6), 3), _sample((2, 31, 20), 4), _sample((3, 8), 2)),
    slack=100,  # sums of up to 71 products of three numbers
)
