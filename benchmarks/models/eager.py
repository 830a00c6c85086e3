# SPDX-License-Identifier: Apache-2.0
"""Overhead of one call: an eager add of one-element tensors, a compiled function of one op."""

from __future__ import annotations

from collections.abc import Callable
from itertools import repeat
from typing import Any

from benchmarks.suites import Suite


class CallJob:
    """Calls `function(*arguments)` again and again; the last result's value stands for the loss."""

    stride = 1
    check_steps = 32

    def __init__(self, function: Callable[..., Any], *arguments: Any):
        self._function, self._arguments = function, arguments

    def advance(self, steps: int) -> float:
        function = self._function
        result: Any = None
        if len(self._arguments) == 1:
            x = self._arguments[0]
            for _ in repeat(None, steps):
                result = function(x)
        else:
            x, y = self._arguments
            for _ in repeat(None, steps):
                result = function(x, y)
        return float(result.item() if hasattr(result, "item") else result[0])


def _arrays(framework: str) -> Callable[[float], Any]:
    if framework == "torch":
        import torch

        from benchmarks.models import train_torch

        train_torch.setup()
        return lambda value: torch.tensor([value])
    if framework == "jax":
        import jax.numpy as jnp

        return lambda value: jnp.array([value], jnp.float32)
    if framework == "tensorflow":
        import tensorflow as tf

        from benchmarks.models import train_tensorflow

        train_tensorflow.setup()
        return lambda value: tf.constant([value])
    import ostria as ost

    return lambda value: ost.asarray([value], dtype=ost.float32)


def _add(framework: str, mode: str, batch: int) -> CallJob:
    array = _arrays(framework)
    return CallJob(lambda x, y: x + y, array(1.5), array(2.25))


def _compiled(framework: str, mode: str, batch: int) -> CallJob:
    x = _arrays(framework)(1.5)
    function: Callable[[Any], Any]
    if framework == "torch":
        import torch

        with torch.no_grad():
            function = torch.compile(lambda x: x + 1.0)
            function(x)
    elif framework == "jax":
        import jax

        function = jax.jit(lambda x: x + 1.0)
    elif framework == "tensorflow":
        from benchmarks.models import train_tensorflow

        function = train_tensorflow.compiled(lambda x: x + 1.0, mode)
    else:
        import ostria as ost

        function = ost.compile(lambda x: x + 1.0)
    return CallJob(function, x)


EAGER = {"ostria": ["eager"], "torch": ["eager"], "jax": ["eager"], "tensorflow": ["eager"]}
COMPILED = {
    "ostria": ["compile"],
    "torch": ["compile"],
    "jax": ["jit"],
    "tensorflow": ["function", "xla"],
}
SUITES = [
    Suite("eager_add", "us/call", EAGER, _add),
    Suite("compiled_call", "us/call", COMPILED, _compiled),
]
