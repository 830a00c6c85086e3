# SPDX-License-Identifier: Apache-2.0
"""What docs/generate.py makes is committed, and fresh. `make docs` mends a failure."""

from __future__ import annotations

import ast
import importlib.util
import re
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def generate() -> ModuleType:
    spec = importlib.util.spec_from_file_location("generate", ROOT / "docs/generate.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def same(path: Path, fresh: str) -> None:
    assert path.read_text() == fresh, f"{path.relative_to(ROOT)} is stale; run `make docs`"


def test_the_picture_of_the_rooms_is_fresh(generate: ModuleType) -> None:
    same(ROOT / "docs/architecture.md", generate.architecture())


def test_the_gpu_status_is_fresh_and_claims_only_what_ran(generate: ModuleType) -> None:
    ledger = generate.gpu_status
    same(ledger.PAGE, ledger.page())
    ran = {"ran": {"kernels": ["fill_4"]}, "device": "H", "commit": "c" * 40, "date": "2026-01-02"}
    assert ledger.state("kernels", "fill_4", []) == ledger.NEVER
    assert ledger.state("kernels", "fill_4", [ran]) == f"ran on H at {'c' * 10}, 2026-01-02"
    assert ledger.state("kernels", "fill_8", [ran]) == ledger.NEVER
    small = {**ran, "kind": "check", "ran": {"models": ["lstm"]}}
    assert ledger.state("models", "lstm", [small]) == ledger.NEVER
    assert ledger.state("models", "lstm", [{**small, "kind": "bench"}]) != ledger.NEVER
    print(ledger.age())  # continuous integration shows how old the newest record is


def test_the_picture_leaves_out_what_a_longer_way_implies(generate: ModuleType) -> None:
    graph = {"a": {"b", "c"}, "b": {"c"}, "c": set()}
    assert generate.reduced(graph) == {"a": {"b"}, "b": {"c"}, "c": set()}


def test_the_stub_is_fresh_and_is_python(generate: ModuleType) -> None:
    pytest.importorskip("ostria._native", reason="the extension is not built")
    fresh = generate.native_stub()
    ast.parse(fresh)
    same(ROOT / "python/ostria/_native.pyi", fresh)


def test_the_reference_is_fresh_and_has_every_op(generate: ModuleType) -> None:
    native = pytest.importorskip("ostria._native", reason="the extension is not built")
    text = generate.ops_reference()
    same(ROOT / "docs/reference/ops.md", text)
    headings = re.findall(r"^## (\w+)", text, re.M)
    assert headings == [op["name"] for op in native.registry()]


def test_the_table_of_launchers_is_fresh(generate: ModuleType) -> None:
    pytest.importorskip("ostria._native", reason="the extension is not built")
    same(ROOT / "docs/reference/launchers.md", generate.launchers_reference())


def test_every_op_has_a_doc_and_a_gradient_decision() -> None:
    native = pytest.importorskip("ostria._native", reason="the extension is not built")
    for op in native.registry():
        assert op["doc"].strip().endswith((".", ")")), op["name"]
        assert op["has_gradient"] or op["no_gradient_because"], op["name"]
        runs = op["kernels"] or op["decomposes"] or op["view"] or op["name"] == "constant"
        assert runs or op["internal"], op["name"]
