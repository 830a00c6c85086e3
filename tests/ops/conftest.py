# SPDX-License-Identifier: Apache-2.0
"""Puts this folder on the path, and every graph of these tests through the verifier."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent))


@pytest.fixture(autouse=True, scope="session")
def _verify():
    from ostria import _native

    _native.set_verify(True)
    yield
    _native.set_verify(False)
