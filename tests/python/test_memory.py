# SPDX-License-Identifier: Apache-2.0
"""Memory of freed tensors is used again, views keep it, and the environment says how much waits."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest

import ostria as ost

SHAPE = (512, 1024)


def test_a_freed_result_is_the_memory_of_the_next() -> None:
    x = ost.asarray(np.ones(SHAPE, np.float32))
    ost.empty_cache()
    y = ost.exp(x)
    address = y.numpy().ctypes.data
    del y
    assert ost.memory_stats()["cached"] == x.size * 4
    assert ost.exp(x).numpy().ctypes.data == address


def test_a_view_keeps_its_memory() -> None:
    x = ost.asarray(np.ones(SHAPE, np.float32))
    view = (x + 1).numpy()
    shared = np.from_dlpack(x + 2)
    for _ in range(4):
        assert not np.shares_memory((x * 5).numpy(), view)
        assert not np.shares_memory((x * 5).numpy(), shared)
    assert (view == 2).all()
    assert (shared == 3).all()


def test_empty_cache_gives_everything_back() -> None:
    x = ost.asarray(np.ones(SHAPE, np.float32))
    ost.exp(x)
    assert ost.empty_cache() >= x.size * 4
    assert ost.empty_cache() == 0
    stats = ost.memory_stats()
    assert stats["cached"] == 0
    assert stats["peak"] == stats["in_use"]


PROGRAM = """
import numpy as np
import ostria as ost
x = ost.asarray(np.ones((1024, 1024), np.float32))
for _ in range(3):
    a, b = ost.exp(x), ost.exp(x)
    del a, b
print(ost.memory_stats()["cached"])
"""


def run(megabytes: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "OSTRIA_CACHE_MB": megabytes}
    return subprocess.run(
        [sys.executable, "-c", PROGRAM], env=environment, capture_output=True, text=True
    )


@pytest.mark.parametrize(("megabytes", "cached"), [("", 8 << 20), ("5", 4 << 20), ("0", 0)])
def test_the_environment_bounds_what_waits(megabytes: str, cached: int) -> None:
    assert int(run(megabytes).stdout) == cached


def test_a_bound_that_is_no_number_is_refused() -> None:
    assert "OSTRIA_CACHE_MB: '1 GB' is not a number of megabytes" in run("1 GB").stderr
