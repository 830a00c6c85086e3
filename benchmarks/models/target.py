# SPDX-License-Identifier: Apache-2.0
"""Where and in which precision this process trains: the CPU in float32, unless somebody chose.

Precisions have the names of `ost.mixed_precision`: weights stay in float32, ops compute in 16 bits.
"""

from __future__ import annotations

from dataclasses import dataclass

LOSS_SCALE = 2.0**15  # the first one of float16, for everybody


@dataclass(frozen=True)
class Target:
    """A device ("cpu", "cuda") and a policy ("float32", "mixed_float16", "mixed_bfloat16")."""

    device: str = "cpu"
    precision: str = "float32"

    @property
    def is_mixed(self) -> bool:
        return self.precision != "float32"


current = Target()


def use(device: str, precision: str) -> None:
    """What workloads that are made from now on are for."""
    global current
    current = Target(device, precision)
