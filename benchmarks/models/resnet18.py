# SPDX-License-Identifier: Apache-2.0
"""ResNet-18 for 32x32 images, batch norm, SGD with momentum: training images per second."""

from __future__ import annotations

from typing import Any

from benchmarks.models import resnet, resnet_train, rules
from benchmarks.suites import Suite

NET = resnet.CIFAR_18
RULE = rules.Momentum(0.01, 0.9)
POOL = 8
# After more steps the rounding of 20 normalised layers shows in the loss.
CHECK_STEPS = 8
MODES = {
    "ostria": ["compile"],
    "torch": ["eager", "eager_channels_last", "compile", "compile_channels_last"],
    "jax": ["jit"],
    "tensorflow": ["function", "xla"],
}


def make(framework: str, mode: str, batch: int, pool: int = POOL) -> Any:
    """A worker's job, with `pool` batches of examples."""
    return resnet_train.make(NET, 32, RULE, framework, mode, batch, pool, CHECK_STEPS)


SUITES = [Suite("resnet18", "images/s", MODES, make, [32], images=True)]
