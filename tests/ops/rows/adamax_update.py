# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import numpy as np
from optimizers import update


def step(w, g, m, u, lr, t, beta1=0.9, beta2=0.999, epsilon=1e-7):
    m, u = m + (g - m) * (1 - beta1), np.maximum(beta2 * u, np.abs(g))
    return w - lr / (1 - beta1**t) * m / (u + epsilon), m, u


ROW = update(
    "adamax_update",
    2,
    step,
    has_step=True,
    attrs=({}, {"beta1": 0.5, "beta2": 0.9, "epsilon": 1e-3}),
)
