# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import numpy as np
from row import A, I, Mistake, Row, S, tensor

import ostria as ost

ops = ost._native.ops


def ref(logits, labels, classes=-1):
    logits = logits[..., : None if classes < 0 else classes]
    shifted = logits - np.max(logits, -1, keepdims=True, initial=-np.inf)
    logp = shifted - np.log(np.sum(np.exp(shifted), -1, keepdims=True))
    return -np.take_along_axis(logp, np.asarray(labels)[..., None].astype(np.int64), -1)[..., 0]


def _logits():
    return tensor(np.zeros((3, 4), np.float32))


ROW = Row(
    op="sparse_softmax_cross_entropy",
    ref=ref,
    samples=(
        S(A("n", 4), I("n", high=4)),
        S(A(71, 229), I(71, high=229, dtype="int32")),
        S(A(2, 3, 5), I(2, 3, high=5)),
        S(A(7), I(high=7)),
        S(A(0, 3), I(0, high=3)),
        S(A("n", 8), I("n", high=5), classes=5),
        S(A(71, 232), I(71, high=229, dtype="int32"), classes=229),
    ),
    errors=(
        Mistake(
            lambda: ops.sparse_softmax_cross_entropy(_logits(), tensor(np.int64([0, 4, 1]))),
            IndexError,
            "sparse_softmax_cross_entropy: label 4 of row 1 is out of range for logits with 4 "
            "classes; labels must be in 0..3",
        ),
        Mistake(
            lambda: ops.sparse_softmax_cross_entropy(_logits(), tensor(np.int64(np.ones((3, 4))))),
            ValueError,
            "sparse_softmax_cross_entropy: 'labels' must have shape [3] for logits [3, 4], but has "
            "shape [3, 4]; give class numbers, not one-hot rows",
        ),
        Mistake(
            lambda: ops.sparse_softmax_cross_entropy(
                _logits(), tensor(np.int64([0, 4, 1])), classes=5
            ),
            ValueError,
            "sparse_softmax_cross_entropy: classes is 5; it must be from 1 to the 4 elements of a "
            "row of logits [3, 4], or -1: all of them",
        ),
        Mistake(
            lambda: ops.sparse_softmax_cross_entropy(
                _logits(), tensor(np.int64([0, 3, 1])), classes=3
            ),
            IndexError,
            "sparse_softmax_cross_entropy: label 3 of row 1 is out of range for logits with 3 "
            "classes; labels must be in 0..2",
        ),
    ),
    slack=3,  # a sum of up to 229 exponentials
)
