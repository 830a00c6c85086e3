# SPDX-License-Identifier: Apache-2.0
"""Pools with Keras's names and defaults, over images that have channels last."""

from __future__ import annotations

from typing import Any

from ostria import _native
from ostria._keywords import checked_init
from ostria.nn._common import require_rank
from ostria.nn._windows import pair, resolve_padding
from ostria.nn.module import Module

_ops = _native.ops


class _Pool2D(Module):
    def __init__(
        self,
        pool_size: Any = 2,
        strides: Any = None,
        padding: Any = "valid",
        *,
        name: str | None = None,
    ):
        super().__init__(name=name)
        kind = type(self).__name__
        self.pool_size = pair(pool_size, f"{kind}: pool_size")
        self.strides = self.pool_size if strides is None else pair(strides, f"{kind}: strides")
        self.padding = padding

    def _attributes(self, x: Any) -> dict[str, Any]:
        require_rank(self, x.shape, 4, "[batch, height, width, channels]")
        return {
            "window": self.pool_size,
            "strides": self.strides,
            "padding": resolve_padding(self.padding, x.shape, self.pool_size, self.strides),
        }


@checked_init
class MaxPool2D(_Pool2D):
    """Largest value of each window."""

    def call(self, x: Any) -> Any:
        return _ops.max_pool2d(x, **self._attributes(x))[0]


@checked_init
class AvgPool2D(_Pool2D):
    """Mean of each window; padding does not count."""

    def call(self, x: Any) -> Any:
        return _ops.avg_pool2d(x, **self._attributes(x))


@checked_init
class GlobalAveragePooling2D(Module):
    """Mean over height and width: [batch, h, w, c] to [batch, c]."""

    def __init__(self, keepdims: bool = False, *, name: str | None = None):
        super().__init__(name=name)
        self.keepdims = keepdims

    def call(self, x: Any) -> Any:
        require_rank(self, x.shape, 4, "[batch, height, width, channels]")
        return _ops.mean(x, (1, 2), self.keepdims)
