# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import numpy as np
from optimizers import update


def step(w, g, m, v, lr, t, beta1=0.9, beta2=0.999, epsilon=1e-7):
    m, v = m + (g - m) * (1 - beta1), v + (g * g - v) * (1 - beta2)
    alpha = lr * np.sqrt(1 - beta2**t) / (1 - beta1**t)
    return w - alpha * m / (np.sqrt(v) + epsilon), m, v


ROW = update(
    "adam_update",
    2,
    step,
    has_step=True,
    attrs=({}, {"beta1": 0.5, "beta2": 0.9, "epsilon": 1e-3}),
    by_rows={"lazy": True},
)
