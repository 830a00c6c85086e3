# SPDX-License-Identifier: Apache-2.0
"""The fixture `limit`: seconds that the test's own declaration promises, and what a busy machine
may take on top."""

from __future__ import annotations

import pytest
from launching import SLACK


@pytest.fixture
def limit(request: pytest.FixtureRequest) -> float:
    return request.function.limit + SLACK
