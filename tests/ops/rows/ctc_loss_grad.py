# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import numpy as np
from row import A, I, Row, S, V
from rows.ctc_loss import alignments


def ref(logits, labels, logit_lengths, label_lengths, g, blank=0):
    """g (softmax - the share of paths that are at a class), the paths one by one."""
    softmax = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
    out = np.zeros(logits.shape)
    every = alignments(logits, labels, logit_lengths, label_lengths, blank)
    for b, (paths, log_p) in enumerate(every):
        if not log_p.size:
            continue
        share = np.exp(log_p) / np.exp(log_p).sum()
        for t in range(paths.shape[1]):
            at = np.bincount(paths[:, t], share, logits.shape[-1])
            out[b, t] = g[b] * (softmax[b, t] - at)
    return out


ROW = Row(
    op="ctc_loss_grad",
    ref=ref,
    samples=(
        S(A("n", 4, 3), I("n", 2, low=1, high=3), I("n", low=3, high=5), I("n", high=3), A("n")),
        S(A("n", 3, 2), I("n", 0, high=1), I("n", high=4), I("n", high=1), A("n")),
        S(A(1, 5, 4), V([[1, 3, 0]], "int32"), V([5], "int32"), V([3], "int64"), A(1), blank=2),
        S(
            A(2, 2, 3),
            V([[1, 1], [1, 2]], "int64"),
            V([2, 1], "int64"),
            V([2, 1], "int64"),
            A(2),
            blank=-3,
        ),
        S(A(0, 3, 3), I(0, 2, high=1), I(0, high=1), I(0, high=1), A(0)),
    ),
    slack=4,  # sums over several steps, and a difference
)
