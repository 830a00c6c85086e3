# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import numpy as np
from optimizers import update


def step(w, g, v, a, m, lr, t, rho=0.9, momentum=0.0, epsilon=1e-7):
    v, a = rho * v + (1 - rho) * g * g, rho * a + (1 - rho) * g
    m = momentum * m + lr * g / np.sqrt(np.maximum(v - a * a, 0) + epsilon)
    return w - m, v, a, m


# The slots are drawn on their own, so v - a² may be negative: epsilon keeps the quotient small.
ROW = update(
    "rmsprop_centered_update",
    3,
    step,
    attrs=({"epsilon": 8.0}, {"rho": 0.5, "momentum": 0.9, "epsilon": 4.0}),
)
