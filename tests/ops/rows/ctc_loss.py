# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import itertools

import numpy as np
from row import A, I, Mistake, Row, S, V, tensor

import ostria as ost

ops = ost._native.ops


def collapsed(path, blank):
    """The labels that a path of classes spells."""
    return [c for i, c in enumerate(path) if c != blank and (i == 0 or c != path[i - 1])]


def alignments(logits, labels, logit_lengths, label_lengths, blank):
    """Of each sequence: every path that spells its labels, [paths, steps], and their logits."""
    log_p = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
    blank %= logits.shape[-1]
    for b, (steps, size) in enumerate(zip(logit_lengths, label_lengths, strict=True)):
        every = itertools.product(range(logits.shape[-1]), repeat=int(steps))
        wanted = list(labels[b, :size])
        paths = np.array([p for p in every if collapsed(p, blank) == wanted], int)
        paths = paths.reshape(len(paths), int(steps))
        yield paths, log_p[b][np.arange(steps), paths].sum(-1)


def ref(logits, labels, logit_lengths, label_lengths, blank=0, zero_infinity=False):
    """The sum over all paths, one by one."""
    out = []
    for _, log_p in alignments(logits, labels, logit_lengths, label_lengths, blank):
        out.append(-np.log(np.exp(log_p).sum()) if log_p.size else 0 if zero_infinity else np.inf)
    return np.array(out, float).reshape(logits.shape[:1])


def _call(labels=((1, 2),), logit_lengths=(3,), label_lengths=(2,), classes=3, **attrs):
    integers = (np.array(v, np.int64) for v in (labels, logit_lengths, label_lengths))
    return ops.ctc_loss(tensor(np.zeros((1, 3, classes))), *map(tensor, integers), **attrs)


ROW = Row(
    op="ctc_loss",
    ref=ref,
    gradients=(0,),
    samples=(
        # Two labels and the blank between two equal ones fit into three steps.
        S(A("n", 4, 3), I("n", 2, low=1, high=3), I("n", low=3, high=5), I("n", high=3)),
        S(A("n", 3, 3), I("n", 2, high=2), I("n", low=3, high=4), I("n", high=3), blank=-1),
        S(A("n", 3, 2), I("n", 0, high=1), I("n", high=4), I("n", high=1)),
        S(A(1, 5, 4), V([[1, 3, 0]], "int32"), V([5], "int32"), V([3], "int64"), blank=2),
        S(A(2, 1, 3), V([[1], [2]], "int64"), V([1, 1], "int64"), V([1, 0], "int64")),
        S(
            A(3, 2, 3),
            V([[1, 1], [1, 2], [0, 9]], "int64"),
            V([2, 1, 0], "int64"),
            V([2, 2, 0], "int64"),
            zero_infinity=True,
        ),
        S(A(0, 3, 3), I(0, 2, high=1), I(0, high=1), I(0, high=1)),
        S(A(2, 0, 3), I(2, 1, low=1, high=2), V([0, 0], "int64"), V([0, 0], "int64")),
    ),
    errors=(
        Mistake(
            lambda: _call(labels=((1, 3),)),
            IndexError,
            "ctc_loss: label 3 (labels[0, 1]) is out of range; labels must be in 0..2 and not 0; "
            "shorten label_lengths where a row is padded",
        ),
        Mistake(
            lambda: _call(labels=((1, 0),)),
            IndexError,
            "ctc_loss: label 0 (labels[0, 1]) is the blank; labels must be in 0..2 and not 0",
        ),
        Mistake(
            lambda: _call(logit_lengths=(4,)),
            IndexError,
            "ctc_loss: logit_lengths[0] is 4, but there are 3; lengths must be in 0..3",
        ),
        Mistake(
            lambda: _call(label_lengths=(-1,)),
            IndexError,
            "ctc_loss: label_lengths[0] is -1, but there are 2; lengths must be in 0..2",
        ),
        Mistake(
            lambda: _call(blank=3),
            ValueError,
            "ctc_loss: blank is 3, but logits with 3 classes have classes -3..2; give the class "
            "that stands for no label",
        ),
        Mistake(
            lambda: _call(label_lengths=(1, 1)),
            ValueError,
            "ctc_loss: the batch sizes of 'logits' and 'label_lengths' differ: 1 and 2",
        ),
        Mistake(
            lambda: ops.ctc_loss(*[tensor(np.ones((2, 3)))] * 4),
            ValueError,
            "ctc_loss: 'logits' must have rank 3 ([batch, time, classes]), but has rank 2",
        ),
    ),
    slack=3,  # sums over several steps
)
