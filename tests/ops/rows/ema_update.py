# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import numpy as np
from row import WIDE, A, Row, S, V

import ostria as ost

SHAPES = ((3, 5), (), (229,))


def fn(*flat, **kw):
    return ost._native.ops.ema_update(list(flat[:3]), list(flat[3:6]), *flat[6:], **kw)


def ref(*flat, momentum=0.99, overwrite_frequency=0):
    averages, weights, (step, commit) = flat[:3], flat[3:6], flat[6:]
    if not commit:
        return (*averages, *weights)
    share = momentum if step > 1 else 0.0
    after = tuple(
        share * np.asarray(a) + (1 - share) * w for a, w in zip(averages, weights, strict=True)
    )
    overwrites = overwrite_frequency and step % overwrite_frequency == 0
    return (*after, *(after if overwrites else weights))


def sample(step, commit=True, **kw):
    return S(*[A(*s) for s in SHAPES * 2], V(step, "int64"), V(commit, "bool"), **kw)


ROW = Row(
    op="ema_update",
    ref=ref,
    fn=fn,
    samples=(
        sample(1),
        sample(7),
        sample(7, False),
        sample(6, momentum=0.5, overwrite_frequency=3),
        sample(7, momentum=0.5, overwrite_frequency=3),
        sample(6, False, momentum=0.5, overwrite_frequency=3),
    ),
    dtypes=WIDE,
    gradients=(),
    batch="variables have no batch axis",
    slack=3,
)
