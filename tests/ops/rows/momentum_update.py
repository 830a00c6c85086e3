# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from optimizers import update


def step(w, g, m, lr, t, momentum, nesterov=False):
    m = momentum * m - lr * g
    return (w + (momentum * m - lr * g if nesterov else m), m)


ROW = update(
    "momentum_update", 1, step, attrs=({"momentum": 0.9}, {"momentum": 0.8, "nesterov": True})
)
