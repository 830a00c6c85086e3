# SPDX-License-Identifier: Apache-2.0
"""What strategies are given wrongly is refused, and the message says what to give."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
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


@pytest.fixture(autouse=True)
def no_launcher(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OSTRIA_RANK", raising=False)


@pytest.mark.parametrize(
    "kind", [ost.distribute.MirroredStrategy, ost.distribute.MultiWorkerMirroredStrategy]
)
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"devices": "cpu:0"}, "devices is the text 'cpu:0'; give a list of names"),
        ({"devices": 2}, "devices is 2, of type int; give a list of names, such as ['c"),
        ({"devices": []}, "no device is given; name at least one, such as ['cpu']"),
        ({"devices": [0]}, "0 is no name of a device; give one such as 'cpu'"),
        ({"devices": ["cpu:0", "null"]}, "give CPUs alone, such as 'cpu:0' and 'cpu:1', or GPUs"),
        ({"timeout": "x"}, "timeout 'x' is not accepted; give seconds, more than 0"),
        ({"timeout": -1}, "timeout -1 is not accepted"),
        ({"timeout": 0}, "timeout 0 is not accepted"),
        ({"timeout": True}, "timeout True is not accepted"),
        ({"timeout": float("nan")}, "timeout nan is not accepted"),
        ({"timeout": float("inf")}, "timeout inf is not accepted"),
    ],
)
def test_devices_and_timeouts(kind: Any, options: dict[str, Any], message: str) -> None:
    with pytest.raises((TypeError, ValueError), match=re.escape(message)):
        kind(**options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"transport": "tcp"}, "'tcp' is not known; give 'auto', 'shm', 'gloo', 'hierarchical' or"),
        ({"transport": None}, "transport None is not known"),
        ({"cluster_resolver": "host:1"}, "is 'host:1', of type str; give what ost.distribute.r"),
        ({"cluster_resolver": {}}, "cluster_resolver is {}, of type dict; give what"),
    ],
)
def test_what_only_several_processes_use_is_checked_in_one(
    options: dict[str, Any], message: str
) -> None:
    with pytest.raises((TypeError, ValueError), match=re.escape(message)):
        ost.distribute.MultiWorkerMirroredStrategy(**options)


@pytest.mark.parametrize("timeout", [30, 30.0, np.int64(30), np.float32(30)])
def test_numbers_of_numpy_are_numbers(timeout: Any) -> None:
    strategy = ost.distribute.MirroredStrategy(
        ("cpu:0",), timeout=timeout, reproducible=True, virtual_shards=np.int64(4)
    )
    assert strategy.num_replicas_in_sync == 4
    several = ost.distribute.MultiWorkerMirroredStrategy(devices=DEVICES, timeout=timeout)
    assert several.num_replicas_in_sync == 2
    parts = PerReplica([ost.ones(2), ost.ones(1)])
    assert several.reduce("sum", parts, axis=np.int64(0)).item() == 3.0


@pytest.mark.parametrize("axis", ["x", 0.0, (0,)])
def test_an_axis_that_is_no_integer(axis: Any) -> None:
    strategy = ost.distribute.MirroredStrategy(DEVICES)
    parts = PerReplica([ost.ones(2), ost.ones(1)])
    message = rf"axis is {re.escape(repr(axis))}, of type \w+; give the number of one axis"
    with pytest.raises(TypeError, match=f"strategy.reduce: {message}"):
        strategy.reduce("sum", parts, axis=axis)
    with pytest.raises(TypeError, match=f"strategy.gather: {message}"):
        strategy.gather(parts, axis=axis)


def test_a_dataset_where_a_function_makes_one() -> None:
    strategy: Any = ost.distribute.MirroredStrategy(DEVICES)
    with pytest.raises(TypeError, match="or give a dataset to experimental_distribute_dataset"):
        strategy.distribute_datasets_from_function(ost.data.Dataset.range(4).batch(2))
