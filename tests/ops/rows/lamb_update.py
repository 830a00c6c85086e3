# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import numpy as np
from optimizers import update


def step(w, g, m, v, lr, t, beta1=0.9, beta2=0.999, epsilon=1e-7):
    m, v = m + (g - m) * (1 - beta1), v + (g * g - v) * (1 - beta2)
    move = m / (1 - beta1**t) / (np.sqrt(v / (1 - beta2**t)) + epsilon)
    w_norm, norm = np.sqrt((w * w).sum()), np.sqrt((move * move).sum())
    ratio = w_norm / norm if w_norm > 0 and norm > 0 else 1.0
    return w - lr * ratio * move, m, v


ROW = update(
    "lamb_update",
    2,
    step,
    has_step=True,
    outer=False,
    attrs=({}, {"beta1": 0.5, "beta2": 0.9, "epsilon": 1e-3}),
)
