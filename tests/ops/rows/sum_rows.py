# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import numpy as np
from row import WIDE, A, I, Mistake, Row, S, V, tensor

import ostria as ost

ops = ost._native.ops


def ref(*flat, tables, sizes, columns=()):
    """Scatters into whole tables, list by list, and takes the rows that were named."""
    parts = len(flat) // 2
    flat = list(flat)
    for k in range(len(columns) // 2):
        begin, count = columns[2 * k : 2 * k + 2]
        if count >= 0:
            flat[parts + k] = flat[parts + k][..., begin : begin + count]
    sums, rows = [], []
    for t, size in enumerate(sizes):
        lists = [k for k in range(parts) if tables[k] == t]
        shape = flat[parts + lists[0]].shape[np.ndim(flat[lists[0]]) :]
        whole = np.zeros((size, *shape))
        ids = [np.ravel(flat[k]) % max(size, 1) for k in lists]
        for k, mine in zip(lists, ids, strict=True):
            np.add.at(whole, mine, flat[parts + k].reshape((-1, *shape)))
        named = np.unique(np.concatenate(ids))
        n = sum(len(mine) for mine in ids)
        sums.append(np.zeros((n, *shape)))
        sums[-1][: len(named)] = whole[named]
        rows += [len(named), *named, *[0] * (n - len(named))]
    return (*sums, np.array(rows, np.int32))


def fn(*flat, **attrs):
    parts = len(flat) // 2
    return ops.sum_rows(list(flat[:parts]), list(flat[parts:]), **attrs)


def one(ids, values, sizes=(3,), tables=(0,)):
    return fn(tensor(np.array(ids)), tensor(np.array(values)), sizes=sizes, tables=tables)


ROW = Row(
    op="sum_rows",
    fn=fn,
    ref=ref,
    samples=(
        S(I("n", low=-4, high=4), A("n", 3), tables=(0,), sizes=(4,)),
        S(V(2, "int32"), A(), tables=(0,), sizes=(4,)),
        S(I(0, high=1), A(0, 2), tables=(0,), sizes=(0,)),
        S(I(6, high=1), A(6), tables=(0,), sizes=(1,)),
        S(I(101, low=-71, high=71), A(101, 229), tables=(0,), sizes=(71,)),
        S(I(31, 13, high=100_000, dtype="int32"), A(31, 13, 2), tables=(0,), sizes=(100_000,)),
        S(
            *(I("n", high=3), I("n", 2, high=3, dtype="int32"), I("n", 50, high=9000)),
            *(A("n", 2, 2), A("n", 2, 2, 2), A("n", 50)),
            tables=(0, 0, 1),
            sizes=(3, 9000),
        ),
        S(
            *(I("n", high=3), I("n", high=3, dtype="int32"), I("n", 2, high=90)),
            *(A("n", 7), A("n", 3), A("n", 2, 40)),
            tables=(0, 0, 1),
            sizes=(3, 90),
            columns=(4, 3, 0, -1, 5, 21),
        ),
    ),
    dtypes=WIDE,
    gradients=(),
    slack=3,  # sums of many values
    errors=(
        Mistake(
            lambda: one([0, 3], [1.0, 2.0]),
            IndexError,
            "sum_rows: index 3 (number 1 of 2) is out of range for an axis of size 3; valid "
            "indices are -3..2",
        ),
        Mistake(
            lambda: one([0, 1], [1.0]),
            ValueError,
            "values of shape [1] do not fit ids of shape [2] and rows of shape []; give the shape "
            "of the ids, then that of a row",
        ),
        Mistake(
            lambda: one([0], [1.0], tables=(1,)),
            ValueError,
            "'tables' must count up from 0 to 0, each at least once",
        ),
        Mistake(
            lambda: fn(
                tensor(np.array([0])),
                tensor(np.ones((1, 4))),
                tables=(0,),
                sizes=(3,),
                columns=(2, 3),
            ),
            ValueError,
            "columns 2..5 lie outside of rows of shape [4]; they are columns of rows of rank 1",
        ),
        Mistake(
            lambda: fn(
                tensor(np.array([0])),
                tensor(np.ones((1, 4))),
                tables=(0,),
                sizes=(3,),
                columns=(2,),
            ),
            ValueError,
            "'columns' has 1 entries for 1 list(s) of values; give the first column and how many "
            "for each, or none",
        ),
    ),
)
