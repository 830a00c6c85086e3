# SPDX-License-Identifier: Apache-2.0
"""What layers of several families share: checks of shapes, how a weight is made and held."""

from __future__ import annotations

from typing import Any

import numpy as np

from ostria import random
from ostria._errors import at_line
from ostria.nn import constraints, initializers, regularizers
from ostria.nn.module import Module


def rules(initializer: Any, regularizer: Any = None, constraint: Any = None) -> dict[str, Any]:
    """What a layer's arguments say of one weight, as arguments of `add_weight`."""
    return {
        "initializer": initializers.get(initializer),
        "regularizer": regularizers.get(regularizer),
        "constraint": constraints.get(constraint),
    }


def given(names: dict[str, Any]) -> dict[str, Any]:
    """The arguments of a constructor, from its `locals()`."""
    return {name: value for name, value in names.items() if name not in ("self", "__class__")}


def rules_of(options: dict[str, Any], weight: str) -> dict[str, Any]:
    """`rules` from the arguments `<weight>_initializer` and so on among all that were given."""
    return rules(*(options[f"{weight}_{w}"] for w in ("initializer", "regularizer", "constraint")))


def own_generator(module: Any, seed: int) -> random.Generator:
    """A generator whose state is the weight `generator` of `module`."""
    first = np.array([seed, 0], np.int64)
    module.generator_state = module.add_weight(
        "generator",
        first.shape,
        initializer=lambda shape, dtype, path: first,
        dtype="int64",
        trainable=False,
    )
    return random.Generator.around(module.generator_state)


def require_rank(module: Module, shape: tuple[Any, ...], rank: int, meaning: str) -> None:
    if len(shape) != rank:
        raise ValueError(
            at_line(
                f"{module.name}: needs an input of rank {rank} ({meaning}), but its shape is "
                f"{list(shape)}"
            )
        )


def require_features(module: Module, x: Any, features: int) -> None:
    if not x.shape or x.shape[-1] != features:
        raise ValueError(
            at_line(
                f"{module.name}: its weights are for {features} features, but the last size of "
                f"{list(x.shape)} is another; build another layer for it"
            )
        )
