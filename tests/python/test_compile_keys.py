# SPDX-License-Identifier: Apache-2.0
"""Which static arguments are another key, and how `explain` says so."""

from __future__ import annotations

import math
import sys
from typing import Any

import numpy as np
import pytest

import ostria as ost


def x() -> Any:
    return ost.asarray([1.0, 2.0])


@pytest.mark.parametrize(
    ("first", "second"),
    [(0.0, -0.0), (True, 1), (1, 1.0), (False, 0.0), ("1", b"1"), (np.float32(1), 1.0)],
    ids=repr,
)
def test_equal_values_that_compute_differently_are_traced_apart(first: Any, second: Any) -> None:
    seen = []
    f = ost.compile(lambda x, s: (seen.append(s), x)[1])
    for s in (first, second, first, second):
        f(x(), s)
    assert [repr(s) for s in seen] == [repr(first), repr(second)]


def test_the_sign_of_zero_reaches_the_result() -> None:
    f = ost.compile(lambda x, s: ost.copysign(x, s))
    assert f(x(), 0.0).numpy().tolist() == [1.0, 2.0]
    assert f(x(), -0.0).numpy().tolist() == [-1.0, -2.0]


@pytest.mark.parametrize("number", [math.nan, np.float32("nan"), np.float64(3), np.int8(3)])
def test_one_value_in_another_object_is_one_key(number: Any) -> None:
    f = ost.compile(lambda x, s: x)
    for _ in range(3):
        f(x(), type(number)(str(number)))
    assert f.num_traces == 1


def test_explain_names_the_argument_that_changed() -> None:
    def step(batch: Any, rate: float, *, mode: str = "a") -> Any:
        return batch["x"][0] * rate

    f = ost.compile(step)
    f({"x": [x()]}, 0.0)
    f({"x": [x()]}, 1.0)
    f({"x": [ost.ones((3,))]}, 1.0)
    f({"x": [ost.ones((3,))]}, 1.0, mode="a")
    f({"x": [ost.ones((3,))]}, 1.0, mode="b" * 100)
    text = f.explain(runs=1)
    assert "trace 1: argument 'rate': 1.0 (was 0.0);" in text
    assert "trace 2: argument 'batch'['x'][0]: float32[3] (was float32[2]);" in text
    assert "trace 3: the arguments have another structure;" in text
    assert f"trace 4: argument 'mode': '{'b' * 56}... (was 'a');" in text


def test_explain_of_a_method_counts_from_its_own_arguments() -> None:
    class Model:
        def step(self, x: Any, rate: float) -> Any:
            return x * rate

    f = ost.compile(Model().step)
    f(x(), 0.0)
    f(x(), -0.0)
    assert "trace 1: argument 'rate': -0.0 (was 0.0);" in f.explain(runs=1)


def test_explain_shows_only_the_latest_of_many_traces_in_full() -> None:
    f = ost.compile(lambda x, s: x * s)
    for s in range(3):
        f(x(), float(s))
    assert f.explain(runs=1).count("  graph:") == 3
    f(x(), 3.0)
    text = f.explain(runs=1)
    assert [line for line in text.splitlines() if line.startswith("trace")][3].startswith(
        "trace 3: argument 's': 3.0 (was 2.0); "
    )
    assert text.count("  graph:") == text.count("  plan static") == 1
    assert text.index("trace 3") < text.index("  graph:")


def test_a_static_object_is_kept_once_however_often_it_is_given() -> None:
    f, given = ost.compile(lambda x, s: x), object()
    before = sys.getrefcount(given)
    for _ in range(20):
        f(x(), given)
    assert sys.getrefcount(given) <= before + 2
