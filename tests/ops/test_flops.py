# SPDX-License-Identifier: Apache-2.0
"""What every op counts as its operations, by the convention of FlopsFn (csrc/ir/op_def.h)."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest
from row import Row, Spec
from test_ops import REGISTRY, ROWS

import ostria as ost

native = ost._native

# These move, convert or fill, and count nothing. Every other op must count something.
MOVES = {
    "all_gather", "all_reduce", "all_reduce_start", "all_reduce_wait", "broadcast", "broadcast_to",
    "cast", "concat", "constant", "data_accepted", "dim_product", "expand_dims", "flip", "full",
    "gather", "gather_concat", "iota", "one_hot", "pad", "pad_channels", "reduce_scatter", "repeat",
    "replica_part", "reshape", "roll", "scatter_update", "slice", "slice_at", "slice_grad",
    "squeeze", "stop_gradient", "take_along_axis", "tile", "transpose", "tril", "triu",
}  # fmt: skip


def counts(fn: Any, *specs: tuple[str, tuple[int, ...]], **attrs: Any) -> list[tuple[str, float]]:
    """(op, operations) of every node of `fn` on inputs of these dtypes and shapes."""
    trace = native.Trace("graph")
    trace.push()
    try:
        fn(
            *(trace.add_input(f"x{i}", native.dtype(t), s) for i, (t, s) in enumerate(specs)),
            **attrs,
        )
    finally:
        trace.pop()
    ops = re.findall(r"^%.* = (\w+)@\d+\(", trace.text(), re.MULTILINE)
    return list(zip(ops, trace.flops(), strict=True))


def counts_of_row(row: Row, t: str) -> list[float]:
    """What the row's op counts, over all samples."""

    def type_of(spec: Spec) -> tuple[str, tuple[int, ...]]:
        return t if spec.dtype == "T" else spec.dtype, spec.size()

    found = []
    for sample in row.samples:
        nodes = counts(row.call, *map(type_of, sample.inputs), **sample.attrs)
        found += [n for op, n in nodes if op == row.op]
    return found


@pytest.mark.parametrize("row", ROWS.values(), ids=ROWS.keys())
def test_every_op_counts_or_moves(row: Row) -> None:
    """An op that neither declares, derives nor has a place in MOVES counts nothing, and fails."""
    for t in row.dtypes:
        found = counts_of_row(row, t)
        assert all(n >= 0 and n == int(n) for n in found)
        assert any(found) != (row.op in MOVES), f"{row.op} of {t} counts {found}"


def test_ops_without_a_row_count_what_they_hold() -> None:
    assert set(REGISTRY) - set(ROWS) == {"call", "cond", "fused", "scan", "while_loop"}
    halved = ost.custom_gradient(lambda x: (ost.exp(x) + x, lambda g: g))
    assert counts(halved, ("float32", (2, 3))) == [("call", 12)]

    def loop(x: Any) -> Any:
        return ost.scan(lambda c, row: (c + row, None), x[0], x)

    def branches(x: Any) -> Any:
        return ost.cond(True, lambda x: ost.exp(x) + x, lambda x: x, x)

    def rounds(x: Any) -> Any:
        return ost.while_loop(lambda x: ost.sum(x) < 1.0, ost.exp, x)

    assert counts(loop, ("float32", (5, 3)))[-1] == ("scan", 15)
    assert counts(branches, ("float32", (2, 3)))[-1] == ("cond", 12)  # of the dearer branch
    assert counts(rounds, ("float32", (2, 3)))[-1] == ("while_loop", 13)  # of one round


def test_every_op_decides() -> None:
    """Without a decision of its own an op has one per element or a decomposition to count."""
    for op in REGISTRY.values():
        assert op["declares_flops"] or op["elementwise"] or op["decomposes"], op["name"]


F, N, I = "float32", (2, 3), "int64"  # noqa: E741
SCALARS = ((F, ()), (F, ()), ("bool", ()))
POOL = {"window": (2, 2), "strides": (2, 2)}
UNPOOL = {**POOL, "padding": (0, 0, 0, 0), "size": (4, 4)}
CONV = {"strides": (1, 1), "padding": (0, 0, 0, 0), "dilation": (1, 1), "groups": 1}

