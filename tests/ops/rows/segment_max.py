# SPDX-License-Identifier: Apache-2.0
import numpy as np
from families import nearby
from row import FLOATS, INTS, A, I, Mistake, Row, S, V, tensor

import ostria as ost

ops = ost._native.ops


def ref(data, segment_ids, num_segments):
    """Segment by segment."""
    rest = data.shape[np.ndim(segment_ids) :]
    flat = data.reshape((np.size(segment_ids), *rest))
    y = np.full(
        (num_segments, *rest),
        -np.inf if data.dtype.kind == "f" else np.iinfo(data.dtype).min,
        data.dtype,
    )
    for i in range(num_segments):
        mine = flat[np.ravel(segment_ids) == i]
        if len(mine):
            y[i] = np.max(mine, 0)
    return y


ROW = Row(
    op="segment_max",
    ref=ref,
    samples=(
        S(A(), V(0, "int64"), num_segments=1),
        S(A(1), V([0], "int32"), num_segments=1),
        S(A(4, 2), V([2, 0, 2, 1], "int64"), num_segments=3),
        S(A(0, 3), I(0, high=1), num_segments=2),
        S(A(2, 0), I(2, high=2), num_segments=2),
        S(A("n", 3), I("n", high=2), num_segments=2),
        S(A("n", 2, 3), I("n", 2, high=2, dtype="int32"), num_segments=2),
        S(A(71, 229), I(71, high=10), num_segments=10),
        S(A(71, 229), I(71, 229, high=3), num_segments=3),
    ),
    dtypes=FLOATS + INTS,
    domain_of=nearby,
    gradients=(0,),
    errors=(
        Mistake(
            lambda: ops.segment_max(tensor(np.ones(2)), tensor(np.int64([0, 3])), 3),
            IndexError,
            "segment_max: index 3 (number 1 of 2) is out of range for an axis of size 3; valid "
            "indices are 0..2",
        ),
        Mistake(
            lambda: ops.segment_max(tensor(np.ones(2)), tensor(np.int64([0, -1])), 3),
            IndexError,
            "segment_max: index -1 (number 1 of 2) is out of range for an axis of size 3; valid "
            "indices are 0..2",
        ),
        Mistake(
            lambda: ops.segment_max(tensor(np.ones((2, 3))), tensor(np.int64([0, 1, 1])), 3),
            ValueError,
            "segment_max: 'segment_ids' has shape [3] and 'data' has shape [2, 3]; give one id for "
            "each slice of data along its first axes",
        ),
        Mistake(
            lambda: ops.segment_max(tensor(np.ones(2)), tensor(np.int64([0, 1])), -1),
            ValueError,
            "segment_max: num_segments is -1; it must not be negative",
        ),
    ),
)
