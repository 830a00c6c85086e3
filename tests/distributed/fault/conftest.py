# SPDX-License-Identifier: Apache-2.0
"""OSTRIA_KILLS=1000 kills that often."""

from __future__ import annotations

import os

import pytest


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    kills = int(os.environ.get("OSTRIA_KILLS", "1"))
    if kills > 1 and getattr(metafunc.function, "case", None) in (1, 2):
        metafunc.fixturenames.append("again")
        metafunc.parametrize("again", range(kills // 2))
