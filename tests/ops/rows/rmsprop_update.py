# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import numpy as np
from optimizers import update


def step(w, g, v, lr, t, rho=0.9, epsilon=1e-7):
    v = rho * v + (1 - rho) * g * g
    return w - lr * g / np.sqrt(v + epsilon), v


ROW = update("rmsprop_update", 1, step, attrs=({}, {"rho": 0.5, "epsilon": 1e-3}))
