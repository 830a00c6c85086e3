# SPDX-License-Identifier: Apache-2.0
import numpy as np
from families import nearby
from row import BOOL, FLOATS, INTS, A, I, Mistake, Row, S, V, tensor

import ostria as ost

ops = ost._native.ops


def ref(*parts, gathers, axis=0):
    tensors, rest = [], list(parts)
    for is_gather in gathers:
        table = rest.pop(0)
        tensors.append(table[rest.pop(0)] if is_gather else table)
    return np.concatenate(tensors, axis)


def fn(*parts, **attrs):
    return ops.gather_concat(list(parts), **attrs)


def ones(*shape):
    return tensor(np.ones(shape, np.float32))


ROW = Row(
    op="gather_concat",
    fn=fn,
    ref=ref,
    samples=(
        S(A(4), V([2, -1], "int32"), gathers=(1,)),
        S(A(4, 3), I("n", low=-4, high=4), A("n", 2), gathers=(1, 0), axis=1),
        S(A(2, 5), A(4, 1), I(2, low=-4, high=4), gathers=(0, 1), axis=-1),
        S(A(9, 3), I(1, 5, high=9), A(7, 3), I(2, 5, high=7, dtype="int32"), gathers=(1, 1)),
        S(A(9, 2), I(3, 1, high=9), A(7, 2), I(3, 2, high=7), gathers=(1, 1), axis=1),
        S(A(9, 2, 2), I(3, high=9), A(7, 2, 1), I(3, high=7), gathers=(1, 1), axis=2),
        S(A(0, 3), I(0, high=1), A(2, 3), gathers=(1, 0)),
        S(A(71, 229), I(301, low=-71, high=71), A(301, 31), gathers=(1, 0), axis=1),
        S(A(2, 600, 3), A(5, 600, 3), I(2, high=5), gathers=(0, 1)),
    ),
    dtypes=FLOATS + INTS + BOOL,
    domain_of=nearby,
    gradients=(),
    errors=(
        Mistake(
            lambda: fn(
                ones(3), tensor(np.int64([0])), ones(3), tensor(np.int64([3])), gathers=[1, 1]
            ),
            IndexError,
            "gather: index 3 (number 0 of 1) is out of range for an axis of size 3; valid indices "
            "are -3..2",
        ),
        Mistake(
            lambda: fn(ones(3), tensor(np.int64([0])), gathers=[1, 0]),
            ValueError,
            "gather_concat: 'gathers' tells of 3 parts, but 2 were given; give 1 for a table and "
            "its indices, 0 for a tensor, at least one",
        ),
        Mistake(
            lambda: fn(ones(3, 2), tensor(np.int64([0])), ones(2, 2), gathers=[1, 0], axis=1),
            ValueError,
            "gather_concat: tensor 1 has shape [2, 2], which does not fit [1, 2]; joined along "
            "axis 1, all other sizes must be equal",
        ),
    ),
)
