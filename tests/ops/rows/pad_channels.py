# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import numpy as np
from row import A, Mistake, Row, S, tensor

import ostria as ost

ops = ost._native.ops


def ref(x, channels):
    return np.pad(x, [(0, 0)] * (x.ndim - 1) + [(0, channels - x.shape[-1])])


ROW = Row(
    op="pad_channels",
    fn=lambda x, channels: ops.pad_channels(x, channels=channels, dtype=str(x.dtype)),
    ref=ref,
    samples=(
        S(A("n", 3), channels=8),
        S(A(71, 29), channels=32),
        S(A(2, 5, 4, 3), channels=3),
        S(A(3, 1), channels=17),
        S(A(0, 3), channels=8),
    ),
    errors=(
        Mistake(
            lambda: ops.pad_channels(tensor(np.ones((2, 9))), channels=8, dtype="float16"),
            ValueError,
            "pad_channels: channels is 8; x [2, 9] has more in its last axis",
        ),
        Mistake(
            lambda: ops.pad_channels(tensor(np.ones((2, 9))), channels=16, dtype="int32"),
            TypeError,
            "pad_channels: dtype is int32; it must be a float",
        ),
    ),
    gradients=(),
)
