# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import numpy as np
from optimizers import update


def step(w, g, a, d, lr, t, rho=0.95, epsilon=1e-7):
    a = rho * a + (1 - rho) * g * g
    move = g * np.sqrt(d + epsilon) / np.sqrt(a + epsilon)
    return w - lr * move, a, rho * d + (1 - rho) * move * move


ROW = update("adadelta_update", 2, step, attrs=({}, {"rho": 0.5, "epsilon": 1e-3}))
