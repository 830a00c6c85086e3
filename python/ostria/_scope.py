# SPDX-License-Identifier: Apache-2.0
"""The modules whose code is running: their path names variables and random streams.

`Sharing` lets a function that makes its modules anew each time it is traced get the same Variables.
"""

from __future__ import annotations

import threading
from types import TracebackType
from typing import Any

_local = threading.local()


def path() -> str:
    """The current path, `encoder/dense_1`; "" outside modules."""
    return "/".join(getattr(_local, "parts", ()))


def callers() -> tuple[Any, ...]:
    """The modules whose calls are running, outermost first."""
    return getattr(_local, "callers", ())


def outermost() -> object:
    """What stands for the running call of the outermost module: no other call has the same."""
    return getattr(_local, "outermost", None)


def training() -> bool:
    """What the running call of a module was told; False outside modules."""
    return getattr(_local, "training", False)


class scope:
    """Context manager around a call of `module`: appends `name` to the path."""

    def __init__(self, name: str, module: Any, training: bool):
        self._name, self._module, self._training = name, module, training

    def __enter__(self) -> None:
        self._outer = outer = (getattr(_local, "parts", ()), callers(), training())
        if not outer[1]:
            _local.outermost = object()
        _local.parts = (*outer[0], self._name) if self._name else outer[0]
        _local.callers, _local.training = (*outer[1], self._module), self._training

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        _local.parts, _local.callers, _local.training = self._outer


class Sharing:
    """Variables by path, for modules that are made again: entered around each trace of a function.

    Modules called outside any other get names in the order of their calls (dense, dense_1, …), so
    equal code finds equal paths, and `nn.Module.add_weight` hands out what is there.
    """

    def __init__(self) -> None:
        self.variables: dict[str, Any] = {}
        self.roots: list[Any] = []  # modules called outside others during this trace
        self._names: set[str] = set()

    def __enter__(self) -> Sharing:
        self._outer = getattr(_local, "sharing", None)
        _local.sharing = self
        self.roots, self._names = [], set()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        _local.sharing = self._outer

    def name_root(self, module: Any) -> str:
        """The path of a module called outside others: its own, or the next free one."""
        if all(root is not module for root in self.roots):
            self.roots.append(module)
            name, number = module._scope_name or module.name, 0
            base = name
            while name in self._names and not module._scope_name:
                number += 1
                name = f"{base}_{number}"
            self._names.add(name)
            module._scope_name = name
        return module._scope_name


def sharing() -> Sharing | None:
    """The innermost `Sharing` that is entered."""
    return getattr(_local, "sharing", None)
