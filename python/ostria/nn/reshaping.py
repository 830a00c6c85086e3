# SPDX-License-Identifier: Apache-2.0
"""Layers that move data, cut it off, fill it up or make images larger and smaller."""

from __future__ import annotations

import math
from typing import Any, ClassVar

from ostria import _functions as F
from ostria import _native
from ostria._checks import check_positive_int, is_int
from ostria._errors import at_line
from ostria._keywords import checked_init
from ostria.nn._common import require_rank
from ostria.nn._windows import IMAGES, known_sizes, pairs, sizes
from ostria.nn.module import Module

_ops = _native.ops
_METHODS = ("nearest", "bilinear", "bicubic")


class Flatten(Module):
    """[batch, a, b, …] to [batch, a * b * …]."""

    def call(self, x: Any) -> Any:
        features: Any = 1
        for size in x.shape[1:]:
            features = features * size
        return F.reshape(x, (x.shape[0], features))


@checked_init
class Reshape(Module):
    """[batch, …] to [batch, *target_shape]; one size of it may be -1, what the others leave."""

    def __init__(self, target_shape: Any, *, name: str | None = None):
        super().__init__(name=name)
        given = target_shape if isinstance(target_shape, (list, tuple)) else (target_shape,)
        if any(not is_int(n) or n < -1 for n in given) or list(given).count(-1) > 1:
            raise ValueError(
                at_line(
                    f"Reshape: target_shape {target_shape!r} is not accepted; give the sizes "
                    "without the batch, at most one of them -1"
                )
            )
        self.target_shape = tuple(given)

    def call(self, x: Any) -> Any:
        features = math.prod(x.shape[1:])
        known = math.prod(n for n in self.target_shape if n != -1)
        rest = features // known if known else 0
        target = tuple(rest if n == -1 else n for n in self.target_shape)
        if math.prod(target) != features:
            raise ValueError(
                at_line(
                    f"{self.name}: an input of shape {list(x.shape)} has {features} elements per "
                    f"example, which do not fill {list(self.target_shape)}"
                )
            )
        return F.reshape(x, (x.shape[0], *target))


@checked_init
class Permute(Module):
    """Another order of the axes; `dims` counts them from 1, without the batch."""

    def __init__(self, dims: Any, *, name: str | None = None):
        super().__init__(name=name)
        self.dims = tuple(dims) if isinstance(dims, (list, tuple)) else ()
        if not self.dims or sorted(self.dims) != list(range(1, len(self.dims) + 1)):
            raise ValueError(
                at_line(
                    f"Permute: dims {dims!r} is not accepted; give every axis once, from 1, such "
                    "as (2, 1)"
                )
            )

    def call(self, x: Any) -> Any:
        require_rank(self, x.shape, len(self.dims) + 1, f"a batch and {len(self.dims)} axes")
        return F.permute_dims(x, (0, *self.dims))


@checked_init
class RepeatVector(Module):
    """[batch, features] to [batch, n, features]."""

    def __init__(self, n: int, *, name: str | None = None):
        super().__init__(name=name)
        self.n = check_positive_int("RepeatVector", "n", n)

    def call(self, x: Any) -> Any:
        require_rank(self, x.shape, 2, "[batch, features]")
        batch, features = x.shape
        return F.broadcast_to(F.expand_dims(x, axis=1), (batch, self.n, features))


class _Spatial(Module):
    """What works on the spatial axes."""

    _dims: ClassVar[int]

    def _check(self, x: Any) -> None:
        require_rank(self, x.shape, self._dims + 2, IMAGES[self._dims])


class _ZeroPadding(_Spatial):
    def __init__(self, padding: Any = 1, *, name: str | None = None):
        super().__init__(name=name)
        self.padding = pairs(padding, self._dims, f"{type(self).__name__}: padding")

    def call(self, x: Any) -> Any:
        self._check(x)
        return F.pad(x, ((0, 0), *self.padding, (0, 0)))


@checked_init
class ZeroPadding1D(_ZeroPadding):
    """Zeros before and after [batch, length, c]: as many as `padding` or (before, after)."""

    _dims = 1


@checked_init
class ZeroPadding2D(_ZeroPadding):
    """Zeros around images: `padding`, (height, width) or ((top, bottom), (left, right))."""

    _dims = 2


