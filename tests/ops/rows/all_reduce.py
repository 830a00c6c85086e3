# SPDX-License-Identifier: Apache-2.0
from row import FLOATS, INTS, A, Mistake, Row, S

import ostria as ost

ops = ost._native.ops

# Outside of a distributed run the group has one replica; tests/unit/dist runs larger ones, and the
# reductions that have no gradient.
ROW = Row(
    op="all_reduce",
    fn=lambda *xs, **attrs: ops.all_reduce(list(xs), **attrs),
    ref=lambda *xs, calls=(): xs,
    samples=(
        S(A("n", 3)),
        S(A(), A(3), A(71, 229)),
        S(A(0, 2), A(1)),
        S(A(2), A(3), A(4), calls=(1, 2)),
    ),
    dtypes=FLOATS + INTS,
    gradients=(0,),
    errors=(
        Mistake(
            lambda: ops.all_reduce([]),
            ValueError,
            "all_reduce: needs at least one tensor, but none was given",
        ),
        Mistake(
            lambda: ops.all_reduce([ost.ones(2)], reduction="mean"),
            ValueError,
            "all_reduce: reduction 'mean' is not known; give 'sum', 'min' or 'max'",
        ),
        Mistake(
            lambda: ops.all_reduce([ost.ones(2), ost.ones(2)], calls=[1, 2]),
            ValueError,
            "all_reduce: calls must be counts that add up to the 2 tensor(s), or be empty",
        ),
        Mistake(
            lambda: ops.all_reduce([ost.ones(2, dtype="bool")]),
            TypeError,
            "all_reduce: ",
        ),
        Mistake(
            lambda: ost.grad(lambda x: ost.sum(ops.all_reduce([x], reduction="max")))(ost.ones(2)),
            NotImplementedError,
            "all_reduce: reduction 'max' has no gradient, only 'sum' has",
        ),
    ),
)
