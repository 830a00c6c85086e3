# SPDX-License-Identifier: Apache-2.0
"""The user's own line at the end of a message, as the C++ core gives it: `… [train.py:42]`.

Every error that the Python half raises about a user's mistake goes through `at_line`, so that a
message reads the same whichever half found the mistake.
"""

from __future__ import annotations

import os
import re

from ostria import _native

_PACKAGE = os.path.join(os.path.dirname(__file__), "")
_LINE = re.compile(r" \[[^\[\]]+:\d+\]$")


def at_line(message: str) -> str:
    """`message` with the innermost line of the user; unchanged where there is none."""
    line = _native.capture_location()
    return f"{message} [{line}]" if line else message


def has_line(message: str) -> bool:
    """Whether it ends with the user's line, as `at_line` leaves it."""
    return _LINE.search(message) is not None


def add_line(error: Exception) -> None:
    """Puts the user's line at the end of a message of ours that was made where none was known.

    That is in the core, which may run without Python, or on a thread that reads ahead. What other
    code raises, such as a function that was given to `Dataset.map`, stays as it is.
    """
    message = error.args[0] if len(error.args) == 1 else None
    if isinstance(message, str) and _LINE.search(message) is None and _is_ours(error):
        error.args = (at_line(message),)


def _is_ours(error: Exception) -> bool:
    frame = error.__traceback__
    while frame is not None and frame.tb_next is not None:
        frame = frame.tb_next
    return frame is not None and frame.tb_frame.f_code.co_filename.startswith(_PACKAGE)


def add_remark(error: Exception, remark: str) -> bool:
    """Appends `remark` to the message of `error`, before the user's line; whether there is one.

    Other exceptions are the user's own or name no mistake, and stay as they are.
    """
    message = error.args[0] if error.args else None
    if not isinstance(message, str) or (line := _LINE.search(message)) is None:
        return False
    error.args = (f"{message[: line.start()]}{remark}{line[0]}", *error.args[1:])
    return True


def name_layer(error: Exception, path: str, kind: str) -> None:
    """Adds the layer that the mistake happened in; the first one to do so, the innermost, wins."""
    if not hasattr(error, "_ostria_layer") and add_remark(error, f" (layer '{path}', {kind})"):
        error._ostria_layer = path  # type: ignore[attr-defined]
