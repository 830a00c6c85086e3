# SPDX-License-Identifier: Apache-2.0
"""The public names and signatures, held to tests/lint/public_api.txt, so that a change is seen.

A change that is meant: `make docs`, and a line in CHANGELOG.md.
"""

from __future__ import annotations

import difflib
from pathlib import Path
from types import ModuleType

import pytest
from test_generated import generate  # noqa: F401

SNAPSHOT = Path(__file__).with_name("public_api.txt")


def test_the_public_api_is_the_snapshot(generate: ModuleType) -> None:  # noqa: F811
    pytest.importorskip("ostria._native", reason="the extension is not built")
    old, new = SNAPSHOT.read_text().splitlines(), generate.public_api().splitlines()
    changes = [x for x in difflib.ndiff(old, new) if x[0] in "+-"]
    assert not changes, "\n".join(["the public API changed; run `make docs`", *changes])


def test_nothing_foreign_is_public() -> None:
    ostria = pytest.importorskip("ostria", reason="the extension is not built")
    for name in ("np", "math", "operator", "builtins", "Any", "Sequence", "annotations"):
        assert name not in dir(ostria), f"ostria.{name} leaks out of an import"


def test_helpers_are_not_public() -> None:
    pytest.importorskip("ostria._native", reason="the extension is not built")
    from ostria import _checks, _errors, _keywords

    helpers = {n for m in (_checks, _errors, _keywords) for n in vars(m) if not n.startswith("_")}
    helpers |= {"astensor", "stream_of"}
    listed = [line.split("(")[0] for line in SNAPSHOT.read_text().splitlines()]
    assert not [name for name in listed if name.rsplit(".")[-1] in helpers]
