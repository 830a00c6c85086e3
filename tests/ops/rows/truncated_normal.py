# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import numpy as np
from row import WIDE, Mistake, Row, S, V, tensor

import ostria as ost

ops = ost._native.ops


def moments(arrays, outputs, attrs):
    (y,) = outputs
    mean, stddev = attrs.get("mean", 0.0), attrs.get("stddev", 1.0)
    assert y.shape == tuple(attrs["shape"])
    assert np.all(np.abs(y - mean) <= 2.0001 * stddev)
    if y.size > 1000:
        assert abs(y.mean() - mean) < 0.05 * stddev
        assert abs(y.std() - 0.8796 * stddev) < 0.05 * stddev
        assert len(np.unique(y)) > 0.99 * y.size


KEY, OFFSET = V([7, 3], "int64"), V(0, "int64")
ROW = Row(
    op="truncated_normal",
    invariant=moments,
    samples=(
        S(KEY, OFFSET, shape=(71, 229)),
        S(KEY, OFFSET, shape=(80, 50), mean=-2.0, stddev=5.0, stream=9),
        S(KEY, OFFSET, shape=()),
        S(KEY, OFFSET, shape=(0, 3)),
        S(KEY, OFFSET, shape=(1,)),
    ),
    errors=(
        Mistake(
            lambda: ops.truncated_normal(
                tensor(np.int64([1, 2])), tensor(np.int64(0)), shape=[2], stddev=-1.0
            ),
            ValueError,
            "truncated_normal: mean is 0 and stddev -1; stddev must not be negative",
        ),
    ),
    dtypes=WIDE[:1],
    gradients=(),
    batch="no input has a batch axis",
)
