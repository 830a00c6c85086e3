# SPDX-License-Identifier: Apache-2.0
"""The README's example runs as it stands, and learns."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("ostria._native")
README = Path(__file__).parents[2] / "README.md"


def test_the_example_runs():
    code = re.search(r"```python\n(.*?)```", README.read_text(), re.S).group(1)
    assert len(code.splitlines()) <= 26
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    loss = float(re.search(r"loss ([0-9.]+)", done.stdout).group(1))
    assert loss < 0.2
    assert "1 trace(s)" in done.stdout


def test_its_links_lead_somewhere():
    for target in re.findall(r"\]\(([^)]+)\)", README.read_text()):
        assert (README.parent / target).exists(), target
