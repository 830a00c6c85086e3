# SPDX-License-Identifier: Apache-2.0
"""The fixtures `job`, `ostria launch` in a folder, with nothing of it left behind, and `limit`."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from launching import SLACK, Launcher, until


@pytest.fixture
def job(tmp_path: Path) -> Iterator[Launcher]:
    launcher = Launcher(tmp_path)
    yield launcher
    clean = until(lambda: not launcher.pids())
    left = launcher.pids()
    for pid in left:
        os.kill(pid, signal.SIGKILL)
    assert clean, f"processes {left} outlived the launcher"


@pytest.fixture
def limit(request: pytest.FixtureRequest) -> float:
    """Seconds that the test's own declaration promises, and what a busy machine may take on top."""
    return float(request.function.limit) + SLACK
