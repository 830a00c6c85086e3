# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import numpy as np
from row import Mistake, Row, S, V, tensor

import ostria as ost

ops = ost._native.ops

ROW = Row(
    op="data_accepted",
    fn=lambda decision: ops.data_accepted(decision),
    ref=lambda decision: (np.asarray(True), decision),
    samples=(S(V(True, "bool")), S(V(False, "bool"))),
    batch="a step has one decision",
    dtypes=("bool",),
    gradients=(),
    errors=(
        Mistake(
            lambda: ops.data_accepted(tensor(np.ones(2, bool))),
            ValueError,
            "'decision' must be bool[], one truth value, but is bool[2]",
        ),
    ),
)
