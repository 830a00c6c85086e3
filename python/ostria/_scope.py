# SPDX-License-Identifier: Apache-2.0
"""The path of the module whose code is running: names variables and random streams."""

from __future__ import annotations

import threading
from types import TracebackType

_local = threading.local()


def path() -> str:
    """The current path, `encoder/dense_1`; "" outside modules."""
    return "/".join(getattr(_local, "parts", ()))


class scope:
    """Context manager that appends a name to the path."""

    def __init__(self, name: str):
        self._name = name

    def __enter__(self) -> None:
        self._outer = getattr(_local, "parts", ())
        _local.parts = (*self._outer, self._name) if self._name else self._outer

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        _local.parts = self._outer
