# SPDX-License-Identifier: Apache-2.0
"""Replicas on virtual devices of the CPU, and batches cut for them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

import ostria as ost


def mirrored(replicas: int, **options: Any) -> ost.distribute.MirroredStrategy:
    """A strategy of so many replicas."""
    return ost.distribute.MirroredStrategy([f"cpu:{i}" for i in range(replicas)], **options)


def split(x: np.ndarray, sizes: Sequence[int]) -> ost.distribute.PerReplica:
    """The first `sizes[0]` rows for replica 0, and so on."""
    return ost.distribute.PerReplica(np.split(x, np.cumsum(sizes)[:-1]))
