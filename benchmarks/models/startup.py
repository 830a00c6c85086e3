# SPDX-License-Identifier: Apache-2.0
"""Process start to the end of the first MLP training step at batch 32, in fresh processes.

Measured from the outside, from spawn to the line with the loss. Files are in the page cache and
byte code is compiled: the first round is thrown away. Modes with `_cached` may keep what they
compiled in a folder between processes, as their users can.
"""

from __future__ import annotations

import os
from typing import Any

from benchmarks.models import mlp
from benchmarks.suites import Suite

MODES = {
    "ostria": ["compile"],
    "torch": ["eager", "compile_cached"],
    "jax": ["jit", "jit_cached"],
    "tensorflow": ["function"],
}


def make(framework: str, mode: str, batch: int) -> Any:
    """One step; returns its loss."""
    kind = mode.removesuffix("_cached")
    cache = os.environ["OSTRIA_BENCH_CACHE"]
    if framework == "jax" and mode.endswith("_cached"):
        os.environ["JAX_COMPILATION_CACHE_DIR"] = os.path.join(cache, "jax")
        os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"
        os.environ["JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES"] = "-1"
    return mlp.make(framework, kind, batch, pool=1).advance(1)


SUITES = [Suite("startup", "s", MODES, make, [32], process=True)]
