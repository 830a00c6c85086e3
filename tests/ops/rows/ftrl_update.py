# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import numpy as np
from optimizers import update


def step(w, g, n, z, lr, t, learning_rate_power=-0.5, l1=0.0, l2=0.0, l2_shrinkage=0.0, beta=0.0):
    after = n + g * g
    sigma = (after**-learning_rate_power - n**-learning_rate_power) / lr
    z = z + g + 2 * l2_shrinkage * w - sigma * w
    quadratic = (after**-learning_rate_power + beta) / lr + 2 * l2
    return (np.clip(z, -l1, l1) - z) / quadratic, after, z


ROW = update(
    "ftrl_update",
    2,
    step,
    attrs=(
        {},
        {"l1": 0.5, "l2": 0.25, "l2_shrinkage": 0.125, "beta": 1.0},
        {"learning_rate_power": -0.75, "l1": 0.5},
    ),
    by_rows={"lazy": True, "l1": 0.5},
)
