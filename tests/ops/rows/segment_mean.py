# SPDX-License-Identifier: Apache-2.0
import numpy as np
from families import nearby
from row import FLOATS, A, I, Mistake, Row, S, V, tensor

import ostria as ost

ops = ost._native.ops


def ref(data, segment_ids, num_segments):
    """Segment by segment."""
    rest = data.shape[np.ndim(segment_ids) :]
    flat = data.reshape((np.size(segment_ids), *rest))
    y = np.full((num_segments, *rest), 0, data.dtype)
    for i in range(num_segments):
        mine = flat[np.ravel(segment_ids) == i]
        if len(mine):
            y[i] = np.mean(mine, 0)
    return y


ROW = Row(
    op="segment_mean",
    ref=ref,
    samples=(
        S(A(), V(1, "int64"), num_segments=2),
        S(A(1), V([0], "int32"), num_segments=1),
        S(A(4, 2), V([2, 0, 2, 1], "int64"), num_segments=3),
        S(A(0, 3), I(0, high=1), num_segments=2),
        S(A(2, 0), I(2, high=2), num_segments=2),
        S(A("n", 3), I("n", high=4), num_segments=4),
        S(A("n", 2, 3), I("n", 2, high=4, dtype="int32"), num_segments=4),
        S(A(71, 229), I(71, high=10), num_segments=10),
        S(A(71, 229), I(71, 229, high=3), num_segments=4),
    ),
    dtypes=FLOATS,
    domain_of=nearby,
    gradients=(0,),
    slack=8.0,  # sums of thousands in float32
    errors=(
        Mistake(
            lambda: ops.segment_mean(tensor(np.ones(2)), tensor(np.int64([0, 3])), 3),
            IndexError,
            "segment_mean: index 3 (number 1 of 2) is out of range for an axis of size 3; valid "
            "indices are 0..2",
        ),
        Mistake(
            lambda: ops.segment_mean(tensor(np.ones(2)), tensor(np.int64([0, -1])), 3),
            IndexError,
            "segment_mean: index -1 (number 1 of 2) is out of range for an axis of size 3; valid "
            "indices are 0..2",
        ),
        Mistake(
            lambda: ops.segment_mean(tensor(np.ones((2, 3))), tensor(np.int64([0, 1, 1])), 3),
            ValueError,
            "segment_mean: 'segment_ids' has shape [3] and 'data' has shape [2, 3]; give one id "
            "for each slice of data along its first axes",
        ),
        Mistake(
            lambda: ops.segment_mean(tensor(np.ones(2)), tensor(np.int64([0, 1])), -1),
            ValueError,
            "segment_mean: num_segments is -1; it must not be negative",
        ),
    ),
)
