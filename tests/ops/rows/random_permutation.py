# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import numpy as np
from row import Mistake, Row, S, V, tensor

import ostria as ost


def is_permutation(arrays, outputs, attrs):
    (y,) = outputs
    assert np.array_equal(np.sort(y), np.arange(attrs["n"]))
    assert attrs["n"] < 20 or not np.array_equal(y, np.arange(attrs["n"]))


KEY = V([7, 3], "int64")
ROW = Row(
    op="random_permutation",
    invariant=is_permutation,
    samples=(S(KEY, n=1), S(KEY, n=0), S(KEY, n=3), S(KEY, n=1000, stream=4)),
    errors=(
        Mistake(
            lambda: ost._native.ops.random_permutation(tensor(np.int64([1, 2])), n=-1),
            ValueError,
            "random_permutation: n is -1; it is how many numbers to permute "
            "and must not be negative",
        ),
    ),
    dtypes=("int64",),
    gradients=(),
    batch="no input has a batch axis",
)
