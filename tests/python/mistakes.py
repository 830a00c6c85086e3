# SPDX-License-Identifier: Apache-2.0
"""For tests of messages: each registered function makes one mistake on the line marked `# <-`."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import ostria as ost


class Mistakes:
    """The mistakes of one test file: functions, the exception's class and its whole message.

    `{line}` in a message stands for `[file.py:N]`, N being the number of the marked line, and
    `{line-2}` for `file.py:N-2`.
    """

    def __init__(self) -> None:
        self.cases: list[Any] = []

    def __call__(self, error: type[BaseException], text: str) -> Callable[..., None]:
        def register(fn: Callable[[], Any]) -> None:
            name = Path(fn.__code__.co_filename).name
            source, first = inspect.getsourcelines(fn)
            marked = [first + i for i, s in enumerate(source) if s.rstrip().endswith("# <-")]
            assert len(marked) == 1, f"{fn.__name__}: mark the line of the mistake"
            expected = text.replace("{line}", f"[{name}:{marked[0]}]")
            expected = re.sub(
                r"\{line-(\d+)\}", lambda m: f"{name}:{marked[0] - int(m[1])}", expected
            )
            self.cases.append(pytest.param(fn, error, expected, id=fn.__name__))

        return register


def check(fn: Callable[[], Any], error: type[BaseException], expected: str) -> None:
    """The exception is of this very class and says this, word for word."""
    with pytest.raises(error) as caught:
        fn()
    assert type(caught.value) is error
    assert str(caught.value) == expected


def x() -> Any:
    """float32[8, 10] of ones."""
    return ost.asarray(np.ones((8, 10), np.float32))


def ints() -> Any:
    """int32[3] of ones."""
    return ost.asarray(np.ones(3, np.int32))
