# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import numpy as np
from row import A, B, Row, S, V
from rows.attention import masks, qkv, weights

import ostria as ost

ops = ost._native.ops


def ref(
    g, y, lse, q, k, v, *options, causal=False, scale=0.0, masked=False, lengths=False, lse_grad=0
):
    scale = scale or 1 / np.sqrt(q.shape[3])
    repeat = q.shape[2] // k.shape[2]
    allowed, bias = masks(q, k, options, causal, masked, lengths)
    w, _ = weights(q, k, lse, allowed, bias, scale)
    delta = np.einsum("bihd,bihd->bhi", g, y) - (options[-1] if lse_grad else 0)
    dp = np.einsum("bihd,bjhd->bhij", g, np.repeat(v, repeat, 2))
    ds = w * (dp - delta[..., None]) * scale

    def grouped(x):
        return x.reshape(*x.shape[:2], k.shape[2], repeat, x.shape[3]).sum(3)

    return (
        np.einsum("bhij,bjhd->bihd", ds, np.repeat(k, repeat, 2)),
        grouped(np.einsum("bhij,bihd->bjhd", ds, q)),
        grouped(np.einsum("bhij,bihd->bjhd", w, g)),
    )


def fn(g, y, lse, q, k, v, *options, **attrs):
    return ops.attention_grad(g, y, lse, q, k, v, list(options), **attrs)


def _sample(batch, length_q, length_kv, heads, dim, kv_heads=None, dim_v=None, *options, **attrs):
    q, k, v = qkv(batch, length_q, length_kv, heads, dim, kv_heads, dim_v)
    y = A(batch, length_q, heads, dim_v or dim)
    # As large as a log-sum-exp of these scores is, so that the weights are no large numbers.
    lse = A(batch, heads, length_q, low=8, high=10)
    return S(y, y, lse, q, k, v, *options, **attrs)


ROW = Row(
    op="attention_grad",
    fn=fn,
    ref=ref,
    dtypes=("float32", "float64"),  # of half types, lse is float32
    domain=(-1.0, 1.0),
    samples=(
        _sample("n", 3, 4, 2, 3, causal=True),
        _sample(2, 3, 2, 2, 2, 1, 3, V([0, 2], "int64"), lengths=True, scale=0.4),
        _sample(1, 3, 3, 2, 2, None, None, B(1, 1, 3, 3), A(1, 2, 3), masked=True, lse_grad=True),
        _sample(1, 71, 229, 4, 5, 2, 80, causal=True),
        _sample(1, 130, 67, 2, 64),
        _sample(0, 3, 3, 2, 4),
    ),
    slack=200,  # sums of up to 229 products of four numbers
)
