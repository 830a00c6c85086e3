# SPDX-License-Identifier: Apache-2.0
"""Puts this folder on the path, and every graph of these tests through the verifier."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent))


@pytest.fixture(autouse=True, scope="session")
def _verify():
    import ostria as ost
    from ostria import _native

    if wanted := os.environ.get("OSTRIA_TEST_DEVICE"):  # or all would pass on another device, too
        assert ost.ones((1,)).device == wanted
    _native.set_verify(True)
    yield
    _native.set_verify(False)
