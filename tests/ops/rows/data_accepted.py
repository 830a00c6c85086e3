# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import numpy as np
from row import A, Mistake, Row, S, V, tensor

import ostria as ost

ops = ost._native.ops

ROW = Row(
    op="data_accepted",
    fn=lambda decision, *checks: ops.data_accepted(decision, list(checks)),
    ref=lambda decision, *checks: (np.asarray(True), decision),
    samples=(S(V(True, "bool")), S(V(False, "bool"), A(3), A())),
    batch="a step has one decision",
    dtypes=("bool",),
    gradients=(),
    errors=(
        Mistake(
            lambda: ops.data_accepted(tensor(np.ones(2, bool)), []),
            ValueError,
            "'decision' must be bool[], one truth value, but is bool[2]",
        ),
    ),
)
