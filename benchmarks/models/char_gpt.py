# SPDX-License-Identifier: Apache-2.0
"""A small character transformer, 4 layers of 128 with 4 heads, 64 characters, AdamW: steps/s."""

from __future__ import annotations

from typing import Any

import numpy as np

from benchmarks.models import data, rules, transformer
from benchmarks.suites import Suite

TIME, VOCABULARY = 64, 65
SHAPE = transformer.Shape(4, 128, 4, TIME, VOCABULARY, approximate_gelu=False, tied=False)
RULE = rules.AdamW(1e-3, 0.01)
MODES = {
    "ostria": ["compile"],
    "torch": ["eager", "compile", "compile_step"],
    "jax": ["jit", "scan"],
    "tensorflow": ["function", "xla"],
}


def examples(batch: int, pool: int) -> tuple[np.ndarray, np.ndarray]:
    """Characters and the ones after them."""
    return transformer.examples(SHAPE, batch, pool)


def model() -> Any:
    """The network as an Ostria user writes it."""
    return transformer.model(SHAPE)


def make(framework: str, mode: str, batch: int, pool: int = data.POOL) -> Any:
    """A worker's job, with `pool` batches of examples."""
    weights = transformer.weights(SHAPE, 0.05)
    return transformer.make(SHAPE, weights, examples(batch, pool), RULE, framework, mode)


SUITES = [Suite("char_gpt", "steps/s", MODES, make, [8])]