@checked_init
class ZeroPadding3D(_ZeroPadding):
    """Zeros around volumes: `padding`, one number or one pair per axis."""

    _dims = 3


class _Cropping(_Spatial):
    def _crop(self, cropping: Any) -> None:
        self.cropping = pairs(cropping, self._dims, f"{type(self).__name__}: cropping")

    def call(self, x: Any) -> Any:
        self._check(x)
        inside = known_sizes(x.shape, type(self).__name__)
        left = [n - low - high for n, (low, high) in zip(inside, self.cropping, strict=True)]
        if min(left) < 1:
            raise ValueError(
                at_line(
                    f"{self.name}: cropping {self.cropping} leaves nothing of an input of shape "
                    f"{list(x.shape)}"
                )
            )
        keep = [slice(low, low + n) for n, (low, _) in zip(left, self.cropping, strict=True)]
        return x[(slice(None), *keep)]


@checked_init
class Cropping1D(_Cropping):
    """[batch, length, c] without its first and last elements."""

    _dims = 1

    def __init__(self, cropping: Any = (1, 1), *, name: str | None = None):
        super().__init__(name=name)
        self._crop(cropping)


@checked_init
class Cropping2D(_Cropping):
    """Images without their edges: ((top, bottom), (left, right))."""

    _dims = 2

    def __init__(self, cropping: Any = ((0, 0), (0, 0)), *, name: str | None = None):
        super().__init__(name=name)
        self._crop(cropping)


@checked_init
class Cropping3D(_Cropping):
    """Volumes without their edges: one pair (before, after) per axis."""

    _dims = 3

    def __init__(self, cropping: Any = ((1, 1), (1, 1), (1, 1)), *, name: str | None = None):
        super().__init__(name=name)
        self._crop(cropping)


def _method(kind: str, interpolation: Any) -> str:
    if interpolation not in _METHODS:
        raise ValueError(
            at_line(
                f"{kind}: interpolation {interpolation!r} is not known; accepted are "
                + ", ".join(map(repr, _METHODS))
            )
        )
    return str(interpolation)


class _UpSampling(_Spatial):
    def _grow(self, size: Any, interpolation: str = "nearest") -> None:
        self.size = sizes(size, self._dims, f"{type(self).__name__}: size")
        self.interpolation = _method(type(self).__name__, interpolation)

    def call(self, x: Any) -> Any:
        self._check(x)
        inside = known_sizes(x.shape, type(self).__name__)
        size = [n * times for n, times in zip(inside, self.size, strict=True)]
        return _ops.resize(x, size=size, method=self.interpolation)


@checked_init
class UpSampling1D(_UpSampling):
    """Every step of [batch, length, c] `size` times."""

    _dims = 1

    def __init__(self, size: int = 2, *, name: str | None = None):
        super().__init__(name=name)
        self._grow(size)


@checked_init
class UpSampling2D(_UpSampling):
    """Images `size` times as large; interpolation is 'nearest', 'bilinear' or 'bicubic'."""

    _dims = 2

    def __init__(
        self, size: Any = (2, 2), interpolation: str = "nearest", *, name: str | None = None
    ):
        super().__init__(name=name)
        self._grow(size, interpolation)


@checked_init
class UpSampling3D(_UpSampling):
    """Every element of volumes `size` times along every axis."""

    _dims = 3

    def __init__(self, size: Any = (2, 2, 2), *, name: str | None = None):
        super().__init__(name=name)
        self._grow(size)


@checked_init
class Resizing(_Spatial):
    """Images [batch, h, w, c] as [batch, height, width, c], without antialiasing (op `resize`)."""

    _dims = 2

    def __init__(
        self, height: int, width: int, interpolation: str = "bilinear", *, name: str | None = None
    ):
        super().__init__(name=name)
        self.height, self.width = sizes((height, width), 2, "Resizing: (height, width)")
        self.interpolation = _method("Resizing", interpolation)

    def call(self, x: Any) -> Any:
        self._check(x)
        return _ops.resize(x, size=(self.height, self.width), method=self.interpolation)


@checked_init
class Rescaling(Module):
    """x * scale + offset, in training and without."""

    def __init__(self, scale: Any, offset: Any = 0.0, *, name: str | None = None):
        super().__init__(name=name)
        self.scale, self.offset = scale, offset

    def call(self, x: Any) -> Any:
        return F.astensor(x) * self.scale + self.offset
