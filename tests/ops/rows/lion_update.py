# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import numpy as np
from optimizers import update


def step(w, g, m, lr, t, beta1=0.9, beta2=0.99):
    return w - lr * np.sign(beta1 * m + (1 - beta1) * g), beta2 * m + (1 - beta2) * g


ROW = update("lion_update", 1, step, attrs=({}, {"beta1": 0.5, "beta2": 0.9}))
