# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import numpy as np
from row import A, Mistake, Row, S, tensor

import ostria as ost

ops = ost._native.ops


def _weight(method, t):
    t = abs(t)
    if method == "bilinear":
        return max(0.0, 1 - t)
    if t < 1:
        return 1.5 * t**3 - 2.5 * t**2 + 1
    return -0.5 * t**3 + 2.5 * t**2 - 4 * t + 2 if t < 2 else 0.0


def interpolation(method, before, after):
    """Row i holds the weights of the old elements in new element i."""
    out = np.zeros((after, before))
    for i in range(after):
        at = (i + 0.5) * before / after - 0.5
        if method == "nearest":
            out[i, int((i + 0.5) * before / after)] = 1
        else:
            out[i] = [_weight(method, at - j) for j in range(before)]
    return out / out.sum(1, keepdims=True)


def ref(x, size, method="bilinear"):
    for axis, after in enumerate(size, 1):
        moved = np.moveaxis(x, axis, -1)
        x = np.moveaxis(moved @ interpolation(method, x.shape[axis], after).T, -1, axis)
    return x


def _x():
    return tensor(np.ones((2, 3, 4, 1), np.float32))


ROW = Row(
    op="resize",
    ref=ref,
    samples=(
        *(S(A("n", 4, 5, 3), size=(8, 3), method=m) for m in ("nearest", "bilinear", "bicubic")),
        *(S(A(2, 5, 2), size=(7,), method=m) for m in ("nearest", "bilinear", "bicubic")),
        S(A(1, 3, 2, 4, 2), size=(3, 5, 8)),
        S(A(2, 3, 3, 1), size=(3, 3)),
        S(A(1, 1, 7, 2), size=(2, 1), method="bicubic"),
    ),
    errors=(
        Mistake(
            lambda: ops.resize(_x(), size=[2]),
            ValueError,
            "resize: size must be 2 integers of at least 1 (height, width) for x [2, 3, 4, 1], but "
            "is (2)",
        ),
        Mistake(
            lambda: ops.resize(_x(), size=[2, 2], method="area"),
            ValueError,
            'resize: method "area" is not known; accepted are "nearest", "bilinear" and "bicubic"',
        ),
    ),
    slack=5,  # sums of up to 16 products, some weights negative
)
