# SPDX-License-Identifier: Apache-2.0
"""`import ostria` is quick, silent, and needs nothing but NumPy."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

LIMIT = 0.1  # seconds, or twice what NumPy takes where a machine is slower


def run(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    return done.stdout + done.stderr


def cpu_seconds(code: str) -> float:
    """User and system time of a Python that runs `code`."""
    # NumPy's BLAS starts a thread per core, whose waiting would count as work.
    environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1"}
    child = os.posix_spawn(sys.executable, [sys.executable, "-c", code], environment)
    _, status, usage = os.wait4(child, 0)
    assert status == 0, f"python -c {code!r} ended with status {status}"
    return usage.ru_utime + usage.ru_stime


def test_import_prints_nothing() -> None:
    assert run("import ostria") == ""


def test_import_brings_no_package_but_numpy() -> None:
    code = (
        "import sys, numpy; before = set(sys.modules); import ostria; "
        "print(sorted({m.split('.')[0] for m in set(sys.modules) - before} "
        "- set(sys.stdlib_module_names)))"
    )
    assert run(code).strip() == "['ostria']"


def test_import_leaves_the_large_parts_for_later() -> None:
    late = ("nn", "optim", "losses", "metrics", "data", "estimator", "train", "diagnose")
    code = f"import sys, ostria; print([m for m in {late} if 'ostria.' + m in sys.modules])"
    assert run(code).strip() == "[]"
    assert "Dense" in run("import ostria; print(ostria.nn.Dense)")


def test_import_takes_a_tenth_of_a_second_over_bare_python() -> None:
    # Processor time with NumPy's import; the best of several, since a busy neighbour slows all.
    bare = min(cpu_seconds("pass") for _ in range(5))
    numpy = min(cpu_seconds("import numpy") for _ in range(5))
    limit = max(LIMIT, 2 * (numpy - bare))
    ours = cpu_seconds("import ostria")
    for _ in range(20):
        if ours - bare < limit:
            break
        ours = min(ours, cpu_seconds("import ostria"))
    assert ours - bare < limit, f"import ostria takes {ours - bare:.3f} s of processor time"


def test_an_unknown_attribute_is_named() -> None:
    import ostria as ost

    with pytest.raises(AttributeError, match="module 'ostria' has no attribute 'reluu'"):
        ost.reluu  # noqa: B018
