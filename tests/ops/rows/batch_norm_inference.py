# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import numpy as np
from row import A, Mistake, Row, S, tensor

import ostria as ost

ops = ost._native.ops


def ref(x, scale, bias, mean, var, epsilon=0.001):
    return (x - mean) / np.sqrt(var + epsilon) * scale + bias


def _sample(*shape):
    c = shape[-1]
    return S(A(*shape), A(c), A(c), A(c), A(c, low=0.5, high=2))


ROW = Row(
    op="batch_norm_inference",
    ref=ref,
    samples=(_sample("n", 4), _sample(71, 29), _sample(3, 4, 5, 17), _sample(0, 3)),
    errors=(
        Mistake(
            lambda: ops.batch_norm_inference(*(tensor(np.ones(3, np.float32)) for _ in range(5))),
            ValueError,
            "batch_norm_inference: 'x' must have rank 2 or more (batch first, "
            "channels last), but has "
            "shape [3]",
        ),
    ),
    slack=10,  # x * factor and the shift cancel
)
