# SPDX-License-Identifier: Apache-2.0
"""Layers that disturb their input in training only."""

from __future__ import annotations

import math
from typing import Any, ClassVar

from ostria import _functions as F
from ostria import random
from ostria._checks import check_not_negative, check_share
from ostria._errors import at_line
from ostria._keywords import checked_init
from ostria.nn._common import own_generator, require_rank
from ostria.nn._windows import IMAGES
from ostria.nn.module import Module


class _Noise(Module):
    """What draws in training.

    With a `seed` it has a generator of its own, whose state is one of its Variables; else it draws
    from `generator`, by default the one that `ost.random.seed` seeds.
    """

    def _draw_with(self, seed: int | None, generator: random.Generator | None) -> None:
        if seed is not None and generator is not None:
            raise ValueError(
                at_line(
                    f"{type(self).__name__}: seed and generator exclude each other; give at most "
                    "one"
                )
            )
        self.generator = generator
        self.seed = None if seed is None else random.check_seed(seed)

    def build(self, shape: tuple[Any, ...]) -> None:
        if self.seed is not None:
            self.generator = own_generator(self, self.seed)

    def call(self, x: Any, training: bool = False) -> Any:
        x = F.astensor(x)
        return self._disturb(x) if training else x

    def _disturb(self, x: Any) -> Any:
        raise NotImplementedError


class _Dropout(_Noise):
    def __init__(
        self,
        rate: float,
        seed: int | None = None,
        *,
        generator: random.Generator | None = None,
        name: str | None = None,
    ):
        super().__init__(name=name)
        self.rate = check_share(type(self).__name__, "rate", rate)
        self._draw_with(seed, generator)


@checked_init
class Dropout(_Dropout):
    """Zeroes a share `rate` of the elements in training and scales the others by 1 / (1 - rate).

    With a `seed` it has a generator of its own, whose state is one of its Variables; else it draws
    from `generator`, by default the one that `ost.random.seed` seeds.
    """

    def _disturb(self, x: Any) -> Any:
        return random.dropout(x, self.rate, generator=self.generator)


class _SpatialDropout(_Dropout):
    _dims: ClassVar[int]

    def _disturb(self, x: Any) -> Any:
        require_rank(self, x.shape, self._dims + 2, IMAGES[self._dims])
        ones = F.ones((x.shape[0], *(1,) * self._dims, x.shape[-1]), dtype=x.dtype)
        return x * random.dropout(ones, self.rate, generator=self.generator)


@checked_init
class SpatialDropout1D(_SpatialDropout):
    """Dropout of whole channels of [batch, length, c]."""

    _dims = 1


@checked_init
class SpatialDropout2D(_SpatialDropout):
    """Dropout of whole channels of images (Tompson et al. 2015)."""

    _dims = 2


@checked_init
class SpatialDropout3D(_SpatialDropout):
    """Dropout of whole channels of volumes."""

    _dims = 3


@checked_init
class GaussianNoise(_Noise):
    """Adds normal numbers of standard deviation `stddev` in training."""

    def __init__(
        self,
        stddev: float,
        seed: int | None = None,
        *,
        generator: random.Generator | None = None,
        name: str | None = None,
    ):
        super().__init__(name=name)
        self.stddev = check_not_negative("GaussianNoise", "stddev", stddev)
        self._draw_with(seed, generator)

    def _disturb(self, x: Any) -> Any:
        return x + random.normal(
            x.shape, stddev=self.stddev, dtype=x.dtype, generator=self.generator
        )


@checked_init
class GaussianDropout(_Dropout):
    """Multiplies by normal numbers of mean 1 and variance rate / (1 - rate) in training."""

    def _disturb(self, x: Any) -> Any:
        stddev = math.sqrt(self.rate / (1 - self.rate))
        return x * random.normal(
            x.shape, mean=1.0, stddev=stddev, dtype=x.dtype, generator=self.generator
        )
