# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import numpy as np
from row import A, Row, S
from rows import attention_grad
from rows.attention_packed import unpack

import ostria as ost


def ref(g, y, lse, qkv, causal=False, scale=0.0, *, heads, kv_heads):
    parts = attention_grad.ref(g, y, lse, *unpack(qkv, heads, kv_heads), causal=causal, scale=scale)
    return np.concatenate([p.reshape(*p.shape[:2], p.shape[2] * p.shape[3]) for p in parts], axis=2)


def _sample(batch, length, heads, kv_heads, dim, **attrs):
    y, lse = A(batch, length, heads, dim), A(batch, heads, length, low=8, high=10)
    qkv = A(batch, length, (heads + 2 * kv_heads) * dim)
    return S(y, y, lse, qkv, heads=heads, kv_heads=kv_heads, **attrs)


ROW = Row(
    op="attention_packed_grad",
    fn=ost._native.ops.attention_packed_grad,
    ref=ref,
    dtypes=("float32", "float64"),  # of half types, lse is float32
    domain=(-1.0, 1.0),
    samples=(
        _sample("n", 3, 2, 2, 3, causal=True),
        _sample(2, 5, 4, 1, 4, scale=0.4),
        _sample(1, 71, 2, 2, 8, causal=True),
        _sample(0, 3, 1, 1, 2),
    ),
    slack=200,
)
