# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import numpy as np
from optimizers import update


def step(w, g, a, lr, t, epsilon=1e-7):
    a = a + g * g
    return w - lr * g / np.sqrt(a + epsilon), a


ROW = update("adagrad_update", 1, step, attrs=({}, {"epsilon": 1e-3}), by_rows={})
