# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import numpy as np
from row import A, B, I, Mistake, Row, S, V, tensor

import ostria as ost

ops = ost._native.ops


def weights(q, k, lse, allowed, bias, scale):
    """exp(scores - lse), 0 where not allowed: [batch, heads, length_q, length_kv]."""
    repeat = q.shape[2] // k.shape[2]
    scores = np.einsum("bihd,bjhd->bhij", q, np.repeat(k, repeat, 2)) * scale + bias
    if lse is None:
        top = np.where(allowed, scores, -1e300).max(-1, keepdims=True, initial=-1e300)
        total = np.where(allowed, np.exp(np.where(allowed, scores - top, 0)), 0).sum(-1)
        lse = np.where(total > 0, np.log(np.where(total > 0, total, 1)) + top[..., 0], 0)
    w = np.where(allowed, np.exp(np.where(allowed, scores - lse[..., None], 0)), 0)
    return w, lse


def masks(q, k, options, causal, masked, lengths):
    """(allowed, bias) of the scores."""
    options = list(options)
    allowed = np.ones((q.shape[0], q.shape[2], q.shape[1], k.shape[1]), bool)
    bias = 0.0
    if masked:
        mask = options.pop(0)
        if mask.dtype == bool:
            allowed &= mask
        else:
            bias = mask
    if lengths:
        allowed &= np.arange(k.shape[1]) < options.pop(0)[:, None, None, None]
    if causal:
        allowed &= np.tri(q.shape[1], k.shape[1], dtype=bool)
    return allowed, bias


def ref(q, k, v, *options, causal=False, scale=0.0, masked=False, lengths=False):
    allowed, bias = masks(q, k, options, causal, masked, lengths)
    w, lse = weights(q, k, None, allowed, bias, scale or 1 / np.sqrt(q.shape[3]))
    return np.einsum("bhij,bjhd->bihd", w, np.repeat(v, q.shape[2] // v.shape[2], 2)), lse


def fn(q, k, v, *options, **attrs):
    return ops.attention(q, k, v, list(options), **attrs)


def qkv(batch, length_q, length_kv, heads, dim, kv_heads=None, dim_v=None):
    kv_heads, dim_v = kv_heads or heads, dim_v or dim
    return (
        A(batch, length_q, heads, dim),
        A(batch, length_kv, kv_heads, dim),
        A(batch, length_kv, kv_heads, dim_v),
    )


# Sequence 0 has no key at all.
LENGTHS = V([0, 3], "int64")
ROW = Row(
    op="attention",
    fn=fn,
    ref=ref,
    samples=(
        S(*qkv("n", 3, 3, 2, 5)),
        S(*qkv("n", 4, 6, 2, 3), causal=True),
        S(*qkv(2, 3, 5, 1, 2), LENGTHS, lengths=True),
        S(*qkv(1, 4, 4, 2, 4, 1, 3), causal=True, scale=0.3),
        S(*qkv(2, 3, 2, 2, 3), B(1, 2, 3, 2), masked=True),
        S(*qkv(1, 2, 3, 2, 2), A(1, 2, 1, 3), masked=True),
        S(*qkv(2, 71, 229, 2, 5, 1), I(2, low=0, high=230), causal=True, lengths=True),
        S(*qkv(1, 71, 229, 2, 80, 2, 64), B(1, 1, 71, 229), masked=True),
        S(*qkv(1, 130, 67, 2, 32), A(1, 2, 130, 67), causal=True, masked=True),
        S(*qkv(0, 3, 3, 2, 4)),
        S(*qkv(2, 3, 0, 2, 4)),
    ),
    errors=(
        Mistake(
            lambda: fn(*(tensor(np.ones((1, 2, h, 4))) for h in (3, 2, 2))),
            ValueError,
            "attention: 'q' has 3 heads and 'k' has 2; heads of q share those of k in groups of "
            "equal size, so give a multiple of 2 heads",
        ),
        Mistake(
            lambda: fn(*[tensor(np.ones((2, 3)))] * 3),
            ValueError,
            "attention: 'q' must have rank 4 ([batch, length, heads, head_dim]), but has rank 2",
        ),
        Mistake(
            lambda: fn(
                *[tensor(np.ones((1, 2, 3, 4)))] * 3, tensor(np.ones((2, 2), bool)), masked=True
            ),
            ValueError,
            "attention: the mask's shape is [2, 2], but the scores are [1, 3, 2, 2] ([batch, "
            "heads, length_q, length_kv]); it must be equal, or 1 in any of the first three axes; "
            "reshape the mask to rank 4",
        ),
        Mistake(
            lambda: fn(
                *[tensor(np.ones((1, 2, 3, 4)))] * 3,
                tensor(np.ones((1, 1, 2, 2), np.int32)),
                masked=True,
            ),
            TypeError,
            "attention: the mask is int32 and q is float64; give a bool mask (true: attend) or "
            "numbers of q's dtype, which are added to the scores",
        ),
        Mistake(
            lambda: fn(*[tensor(np.ones((1, 2, 3, 4)))] * 3, dropout=1.0),
            ValueError,
            "attention: dropout is 1; it is the share of weights to drop and must be in [0, 1)",
        ),
        Mistake(
            lambda: fn(*[tensor(np.ones((1, 2, 3, 4)))] * 3, masked=True),
            TypeError,
            "attention: takes 1 options with these attributes, but 0 were given",
        ),
        Mistake(
            lambda: fn(
                *[tensor(np.ones((2, 2, 3, 4)))] * 3, tensor(np.int64([1, 2, 3])), lengths=True
            ),
            ValueError,
            "attention: the lengths' shape is [3]; give one number of keys for each of 2 "
            "sequences: [2]",
        ),
    ),
    slack=20,  # sums of up to 229 products, exponentials of sums of 80
)
