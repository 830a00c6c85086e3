# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import numpy as np
from row import A, Mistake, Row, S, tensor
from rows.resize import interpolation

import ostria as ost

ops = ost._native.ops


def ref(x, axis, size, method, transpose=False):
    before = x.shape[axis]
    matrix = (
        interpolation(method, size, before).T if transpose else interpolation(method, before, size)
    )
    return np.moveaxis(np.moveaxis(x, axis, -1) @ matrix.T, -1, axis)


def _mistake(**attrs):
    return ops.resample(tensor(np.ones((2, 3), np.float32)), **attrs)


# Larger, smaller, by a whole factor (weights of zero), to and from one element.
SIZES = ((4, 9), (9, 4), (3, 6), (9, 3), (1, 4), (5, 1), (5, 5))

ROW = Row(
    op="resample",
    ref=ref,
    samples=(
        *(
            S(A("n", n, 3), axis=1, size=m, method=method, transpose=transpose)
            for n, m in SIZES
            for method in ("bilinear", "bicubic")
            for transpose in (False, True)
        ),
        S(A(7), axis=-1, size=11, method="bicubic"),
        S(A(71, 229), axis=0, size=30, method="bilinear"),
    ),
    errors=(
        Mistake(
            lambda: _mistake(axis=0, size=0, method="bilinear"),
            ValueError,
            "resample: size is 0; it must be positive",
        ),
        Mistake(
            lambda: _mistake(axis=0, size=2, method="nearest"),
            ValueError,
            'resample: method "nearest" is not known; accepted are "bilinear" and "bicubic"',
        ),
    ),
    slack=5,  # sums of up to 9 products, some weights negative
)
