# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import numpy as np
from optimizers import update


def share(beta1, t):
    return beta1 * (1 - 0.5 * 0.96**t)


def step(w, g, m, v, lr, t, beta1=0.9, beta2=0.999, epsilon=1e-7):
    m, v = m + (g - m) * (1 - beta1), v + (g * g - v) * (1 - beta2)
    now, after = share(beta1, t), share(beta1, t + 1)
    product = np.prod([share(beta1, i) for i in range(1, int(t) + 1)])
    m_hat = after * m / (1 - product * after) + (1 - now) * g / (1 - product)
    return w - lr * m_hat / (np.sqrt(v / (1 - beta2**t)) + epsilon), m, v


ROW = update(
    "nadam_update",
    2,
    step,
    has_step=True,
    attrs=({}, {"beta1": 0.5, "beta2": 0.9, "epsilon": 1e-3}),
)