# n = 6 elements in 2 rows of 3, unless the shapes say otherwise. Of a matrix product: 2 m n k.
COUNTED: tuple[tuple[str, tuple[tuple[str, tuple[int, ...]], ...], dict[str, Any], float], ...] = (
    ("add", ((F, N), (F, (3,))), {}, 6),
    ("gelu", ((F, N),), {}, 6),
    ("softplus", ((F, N),), {}, 6),
    ("gelu_grad", ((F, N), (F, N)), {}, 6),
    ("sum", ((F, N),), {"axis": (1,)}, 6),
    ("mean", ((F, N),), {}, 6),  # additions and the division
    ("argmax", ((F, N),), {"axis": (0,)}, 6),
    # maximum, difference, exponential, sum; per row isfinite, where, logarithm, sum
    ("logsumexp", ((F, N),), {"axis": (1,)}, 4 * 6 + 4 * 2),
    ("matmul", ((F, N), (F, (3, 4))), {}, 2 * 2 * 3 * 4),
    ("matmul", ((F, (5, 3, 2)), (F, (3, 4))), {"transpose_a": True}, 5 * 2 * 2 * 3 * 4),
    ("matmul_fused", ((F, N), (F, (3, 4)), (F, (4,))), {"epilogue": "relu"}, 48 + 8 + 8),
    ("conv2d", ((F, (1, 4, 4, 2)), (F, (5, 3, 3, 2))), CONV, 2 * 4 * 5 * 18),
    ("conv2d", ((F, (1, 4, 4, 2)), (F, (4, 3, 3, 1))), {**CONV, "groups": 2}, 2 * 4 * 4 * 9),
    (
        "conv_fused", ((F, (1, 4, 4, 2)), (F, (5, 3, 3, 2)), (F, (5,))),
        {**CONV, "activation": "gelu"}, 2 * 4 * 5 * 18 + 20 + 20,
    ),
    (
        "conv_grad_input", ((F, (1, 2, 2, 5)), (F, (5, 3, 3, 2))),
        {**CONV, "size": (4, 4)}, 2 * 4 * 5 * 18,
    ),
    (
        "conv_grad_filter", ((F, (1, 4, 4, 2)), (F, (1, 2, 2, 5))),
        {**CONV, "size": (3, 3)}, 2 * 4 * 5 * 18,
    ),
    ("max_pool2d", ((F, (1, 4, 4, 3)),), POOL, 4 * 12),
    ("avg_pool2d", ((F, (1, 4, 4, 3)),), POOL, 4 * 12),
    ("avg_pool2d", ((F, (1, 5, 5, 3)),), {"window": (3, 3), "strides": (1, 1)}, 9 * 27),
    ("max_pool_grad", ((F, (1, 2, 2, 3)), ("uint8", (1, 2, 2, 3))), UNPOOL, 12),
    ("avg_pool_grad", ((F, (1, 2, 2, 3)),), UNPOOL, 12 + 4 * 12),
    ("max_pool1d", ((F, (1, 6, 3)),), {"window": (3,), "strides": (1,)}, 3 * 12),
    ("avg_pool3d", ((F, (1, 2, 4, 2, 3)),), {"window": (2, 2, 2), "strides": (2, 2, 2)}, 8 * 6),
    ("conv1d", ((F, (1, 4, 2)), (F, (5, 3, 2))), {}, 2 * 2 * 5 * 6),
    ("conv3d", ((F, (1, 2, 4, 4, 2)), (F, (5, 1, 3, 3, 2))), {}, 2 * 2 * 4 * 5 * 18),
    ("conv_transpose1d", ((F, (1, 4, 2)), (F, (2, 3, 5))), {}, 2 * 4 * 2 * 15),
    ("conv_transpose2d", ((F, (1, 2, 2, 5)), (F, (5, 3, 3, 2))), {}, 2 * 4 * 5 * 18),
    ("conv_transpose3d", ((F, (1, 1, 2, 2, 5)), (F, (5, 1, 3, 3, 2))), {}, 2 * 4 * 5 * 18),
    # mean, difference, square, mean, product, sum; per channel + epsilon, rsqrt, * scale
    ("batch_norm", ((F, N), (F, (3,)), (F, (3,))), {}, 6 * 6 + 3 * 3),
    ("batch_norm_inference", ((F, N), *[(F, (3,))] * 4), {}, 2 * 6 + 5 * 3),
    ("batch_norm_grad", ((F, N), (F, N), *[(F, (3,))] * 3), {}, 10 * 6 + 3 * 3),
    ("layer_norm", ((F, N), (F, (3,)), (F, (3,))), {}, 7 * 6 + 2 * 2),
    ("layer_norm_grad", ((F, N), (F, N), (F, (3,)), (F, (2,)), (F, (2,))), {}, 13 * 6),
    # the same, whatever makes a row; without the mean 4 of the 7 and 9 of the 13 are left
    ("group_norm", ((F, (2, 3, 4)), (F, (4,)), (F, (4,))), {"groups": 2}, 7 * 24 + 2 * 4),
    (
        "group_norm_grad", ((F, (2, 3, 4)), (F, (2, 3, 4)), (F, (4,)), (F, (2, 2)), (F, (2, 2))),
        {"groups": 2}, 13 * 24,
    ),
    ("instance_norm", ((F, (2, 3, 4)), (F, (4,)), (F, (4,))), {}, 7 * 24 + 2 * 8),
    ("rms_norm", ((F, N), (F, (3,))), {}, 4 * 6 + 2 * 2),
    ("rms_norm_grad", ((F, N), (F, N), (F, (3,)), (F, (2,))), {}, 9 * 6),
    # two neighbours for every new element, one at both ends; nearest moves data
    ("resize", ((F, (1, 4, 2)),), {"size": (8,)}, 2 * (6 * 2 + 2) * 2),
    ("resample", ((F, (4, 2)),), {"axis": 0, "size": 8, "method": "bilinear"}, 2 * 14 * 2),
    ("resize", ((F, (1, 4, 2)),), {"size": (8,), "method": "nearest"}, 0),
    ("softmax", ((F, N),), {}, 5 * 6),
    ("softmax", (("bfloat16", N),), {}, 5 * 6),
    ("softmax_grad", ((F, N), (F, N)), {}, 4 * 6),
    ("log_softmax", ((F, N),), {}, 5 * 6 + 2),
    ("log_softmax_grad", ((F, N), (F, N)), {}, 4 * 6),
    ("sparse_softmax_cross_entropy", ((F, N), (I, (2,))), {}, 4 * 6 + 2 * 2),
    ("sparse_softmax_cross_entropy_grad", ((F, N), (I, (2,)), (F, (2,))), {}, 7 * 6 + 2 * 2),
    ("scatter_add", ((F, (9, 3)), (I, (2,)), (F, N)), {}, 6),
    ("scatter_max", ((F, (9, 3)), (I, (2,)), (F, N)), {}, 6),
    ("put_along_axis", ((F, (9, 3)), (I, (2, 3)), (F, ())), {"axis": 0, "reduce": "add"}, 6),
    ("put_along_axis", ((F, (9, 3)), (I, (2, 3)), (F, ())), {"axis": 0}, 0),
    ("segment_sum", ((F, N), (I, (2,))), {"num_segments": 9}, 6),
    ("segment_mean", ((F, N), (I, (2,))), {"num_segments": 9}, 6),
    ("cumsum", ((F, N),), {}, 6),
    ("cumprod", (("int8", N),), {}, 6),
    ("linear_scan", ((F, N), (F, N)), {}, 2 * 6),
    ("sort", ((F, N),), {}, 2 * 6),  # 2 comparisons tell 3 elements apart
    ("argsort", ((F, N),), {"axis": 0}, 6),
    ("top_k", ((F, (2, 9)),), {"k": 2}, (1 + 1) * 18),  # against the last taken, and to place it
    ("searchsorted", ((F, (7,)), (F, N)), {}, 3 * 6),
    ("dropout", ((F, N), (I, (2,)), (I, ())), {"rate": 0.5}, 3 * 6),
    ("random_normal", ((I, (2,)), (I, ())), {"shape": N}, 6),
    ("random_uniform", ((I, (2,)), (I, ())), {"shape": N, "dtype": "float16"}, 6),
    # The choice between the values before and after is one, too.
    ("sgd_update", ((F, N), (F, N), *SCALARS), {}, 4 * 6),
    ("momentum_update", (*[(F, N)] * 3, *SCALARS), {"momentum": 0.9}, 7 * 6),
    ("adam_update", (*[(F, N)] * 4, SCALARS[0], (I, ()), *SCALARS[1:]), {}, 16 * 6 + 9),
    ("sum_rows", ((I, (4,)), (F, (4, 3))), {"tables": [0], "sizes": [9]}, 12),
    ("global_norm", ((F, N), (F, (4,))), {}, 2 * 10 + 1 + 1),
    ("all_finite", ((F, N), (F, (4,))), {}, 2 * 10 + 1),
)  # fmt: skip


