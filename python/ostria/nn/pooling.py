# SPDX-License-Identifier: Apache-2.0
"""Pools with Keras's names and defaults, over images that have their channels last."""

from __future__ import annotations

from typing import Any, ClassVar

from ostria import _native
from ostria._keywords import checked_init
from ostria.nn._common import require_rank
from ostria.nn._windows import IMAGES, resolve_padding, sizes
from ostria.nn.module import Module

_ops = _native.ops


class _Pool(Module):
    _dims: ClassVar[int]

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
        self.pool_size = sizes(pool_size, self._dims, f"{kind}: pool_size")
        self.strides = (
            self.pool_size if strides is None else sizes(strides, self._dims, f"{kind}: strides")
        )
        self.padding = padding

    def _attributes(self, x: Any) -> dict[str, Any]:
        require_rank(self, x.shape, self._dims + 2, IMAGES[self._dims])
        return {
            "window": self.pool_size,
            "strides": self.strides,
            "padding": resolve_padding(self.padding, x.shape, self.pool_size, self.strides),
        }


class _MaxPool(_Pool):
    def call(self, x: Any) -> Any:
        return getattr(_ops, f"max_pool{self._dims}d")(x, **self._attributes(x))[0]


class _AvgPool(_Pool):
    def call(self, x: Any) -> Any:
        return getattr(_ops, f"avg_pool{self._dims}d")(x, **self._attributes(x))


@checked_init
class MaxPool1D(_MaxPool):
    """Largest value of each window: [batch, length, c] to [batch, length', c]."""

    _dims = 1


@checked_init
class MaxPool2D(_MaxPool):
    """Largest value of each window."""

    _dims = 2


@checked_init
class MaxPool3D(_MaxPool):
    """Largest value of each window of volumes [batch, depth, height, width, c]."""

    _dims = 3


@checked_init
class AvgPool1D(_AvgPool):
    """Mean of each window of [batch, length, c]; padding does not count."""

    _dims = 1


@checked_init
class AvgPool2D(_AvgPool):
    """Mean of each window; padding does not count."""

    _dims = 2


@checked_init
class AvgPool3D(_AvgPool):
    """Mean of each window of [batch, depth, height, width, c]; padding does not count."""

    _dims = 3


class _GlobalPool(Module):
    _dims: ClassVar[int]
    _reduce: ClassVar[str]

    def __init__(self, keepdims: bool = False, *, name: str | None = None):
        super().__init__(name=name)
        self.keepdims = keepdims

    def call(self, x: Any) -> Any:
        require_rank(self, x.shape, self._dims + 2, IMAGES[self._dims])
        axes = tuple(range(1, self._dims + 1))
        return getattr(_ops, self._reduce)(x, axes, self.keepdims)


@checked_init
class GlobalAveragePooling1D(_GlobalPool):
    """Mean over the length: [batch, length, c] to [batch, c]."""

    _dims, _reduce = 1, "mean"


@checked_init
class GlobalAveragePooling2D(_GlobalPool):
    """Mean over height and width: [batch, h, w, c] to [batch, c]."""

    _dims, _reduce = 2, "mean"


@checked_init
class GlobalAveragePooling3D(_GlobalPool):
    """Mean over depth, height and width: [batch, d, h, w, c] to [batch, c]."""

    _dims, _reduce = 3, "mean"


@checked_init
class GlobalMaxPooling1D(_GlobalPool):
    """Largest value along the length: [batch, length, c] to [batch, c]."""

    _dims, _reduce = 1, "max"


@checked_init
class GlobalMaxPooling2D(_GlobalPool):
    """Largest value of every channel: [batch, h, w, c] to [batch, c]."""

    _dims, _reduce = 2, "max"


@checked_init
class GlobalMaxPooling3D(_GlobalPool):
    """Largest value of every channel: [batch, d, h, w, c] to [batch, c]."""

    _dims, _reduce = 3, "max"
