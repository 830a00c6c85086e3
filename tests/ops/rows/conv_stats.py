# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import images
import numpy as np
from row import A, Mistake, Row, S, tensor

import ostria as ost

ops = ost._native.ops


def normalised(x, factor=None, shift=None):
    return x if factor is None else np.maximum(x * factor + shift, 0)


def ref(x, kernel, factor=None, shift=None, **attrs):
    y = images.conv(normalised(x, factor, shift), kernel, **attrs)
    axes = tuple(range(y.ndim - 1))
    return y, y.sum(axes), (y * y).sum(axes)


GEOMETRIES = [g for geometries in images.CONVOLUTIONS.values() for g in geometries]
ROW = Row(
    op="conv_stats",
    ref=ref,
    samples=tuple(
        S(A(*x), A(*k), *more, **images.filled(k, attrs))
        for x, k, attrs in GEOMETRIES
        for more in ((), (A(x[-1]), A(x[-1])))
    ),
    errors=(
        Mistake(
            lambda: ops.conv_stats(
                *(tensor(np.ones(s)) for s in ((1, 3, 3, 2), (4, 1, 1, 2), (2,))),
                strides=(1, 1),
                padding=(0,) * 4,
                dilation=(1, 1),
                groups=1,
            ),
            ValueError,
            "conv_stats: 'factor' needs 'shift' beside it",
        ),
    ),
    gradients=(),
    slack=100,  # sums of squares of sums
)
