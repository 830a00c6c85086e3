# SPDX-License-Identifier: Apache-2.0
"""`import ostria` is quick, silent, and needs nothing but NumPy."""

from __future__ import annotations

import subprocess
import sys
import time

import pytest


def run(code: str) -> tuple[float, str]:
    begin = time.perf_counter()
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    return time.perf_counter() - begin, done.stdout + done.stderr


def test_import_prints_nothing() -> None:
    assert run("import ostria")[1] == ""


def test_import_brings_no_package_but_numpy() -> None:
    code = (
        "import sys, numpy; before = set(sys.modules); import ostria; "
        "print(sorted({m.split('.')[0] for m in set(sys.modules) - before} "
        "- set(sys.stdlib_module_names)))"
    )
    assert run(code)[1].strip() == "['ostria']"


def test_import_leaves_the_large_parts_for_later() -> None:
    late = ("nn", "optim", "losses", "metrics", "data", "estimator", "train", "diagnose")
    code = f"import sys, ostria; print([m for m in {late} if 'ostria.' + m in sys.modules])"
    assert run(code)[1].strip() == "[]"
    assert "Dense" in run("import ostria; print(ostria.nn.Dense)")[1]


def test_import_takes_a_tenth_of_a_second_over_numpy() -> None:
    # Best of five: 15 ms where nothing else runs. Three times the budget, for a busy machine.
    bare = min(run("import numpy")[0] for _ in range(5))
    ours = min(run("import numpy, ostria")[0] for _ in range(5))
    assert ours - bare < 0.3, f"import ostria takes {ours - bare:.3f} s over NumPy; 0.1 is promised"


def test_an_unknown_attribute_is_named() -> None:
    import ostria as ost

    with pytest.raises(AttributeError, match="module 'ostria' has no attribute 'reluu'"):
        ost.reluu  # noqa: B018
