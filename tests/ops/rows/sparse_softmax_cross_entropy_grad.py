# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import numpy as np
from row import A, I, Row, S
from rows.sparse_softmax_cross_entropy import ref as loss


def ref(logits, labels, g, classes=-1):
    behind = 0 if classes < 0 else logits.shape[-1] - classes
    logits = logits[..., : logits.shape[-1] - behind]
    e = np.exp(logits - np.max(logits, -1, keepdims=True, initial=-np.inf))
    onehot = np.asarray(labels)[..., None] == np.arange(logits.shape[-1])
    dlogits = g[..., None] * (e / np.sum(e, -1, keepdims=True) - onehot)
    dlogits = np.pad(dlogits, [(0, 0)] * (dlogits.ndim - 1) + [(0, behind)])
    return dlogits, loss(logits, labels)


ROW = Row(
    op="sparse_softmax_cross_entropy_grad",
    ref=ref,
    samples=(
        S(A("n", 4), I("n", high=4), A("n")),
        S(A(71, 229), I(71, high=229, dtype="int32"), A(71)),
        S(A(2, 3, 5), I(2, 3, high=5), A(2, 3)),
        S(A(0, 3), I(0, high=3), A(0)),
        S(A("n", 8), I("n", high=5), A("n"), classes=5),
        S(A(71, 232), I(71, high=229, dtype="int32"), A(71), classes=229),
    ),
)
