# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import numpy as np
from row import A, Mistake, Row, S, V, tensor

import ostria as ost


def keeps_a_share(arrays, outputs, attrs):
    (y,), x, rate = outputs, arrays[0], attrs["rate"]
    kept = y != 0
    np.testing.assert_allclose(y[kept], x[kept] / (1 - rate), rtol=1e-2)
    if y.size > 1000:
        assert abs(kept.mean() - (1 - rate)) < 0.03


KEY, OFFSET = V([7, 3], "int64"), V(0, "int64")
ROW = Row(
    op="dropout",
    invariant=keeps_a_share,
    samples=(
        S(A(71, 229, low=0.5, high=3), KEY, OFFSET, rate=0.25),
        S(A("n", 4, low=0.5, high=3), KEY, OFFSET, rate=0.5, stream=3),
        S(A(3, 4, low=0.5, high=3), KEY, OFFSET, rate=0.0),
        S(A(low=0.5, high=3), KEY, OFFSET, rate=0.5),
        S(A(0, 3), KEY, OFFSET, rate=0.5),
    ),
    errors=(
        Mistake(
            lambda: ost._native.ops.dropout(
                tensor(np.ones(2)), tensor(np.int64([1, 2])), tensor(np.int64(0)), rate=1.0
            ),
            ValueError,
            "dropout: rate is 1; it is the share of elements to drop and must be in [0, 1)",
        ),
    ),
    gradients=(0,),
)
