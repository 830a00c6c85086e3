# SPDX-License-Identifier: Apache-2.0
"""The declarations themselves: what they say is held by something."""

from __future__ import annotations

import inspect
import sys
from pathlib import Path

import pytest
from promises import TITLES, promises, seconds

sys.path.insert(0, str(Path(__file__).parents[3] / "docs"))
import faults


def test_the_table_has_all_cases_and_claims_none_without_a_test() -> None:
    assert faults.titles() == TITLES and sorted(TITLES) == list(range(1, 23))
    held = {p.case for p in faults.promises()}
    said = {case for case in TITLES if f"| {case} | {TITLES[case]} | not yet: " in faults.table()}
    assert held | said == set(TITLES) and not held & said


def test_a_bound_is_one_that_its_test_asks_for() -> None:
    for promise in faults.promises():
        path, name = promise.test.split("::")
        if promise.bound and path.startswith("fault/"):
            source = (faults.TESTS / path).read_text()
            body = source.split(f"def {name}(")[1].split("\ndef ")[0]
            assert body.count("limit") > 1, f"{promise.test} does not look at its bound"


def test_bounds_are_of_the_tests_own_timers() -> None:
    assert seconds("2 s") == 2.0
    assert seconds("`dead` + 2 s") == 4.0
    with pytest.raises(ValueError, match="accepted are"):
        seconds("soon")

    @promises(3, "nothing", bound="2 s")
    def test() -> None: ...

    assert (inspect.isfunction(test), test.case, test.limit) == (True, 3, 2.0)
