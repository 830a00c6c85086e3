# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import numpy as np
from row import A, Row, S, V

import ostria as ost

ROW = Row(
    op="global_norm",
    fn=lambda *xs: ost._native.ops.global_norm(list(xs)),
    ref=lambda *xs: np.sqrt(sum(np.sum(x * x) for x in xs)),
    samples=(
        S(A("n", 4), A(3)),
        S(A(71, 229)),
        S(A(3), A()),
        S(A(0, 2), A(2)),
        S(V([0.0, 0.0]), V([0.0])),
    ),
    result="float32",
    gradients=(),  # the norm is float32: too coarse for differences; unit tests check the rule
    slack=3,  # a sum of 16,259 squares
)
