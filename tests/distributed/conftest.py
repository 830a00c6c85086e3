# SPDX-License-Identifier: Apache-2.0
"""The fixture `job`: `ostria launch` in a folder, and nothing of it left behind."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from launching import Launcher, until


@pytest.fixture
def job(tmp_path: Path) -> Iterator[Launcher]:
    launcher = Launcher(tmp_path)
    yield launcher
    clean = until(lambda: not launcher.pids())
    left = launcher.pids()
    for pid in left:
        os.kill(pid, signal.SIGKILL)
    assert clean, f"processes {left} outlived the launcher"
