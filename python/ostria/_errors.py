# SPDX-License-Identifier: Apache-2.0
"""The user's own line at the end of a message, as the C++ core gives it: `… [train.py:42]`.

Every error that the Python half raises about a user's mistake goes through `at_line`, so that a
message reads the same whichever half found the mistake.
"""

from __future__ import annotations

from ostria import _native


def at_line(message: str) -> str:
    """`message` with the innermost line outside this package; unchanged where there is none."""
    line = _native.capture_location()
    return f"{message} [{line}]" if line else message
