# SPDX-License-Identifier: Apache-2.0
"""A registered op without a row, a doc or a gradient decision fails here."""

from __future__ import annotations

from pathlib import Path

import pytest

import ostria as ost

ROWS = {path.stem for path in (Path(__file__).parent / "rows").glob("*.py")}
REGISTRY = {entry["name"]: entry for entry in ost._native.registry()}

# Ops with a test of their own beside this one, because a row's samples cannot hold what they take.
ELSEWHERE = {
    "call": "test_call.py",
    "cond": "test_control.py",
    "fused": "test_fused.py",
    "scan": "test_control.py",
    "while_loop": "test_control.py",
}


@pytest.mark.parametrize("name", REGISTRY)
def test_every_op_has_a_row(name: str) -> None:
    if name in ELSEWHERE:
        assert (Path(__file__).parent / ELSEWHERE[name]).is_file()
        return
    assert name in ROWS, f"op {name} has no row: write tests/ops/rows/{name}.py"


@pytest.mark.parametrize("name", sorted(ROWS))
def test_every_row_has_an_op(name: str) -> None:
    assert name in REGISTRY, f"tests/ops/rows/{name}.py is of no registered op"


@pytest.mark.parametrize("entry", REGISTRY.values(), ids=REGISTRY.keys())
def test_every_op_is_documented(entry: dict) -> None:
    first = entry["doc"].split("\n")[0]
    assert len(first) > 10, f"{entry['name']}: {entry['doc']!r} says too little"
    if not entry["internal"]:
        for name, *_ in entry["attrs"]:
            assert name in entry["doc"], f"{entry['name']}: nothing about attribute {name!r}"


@pytest.mark.parametrize("entry", REGISTRY.values(), ids=REGISTRY.keys())
def test_every_op_decides_on_its_gradient(entry: dict) -> None:
    assert entry["has_gradient"] or entry["no_gradient_because"]