@pytest.mark.parametrize(("op", "specs", "attrs", "expected"), COUNTED)
def test_counted_by_hand(op: str, specs: Any, attrs: dict[str, Any], expected: float) -> None:
    inputs = [entry[1] for entry in REGISTRY[op]["inputs"] if entry[1] != "optional"]
    variadic = inputs.count("variadic")

    def call(*xs: Any, **kw: Any) -> Any:
        fn = getattr(native.ops, op)
        if not variadic:
            return fn(*xs, **kw)
        n = (len(xs) - (len(inputs) - variadic)) // variadic
        groups = [list(xs[k * n : (k + 1) * n]) for k in range(variadic)]
        return fn(*groups, *xs[variadic * n :], **kw)

    assert counts(call, *specs, **attrs) == [(op, expected)]


@pytest.mark.parametrize(
    ("op", "shapes"),
    [
        ("softmax", [(0, 3)]),
        ("batch_norm", [(0, 3), (3,), (3,)]),
        ("matmul", [(2, 0), (0, 4)]),
        ("mean", [(0,)]),
    ],
)
def test_what_is_empty_counts_nothing(op: str, shapes: list[tuple[int, ...]]) -> None:
    assert counts(getattr(native.ops, op), *[(F, s) for s in shapes]) == [(op, 0)]


def test_an_unknown_size_counts_nothing() -> None:
    seen = []

    @ost.compile(dynamic_batch=True)
    def f(x: Any) -> Any:
        y = ost.softmax(x)
        seen.extend(native.current_trace().flops())
        return y

    f(np.ones(N, np.float32))
    assert seen == [0]
