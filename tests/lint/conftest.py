# SPDX-License-Identifier: Apache-2.0
"""The files that the lint tests read: what git tracks, and new files that it does not ignore."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="session")
def texts() -> dict[str, str]:
    """Maps each text file's path from the root to its content."""
    command = ["git", "-C", str(ROOT), "ls-files", "-z", "-co", "--exclude-standard"]
    listed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    found = {}
    for name in filter(None, listed.split("\0")):
        path = ROOT / name
        if path.is_file() and not path.is_symlink():
            data = path.read_bytes()
            if b"\0" not in data[:4096]:
                found[name] = data.decode("utf-8")
    assert "tests/lint/conftest.py" in found
    return found
