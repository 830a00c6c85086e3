# SPDX-License-Identifier: Apache-2.0
"""Transformers of published sizes, as an Ostria user writes them: GPT-2 124M and BERT-large.

Pre-normalisation and a causal limit make the first, post-normalisation and both directions the
second. The head is the token table transposed (Press and Wolf 2016). GPT-2's 50,257 tokens are
padded to 50,304, so that rows start on 128-byte boundaries.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

EPSILON = 1e-5


@dataclass(frozen=True)
class Shape:
    """Sizes of a network and of the text it reads."""

    layers: int
    width: int
    heads: int
    time: int
    vocabulary: int
    causal: bool
    approximate_gelu: bool = True


GPT2_124M = Shape(12, 768, 12, 1024, 50304, True)
BERT_LARGE = Shape(24, 1024, 16, 384, 30528, False, approximate_gelu=False)


def model(shape: Shape) -> Any:
    """Token ids [batch, time] to logits [batch, time, vocabulary]."""
    import ostria as ost
    from ostria import nn

    def gelu(x: Any) -> Any:
        return nn.activations.gelu(x, approximate=shape.approximate_gelu)

    class Attention(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.qkv, self.proj = nn.Dense(3 * shape.width), nn.Dense(shape.width)

        def call(self, x: Any) -> Any:
            heads = (x.shape[0], shape.time, shape.heads, shape.width // shape.heads)
            q, k, v = (ost.reshape(t, heads) for t in ost.split(self.qkv(x), 3, axis=-1))
            return self.proj(ost.reshape(ost.attention(q, k, v, causal=shape.causal), x.shape))

    class Block(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.norm_1 = nn.LayerNormalization(epsilon=EPSILON)
            self.attention = Attention()
            self.norm_2 = nn.LayerNormalization(epsilon=EPSILON)
            self.up, self.down = nn.Dense(4 * shape.width), nn.Dense(shape.width)

        def mlp(self, x: Any) -> Any:
            return self.down(gelu(self.up(x)))

        def call(self, x: Any) -> Any:
            if shape.causal:
                x = x + self.attention(self.norm_1(x))
                return x + self.mlp(self.norm_2(x))
            x = self.norm_1(x + self.attention(x))
            return self.norm_2(x + self.mlp(x))

    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.tokens = nn.Embedding(shape.vocabulary, shape.width)
            self.positions = nn.Embedding(shape.time, shape.width)
            self.blocks = [Block() for _ in range(shape.layers)]
            self.norm = nn.LayerNormalization(epsilon=EPSILON)

        def call(self, x: Any) -> Any:
            h = self.tokens(x) + self.positions(ost.arange(shape.time))
            for block in self.blocks:
                h = block(h)
            return ost.matmul(self.norm(h), self.tokens.embeddings, transpose_b=True)

    return Model()
