# SPDX-License-Identifier: Apache-2.0
"""Attention as a function: which operands the op gets, in which order."""

from __future__ import annotations

from typing import Any

from ostria import _functions as F
from ostria import _native, random
from ostria._checks import check_share, is_number
from ostria._errors import at_line

__all__ = ["attention"]

_ops = _native.ops


def attention(
    q: Any,
    k: Any,
    v: Any,
    *,
    mask: Any = None,
    lengths: Any = None,
    causal: bool = False,
    scale: float | None = None,
    dropout: float = 0.0,
    generator: random.Generator | None = None,
    offset: Any = None,
) -> Any:
    """softmax(scale q k^T) v for every head, without ever keeping the weights as a whole.

    Args:
        q: [batch, length_q, heads, head_dim].
        k: [batch, length_kv, kv_heads, head_dim]; each head of k and v serves heads // kv_heads of
            q's.
        v: [batch, length_kv, kv_heads, value_dim].
        mask: [batch or 1, heads or 1, length_q or 1, length_kv], or [length_q, length_kv]: bool
            (true: attend), or numbers that are added to the scores.
        lengths: int [batch]: keys from there on are masked.
        causal: row i attends to keys 0 … i only; where the lengths differ both count from the
            start, as in PyTorch.
        scale: the factor of the products; 1 / sqrt(head_dim) by default.
        dropout: share of the weights that are dropped; give it in training only.
        generator: what draws; by default the one that `ost.random.seed` seeds.
        offset: the global number of the first row of the batch (int64 scalar).

    Returns:
        [batch, length_q, heads, value_dim]. A row whose keys are all masked gives zeros.

    Raises:
        ValueError: sizes do not fit, or `scale` or `dropout` is not accepted.

    Example:
        >>> import ostria as ost
        >>> x = ost.ones((1, 3, 2, 4))
        >>> ost.attention(x, x, x, causal=True).shape
        (1, 3, 2, 4)
    """
    return attend(
        q,
        k,
        v,
        mask=mask,
        lengths=lengths,
        causal=causal,
        scale=scale,
        dropout=dropout,
        generator=generator,
        offset=offset,
    )[0]


def attend(
    q: Any,
    k: Any,
    v: Any,
    *,
    mask: Any,
    lengths: Any,
    causal: bool,
    scale: float | None,
    dropout: float,
    generator: random.Generator | None,
    offset: Any,
) -> Any:
    """What `attention` gives, and the log-sum-exp of every row: [batch, heads, length_q]."""
    if scale is not None and (not is_number(scale) or scale == 0):
        raise ValueError(
            at_line(
                f"attention: scale {scale!r} is not accepted; give a number other than 0, or None "
                "for 1 / sqrt(head_dim)"
            )
        )
    dropout = check_share("attention", "dropout", dropout)
    options: list[Any] = []
    if mask is not None:
        mask = F.astensor(mask)
        if len(mask.shape) == 2:
            mask = F.reshape(mask, (1, 1, *mask.shape))
        if mask.dtype.kind == "float":
            mask = F.cast(mask, F.astensor(q).dtype)
        options.append(mask)
    if lengths is not None:
        options.append(lengths)
    stream = 0
    if dropout:
        generator = generator or random.default_generator()
        key, first, stream = generator._draw_rows(tuple(F.astensor(q).shape), offset)
        options += [key, first]
    return _ops.attention(
        q,
        k,
        v,
        options,
        causal=bool(causal),
        scale=0.0 if scale is None else float(scale),
        dropout=dropout,
        stream=stream,
        masked=mask is not None,
        lengths=lengths is not None,
    )
