# SPDX-License-Identifier: Apache-2.0
"""`strategy.reduce` and `strategy.gather`: the values of all replicas as one tensor."""

from __future__ import annotations

import numpy as np
import pytest
from replicas import mirrored

import ostria as ost

PerReplica = ost.distribute.PerReplica


def test_reduce_and_gather() -> None:
    strategy = mirrored(3)
    parts = PerReplica([ost.asarray([1.0, 2.0]), ost.asarray([3.0, 4.0]), ost.asarray([])])
    scalars = PerReplica([ost.asarray(1), ost.asarray(2), ost.asarray(6)])
    assert strategy.reduce("sum", scalars, axis=None).item() == 9
    assert strategy.reduce(ost.distribute.ReduceOp.MEAN, scalars, axis=None).item() == 3.0
    assert strategy.reduce("SUM", parts, axis=0).item() == 10.0
    assert strategy.reduce("MEAN", parts, axis=0).item() == 2.5
    assert strategy.gather(parts, axis=0).numpy().tolist() == [1.0, 2.0, 3.0, 4.0]
    nested = strategy.reduce("sum", {"a": scalars, "b": (scalars,)}, axis=None)
    assert (nested["a"].item(), nested["b"][0].item()) == (9, 9)
    assert strategy.reduce("mean", ost.asarray(4.0), axis=None).item() == 4.0
    right = PerReplica([np.array([True, False]), np.array([True]), np.array([False])])
    assert strategy.reduce("mean", right, axis=0).item() == 0.5
    with pytest.raises(ValueError, match="which is no PerReplica value, over 3 replicas"):
        strategy.reduce("sum", ost.asarray(4.0), axis=None)
    with pytest.raises(ValueError, match=r"reduce_op 'max' is not accepted; give ReduceOp\.SUM"):
        strategy.reduce("max", scalars, axis=None)
    with pytest.raises(ValueError, match="axis 1 is out of range for a tensor of rank 1"):
        strategy.gather(parts, axis=1)
    with pytest.raises(ValueError, match="parts of 2 replicas, but the strategy has 3"):
        strategy.gather(PerReplica([1, 2]), axis=0)


@pytest.mark.parametrize("axis", [None, 0])
@pytest.mark.parametrize(
    ("dtype", "sums"),
    [("uint8", "uint64"), ("int8", "int64"), ("int32", "int64"), ("bool", "int64")],
)
def test_sums_of_small_integers_do_not_wrap(dtype: str, sums: str, axis: int | None) -> None:
    most = 1 if dtype == "bool" else int(np.iinfo(dtype).max)
    parts = PerReplica([np.array([most], dtype) for _ in range(3)])
    total = mirrored(3).reduce("sum", parts, axis=axis)
    assert (str(total.dtype), total.item()) == (sums, 3 * most)
