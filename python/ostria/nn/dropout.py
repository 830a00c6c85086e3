# SPDX-License-Identifier: Apache-2.0
"""Layers that disturb their input in training only."""

from __future__ import annotations

from typing import Any

import numpy as np

from ostria import _functions as F
from ostria import random
from ostria._checks import is_number
from ostria._errors import at_line
from ostria._keywords import checked_init
from ostria.nn.module import Module


@checked_init
class Dropout(Module):
    """Zeroes a share `rate` of the elements in training and scales the others by 1 / (1 - rate).

    With a `seed` it has a generator of its own, whose state is one of its Variables; else it draws
    from `generator`, by default the one that `ost.random.seed` seeds.
    """

    def __init__(
        self,
        rate: float,
        seed: int | None = None,
        *,
        generator: random.Generator | None = None,
        name: str | None = None,
    ):
        super().__init__(name=name)
        if not is_number(rate) or not 0 <= rate < 1:
            raise ValueError(
                at_line(
                    f"Dropout: rate {rate!r} is not accepted; give a number from 0 up to, but not, "
                    "1"
                )
            )
        if seed is not None and generator is not None:
            raise ValueError(
                at_line("Dropout: seed and generator exclude each other; give at most one")
            )
        self.rate, self.generator = rate, generator
        self.seed = None if seed is None else random.check_seed(seed)

    def build(self, shape: tuple[Any, ...]) -> None:
        if self.seed is not None:
            first = np.array([self.seed, 0], np.int64)
            self.generator_state = self.add_weight(
                "generator",
                first.shape,
                initializer=lambda shape, dtype, path: first,
                dtype="int64",
                trainable=False,
            )
            self.generator = random.Generator.around(self.generator_state)

    def call(self, x: Any, training: bool = False) -> Any:
        if not training:
            return F.astensor(x)
        return random.dropout(x, self.rate, generator=self.generator)
