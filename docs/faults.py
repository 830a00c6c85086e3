# SPDX-License-Identifier: Apache-2.0
"""The table of failures in docs/distributed.md, made of what tests/distributed declares.

Declarations (`promises.py` there) are read, not executed: no test is imported. A case without a
test is said to be not yet.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs/distributed.md"
TESTS = ROOT / "tests/distributed"
BEGIN, END = "<!-- failures: begin (make docs) -->", "<!-- failures: end -->"


@dataclass(frozen=True)
class Promise:
    """What one test holds: `what` within `bound`, "" for no bound."""

    case: int
    what: str
    bound: str
    test: str


def promises() -> list[Promise]:
    """All that are declared, in the order of cases."""
    found: list[Promise] = []
    for path in sorted(TESTS.rglob("test_*.py")):
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, ast.FunctionDef):
                where = f"{path.relative_to(TESTS).as_posix()}::{node.name}"
                found += (Promise(*words, where) for words in _declared(node))
    return sorted(found, key=lambda p: p.case)


def _declared(test: ast.FunctionDef) -> Iterator[tuple[int, str, str]]:
    for call in test.decorator_list:
        if isinstance(call, ast.Call) and isinstance(call.func, ast.Name):
            if call.func.id == "promises":
                words = [ast.literal_eval(arg) for arg in call.args]
                words += [ast.literal_eval(keyword.value) for keyword in call.keywords]
                yield words[0], words[1], words[2] if len(words) > 2 else ""


def titles() -> dict[int, str]:
    """Of all cases, by number."""
    for node in ast.parse((TESTS / "promises.py").read_text()).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "TITLES":
            titles: dict[int, str] = ast.literal_eval(node.value)
            return titles
    raise ValueError("tests/distributed/promises.py has lost its TITLES")


def table() -> str:
    rows = ["| | failure | what happens | within | test |", "|---|---|---|---|---|"]
    known = promises()
    for case, title in titles().items():
        tested = [p for p in known if p.case == case]
        for p in tested:
            rows.append(f"| {case} | {title} | {p.what} | {p.bound} | `{p.test}` |")
        if not tested:
            rows.append(f"| {case} | {title} | not yet: nothing is promised | | |")
    return "\n".join([BEGIN, *rows, END])


def page() -> str:
    """docs/distributed.md with a fresh table."""
    before, begin, rest = PAGE.read_text().partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"{PAGE.name} has lost the marks of its table, {BEGIN} and {END}")
    return before + table() + after
