# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import numpy as np
from optimizers import update


def slot_shape(shape, slot):
    if len(shape) < 2:
        return () if slot else shape
    return shape[:-2] + shape[-1:] if slot else shape[:-1]


def rms(x):
    return np.sqrt(np.mean(x * x))


def step(w, g, r, c, lr, t, beta2_decay=-0.8, epsilon1=1e-30, epsilon2=1e-3, clip_threshold=1.0):
    forget, square = t**beta2_decay, g * g + epsilon1
    if w.ndim < 2:
        r = v = (1 - forget) * r + forget * square
    else:
        r = (1 - forget) * r + forget * square.mean(-1)
        c = (1 - forget) * c + forget * square.mean(-2)
        v = (r / r.mean(-1, keepdims=True))[..., None] * c[..., None, :]
    u = g / np.sqrt(v)
    u = u / max(1.0, rms(u) / clip_threshold)
    return w - max(epsilon2, rms(w)) * min(lr, 1 / np.sqrt(t)) * u, r, c


ROW = update(
    "adafactor_update",
    2,
    step,
    has_step=True,
    outer=False,
    shapes=((3, 5), (), (229,), (2, 4, 3)),
    slot_shape=slot_shape,
    attrs=(
        {},
        {"beta2_decay": -0.5, "epsilon1": 1e-3, "epsilon2": 0.5, "clip_threshold": 0.25},
    ),
)
