# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import numpy as np
from optimizers import update


def step(w, g, v, m, lr, t, rho=0.9, momentum=0.0, epsilon=1e-7):
    v = rho * v + (1 - rho) * g * g
    m = momentum * m + lr * g / np.sqrt(v + epsilon)
    return w - m, v, m


ROW = update(
    "rmsprop_momentum_update",
    2,
    step,
    attrs=({}, {"rho": 0.5, "momentum": 0.9, "epsilon": 1e-3}),
)
