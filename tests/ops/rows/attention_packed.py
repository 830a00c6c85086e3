# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import numpy as np
from row import A, Mistake, Row, S, tensor
from rows import attention

import ostria as ost

ops = ost._native.ops


def unpack(qkv, heads, kv_heads):
    """q, k and v, each [batch, length, heads, head_dim]."""
    batch, length, width = qkv.shape
    dim = width // (heads + 2 * kv_heads)
    parts = np.split(qkv, [heads * dim, (heads + kv_heads) * dim], axis=2)
    return [p.reshape(batch, length, p.shape[2] // dim, dim) for p in parts]


def ref(qkv, causal=False, scale=0.0, *, heads, kv_heads):
    return attention.ref(*unpack(qkv, heads, kv_heads), causal=causal, scale=scale)


ROW = Row(
    op="attention_packed",
    fn=ops.attention_packed,
    ref=ref,
    samples=(
        S(A("n", 3, 18), heads=2, kv_heads=2),
        S(A(2, 5, 24), heads=4, kv_heads=1, causal=True, scale=0.3),
        S(A(1, 71, 96), heads=2, kv_heads=2, causal=True),
        S(A(0, 3, 6), heads=1, kv_heads=1),
    ),
    errors=(
        Mistake(
            lambda: ops.attention_packed(tensor(np.ones((2, 3, 20))), heads=4, kv_heads=2),
            ValueError,
            "attention_packed: 'qkv' has shape [2, 3, 20], whose rows are not 4 heads of q and "
            "twice 2 of k and v, in groups of equal size",
        ),
    ),
    slack=20,
)
