# SPDX-License-Identifier: Apache-2.0
"""Attention and its gradients against PyTorch's scaled_dot_product_attention."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

import ostria as ost


def numbers(*shape: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


@pytest.mark.parametrize("kind", ["plain", "causal", "mask", "bias", "scale"])
@pytest.mark.parametrize(
    "sizes", [(2, 64, 64, 4, 4, 32), (1, 71, 229, 6, 2, 5), (1, 200, 70, 2, 1, 80)], ids=str
)
def test_torch_gives_the_same(sizes: tuple[int, ...], kind: str) -> None:
    batch, length_q, length_kv, heads, kv_heads, dim = sizes
    q = numbers(batch, length_q, heads, dim, seed=1)
    k, v = (numbers(batch, length_kv, kv_heads, dim, seed=s) for s in (2, 3))
    g = numbers(batch, length_q, heads, dim, seed=4)
    mask: Any = None
    if kind == "mask":
        mask = np.random.default_rng(5).random((batch, 1, length_q, length_kv)) < 0.7
    if kind == "bias":
        mask = numbers(1, heads, length_q, length_kv, seed=6)
    causal, scale = kind == "causal", 0.2 if kind == "scale" else None

    def ours(q: Any, k: Any, v: Any, g: Any) -> Any:
        y = ost.attention(q, k, v, mask=mask, causal=causal, scale=scale)
        return [y, *ost.gradients([y], [q, k, v], [g])]

    leaves = [torch.tensor(x, requires_grad=True) for x in (q, k, v)]
    tq, tk, tv = (x.transpose(1, 2) for x in leaves)
    tk, tv = (x.repeat_interleave(heads // kv_heads, 1) for x in (tk, tv))
    y = torch.nn.functional.scaled_dot_product_attention(
        tq,
        tk,
        tv,
        attn_mask=None if mask is None else torch.tensor(mask),
        is_causal=causal,
        scale=scale,
    ).transpose(1, 2)
    theirs = [y, *torch.autograd.grad(y, leaves, torch.tensor(g))]
    for a, b in zip(ost.compile(ours)(q, k, v, g), theirs, strict=True):
        np.testing.assert_allclose(a.numpy(), b.detach().numpy(), 1e-3, 2e-5)
