# SPDX-License-Identifier: Apache-2.0
"""The declarations themselves: what they say is held by something."""

from __future__ import annotations

import ast
import inspect
import re
import sys
from pathlib import Path

import pytest
from promises import TITLES, promises, seconds

sys.path.insert(0, str(Path(__file__).parents[3] / "docs"))
import faults


def test_the_page_has_all_cases_and_claims_none_without_a_test() -> None:
    assert sorted(faults.titles()) == list(range(1, 23))
    lines = [line for line in faults.PAGE.read_text().splitlines() if re.match(r"\| \d+ \|", line)]
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines]
    assert {int(case): title for case, title, *_ in rows} == TITLES
    for case, _, what, _, test in rows:
        if what.startswith("not yet"):
            held = [p for p in faults.TESTS.rglob("test_*.py") if _declares(p, case)]
            assert test == "" and not held, f"case {case} is held by {held}"
        else:
            path, name = test.strip("`").split("::")
            assert _declares(faults.TESTS / path, case), f"{test} declares nothing of case {case}"
            assert f"\ndef {name}(" in (faults.TESTS / path).read_text()


def _declares(path: Path, case: str) -> bool:
    return re.search(rf"^@promises\(\s*{case},", path.read_text(), re.M) is not None


def test_a_bound_is_one_that_its_test_asks_for() -> None:
    for promise in faults.promises():
        path, name = promise.test.split("::")
        tests = ast.parse((faults.TESTS / path).read_text()).body
        test = next(t for t in tests if isinstance(t, ast.FunctionDef) and t.name == name)
        given = "limit" in [argument.arg for argument in test.args.args]
        assert given == bool(promise.bound), f"{promise.test}: {promise.bound or 'no bound'}"
        uses = [n for n in ast.walk(test) if isinstance(n, ast.Name) and n.id == "limit"]
        assert uses or not given, f"{promise.test} does not look at its bound"


def test_bounds_are_of_the_tests_own_timers() -> None:
    assert seconds("2 s") == 2.0
    assert seconds("`dead` + 2 s") == 4.0
    with pytest.raises(ValueError, match="accepted are"):
        seconds("soon")

    @promises(3, "nothing", bound="2 s")
    def test() -> None: ...

    assert (inspect.isfunction(test), test.case, test.limit) == (True, 3, 2.0)
