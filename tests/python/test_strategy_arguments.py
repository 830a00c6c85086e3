# SPDX-License-Identifier: Apache-2.0
"""What strategies are given wrongly is refused, and the message says what to give."""

from __future__ import annotations

import re

import pytest

import ostria as ost

PerReplica = ost.distribute.PerReplica
DEVICES = ["cpu:0", "cpu:1"]


@pytest.mark.parametrize("op", ["sum", "mean"])
@pytest.mark.parametrize(
    ("shapes", "axis", "message"),
    [
        (([4], [1]), None, "replica 0 has a value of shape [4], and replica 1 one of shape [1]"),
        (([4], [1]), None, "shapes must be equal: give axis=0, to reduce that axis as well"),
        (([2, 4], [2, 1]), None, "give axis=1, to reduce"),
        (([4], []), None, "let all replicas return one shape"),
        (([4, 1], [1, 4]), None, "let all replicas return one shape"),
        (([3, 4], [3, 1]), 0, "only sizes along axis 0, which is reduced, may differ"),
        (([4, 3], [1, 3]), -1, "only sizes along axis -1, which is reduced, may differ"),
        (([2, 4], [2]), 0, "only sizes along axis 0, which is reduced, may differ"),
    ],
)
def test_values_of_other_shapes_are_not_broadcast(
    op: str, shapes: tuple[list[int], list[int]], axis: int | None, message: str
) -> None:
    strategy = ost.distribute.MirroredStrategy(DEVICES)
    parts = PerReplica([ost.ones(shape) for shape in shapes])
    with pytest.raises(ValueError, match=re.escape(message)):
        strategy.reduce(op, parts, axis=axis)
