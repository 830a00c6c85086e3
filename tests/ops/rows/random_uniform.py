# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import numpy as np
from row import WIDE, Mistake, Row, S, V, tensor

import ostria as ost

ops = ost._native.ops


def ranges(arrays, outputs, attrs):
    (y,) = outputs
    low, high = attrs.get("low", 0.0), attrs.get("high", 1.0)
    assert y.shape == tuple(attrs["shape"])
    assert np.all((y >= low) & ((y < high) | (low == high)))
    if y.size > 1000:
        assert abs(y.mean() - (low + high) / 2) < 0.05 * (high - low)
        assert len(np.unique(y)) > 0.99 * y.size


KEY, OFFSET = V([7, 3], "int64"), V(0, "int64")
ROW = Row(
    op="random_uniform",
    invariant=ranges,
    samples=(
        S(KEY, OFFSET, shape=(71, 229)),
        S(KEY, OFFSET, shape=(40, 50), low=-2.0, high=5.0, stream=9),
        S(KEY, OFFSET, shape=()),
        S(KEY, OFFSET, shape=(0, 3)),
        S(KEY, OFFSET, shape=(1,)),
    ),
    errors=(
        Mistake(
            lambda: ops.random_uniform(
                tensor(np.int64([1, 2])), tensor(np.int64(0)), shape=[2], low=1.0, high=0.0
            ),
            ValueError,
            "random_uniform: low is 1 and high 0; low must not exceed high",
        ),
        Mistake(
            lambda: ops.random_uniform(tensor(np.int32([1, 2])), tensor(np.int64(0)), shape=[2]),
            ValueError,
            "random_uniform: 'key' must be int64[2] (seed and step), but is int32[2]",
        ),
    ),
    dtypes=WIDE[:1],
    gradients=(),
    batch="no input has a batch axis",
)
