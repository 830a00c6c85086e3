# SPDX-License-Identifier: Apache-2.0
"""Run by `make test-sanitize` on the instrumented package: import, and the quick Python tests.

Usage: smoke.py FOLDER, the folder that holds the instrumented `ostria`.
"""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

import ostria

ROOT = Path(__file__).resolve().parents[2]
folder = Path(sys.argv[1])
assert folder in Path(ostria.__file__).parents, f"{ostria.__file__} is not in {folder}"
assert "libasan" in Path("/proc/self/maps").read_text(), "the sanitizer is not loaded"
tests = [str(path) for path in (ROOT / "tests/python", ROOT / "tests/ops") if path.is_dir()]
# capture=sys: the report of a sanitizer, which ends the process, must not stay in a buffer.
options = ["-q", "-x", "-m", "not slow", "--capture=sys", "-p", "no:cacheprovider"]
# Instrumented code says nothing about how long an import takes.
options += [f"--ignore={ROOT}/tests/python/test_import.py"]
# Nor does the size of a process whose freed memory is kept to catch its late users.
options += ["-k", "not test_unused_capsules_leak_nothing"]
sys.exit(pytest.main([*options, *tests]))
