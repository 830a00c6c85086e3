# SPDX-License-Identifier: Apache-2.0
"""Examples in docstrings run, and what is public has a docstring."""

from __future__ import annotations

import doctest
import importlib
import inspect
import pkgutil

import pytest

import ostria as ost

MODULES = sorted(
    m.name
    for m in pkgutil.walk_packages(ost.__path__, "ostria.")
    if not m.name.startswith(("ostria._native", "ostria.libostria"))
    and not m.name.endswith("__main__")
)


@pytest.mark.parametrize("name", MODULES)
def test_examples(name: str) -> None:
    module = importlib.import_module(name)
    result = doctest.testmod(module, optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE)
    assert result.failed == 0


def test_there_are_examples() -> None:
    finder = doctest.DocTestFinder(exclude_empty=True)
    found = [t for m in MODULES for t in finder.find(importlib.import_module(m)) if t.examples]
    assert len(found) >= 5


def test_public_functions_and_classes_have_docstrings() -> None:
    bare = []
    for path in ("", ".nn", ".optim", ".losses", ".metrics", ".data", ".io", ".random"):
        module = importlib.import_module("ostria" + path)
        for name in getattr(module, "__all__", None) or dir(module):
            value = getattr(module, name)
            if name.startswith("_") or inspect.ismodule(value) or not callable(value):
                continue
            if not (getattr(value, "__doc__", None) or "").strip():
                bare.append(f"{module.__name__}.{name}")
    assert bare == []
