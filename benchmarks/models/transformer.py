# SPDX-License-Identifier: Apache-2.0
"""Transformers: one forward pass for every peer, and Ostria's modules; GPT-2 124M and BERT-large.

Pre-normalisation and a causal limit make the first, post-normalisation and both directions the
second. Their head is the token table transposed (Press and Wolf 2016). GPT-2's 50,257 tokens are
padded to 50,304, so that rows start on 128-byte boundaries. What differs between frameworks is in
their `Layers`: embed, norm, dense, attend, gelu, project.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from benchmarks.models import data, rules, target

EPSILON = 1e-5


@dataclass(frozen=True)
class Shape:
    """Sizes of a network and of the text it reads."""

    layers: int
    width: int
    heads: int
    time: int
    vocabulary: int
    causal: bool = True
    approximate_gelu: bool = True
    tied: bool = True  # the head is the token table

    @property
    def parameters(self) -> int:
        """How many numbers are trained."""
        block = 12 * self.width**2 + 13 * self.width
        ends = 2 * self.width * self.causal + (
            0 if self.tied else (self.width + 1) * self.vocabulary
        )
        return self.layers * block + ends + (self.vocabulary + self.time) * self.width

    @property
    def flops_per_token(self) -> float:
        """Of training: 6 for each weight in a product, and those of attention, all keys counted."""
        inactive = self.time * self.width + (0 if self.tied else self.vocabulary * self.width)
        return 6 * (self.parameters - inactive) + 12 * self.layers * self.time * self.width


def tiny(shape: Shape) -> Shape:
    """The same kind of network, small."""
    return replace(shape, layers=2, width=32, heads=2, time=16, vocabulary=64)


GPT2_124M = Shape(12, 768, 12, 1024, 50304)
BERT_LARGE = Shape(24, 1024, 16, 384, 30528, causal=False, approximate_gelu=False)


def weights(shape: Shape, scale: float = 0.02) -> list[np.ndarray]:
    """Token and position tables, layers, the last normalisation, a head where it is not tied."""
    rng = np.random.default_rng(data.SEED)

    def normal(*size: int, scale: float = scale) -> np.ndarray:
        array = rng.standard_normal(size, dtype=np.float32)
        array *= np.float32(scale)
        return array

    def dense(inputs: int, outputs: int) -> list[np.ndarray]:
        return [normal(inputs, outputs), np.zeros(outputs, np.float32)]

    width = shape.width
    norm = [np.ones(width, np.float32), np.zeros(width, np.float32)]
    arrays = [normal(n, width, scale=2 * scale) for n in (shape.vocabulary, shape.time)]
    for _ in range(shape.layers):
        attention = dense(width, 3 * width) + dense(width, width)
        mlp = dense(width, 4 * width) + dense(4 * width, width)
        arrays += norm + attention + norm + mlp if shape.causal else attention + norm + mlp + norm
    if shape.causal:
        arrays += norm
    return arrays if shape.tied else [*arrays, *dense(width, shape.vocabulary)]


def examples(shape: Shape, batch: int, pool: int) -> tuple[np.ndarray, np.ndarray]:
    """Tokens and the ones after them; each depends on the last, so there is much to learn."""
    rng = np.random.default_rng(data.SEED + 1)
    text = np.zeros((pool, batch, shape.time + 1), np.int32)
    text[..., 0] = rng.integers(0, shape.vocabulary, (pool, batch))
    for t in range(shape.time):
        step = 3 * text[..., t] + rng.integers(0, 4, (pool, batch))
        text[..., t + 1] = step % shape.vocabulary
    return text[..., :-1].copy(), text[..., 1:].copy()


def forward(m: Any, shape: Shape, w: Iterable[Any], x: Any) -> Any:
    """The logits [batch, time, vocabulary], with a framework's layers `m`."""
    it = iter(w)

    def two() -> tuple[Any, Any]:
        return next(it), next(it)

    def attention(h: Any) -> Any:
        return m.dense(m.attend(m.dense(h, *two())), *two())

    def mlp(h: Any) -> Any:
        return m.dense(m.gelu(m.dense(h, *two())), *two())

    table = next(it)
    h = m.embed(table, x) + next(it)
    for _ in range(shape.layers):
        if shape.causal:
            h = h + attention(m.norm(h, *two()))
            h = h + mlp(m.norm(h, *two()))
        else:
            h = m.norm(h + attention(h), *two())
            h = m.norm(h + mlp(h), *two())
    if shape.causal:
        h = m.norm(h, *two())
    return m.project(h, table) if shape.tied else m.dense(h, *two())


def make(
    shape: Shape,
    given: list[np.ndarray],
    batches: tuple[np.ndarray, np.ndarray],
    rule: rules.AdamW,
    framework: str,
    mode: str,
    check_steps: int = data.POOL,
) -> Any:
    """A worker's job that trains on `batches` from the weights `given`."""
    makers = {"torch": _torch, "jax": _jax, "tensorflow": _tensorflow, "ostria": _ostria}
    return makers[framework](shape, given, *batches, mode, rule, check_steps)


# --- Peers ----------------------------------------------------------------------------------------


def _torch(shape: Shape, given: Any, x: Any, y: Any, mode: str, rule: Any, check: int) -> Any:
    import torch
    import torch.nn.functional as F

    from benchmarks.models import train_torch

    train_torch.setup()

    class Layers:
        embed = staticmethod(lambda table, x: F.embedding(x, table))
        dense = staticmethod(F.linear)
        project = staticmethod(F.linear)

        @staticmethod
        def gelu(x: Any) -> Any:
            return F.gelu(x, approximate="tanh" if shape.approximate_gelu else "none")

        @staticmethod
        def norm(x: Any, gamma: Any, beta: Any) -> Any:
            return F.layer_norm(x, (shape.width,), gamma, beta, EPSILON)

        @staticmethod
        def attend(qkv: Any) -> Any:
            q, k, v = qkv.unflatten(-1, (3, shape.heads, -1)).permute(2, 0, 3, 1, 4).unbind()
            a = F.scaled_dot_product_attention(q, k, v, is_causal=shape.causal)
            return a.transpose(1, 2).flatten(2)

    def loss_of(w: Any, x: Any, y: Any) -> Any:
        return F.cross_entropy(forward(Layers, shape, w, x).flatten(0, 1), y.flatten())

    tables = 2
    arrays = [a.T.copy() if i >= tables and a.ndim == 2 else a for i, a in enumerate(given)]
    module = train_torch.TrainModule(loss_of, [torch.tensor(a) for a in arrays])
    batches = list(zip(train_torch.labels(x), train_torch.labels(y), strict=True))
    return train_torch.train(module, batches, mode, rule, check)


def _jax(shape: Shape, given: Any, x: Any, y: Any, mode: str, rule: Any, check: int) -> Any:
    import jax
    import jax.numpy as jnp

    from benchmarks.models import train_jax

    on_gpu = target.current.device != "cpu"
    # cuDNN's attention takes 16 bits only.
    attention = "cudnn" if on_gpu and target.current.is_mixed else None

    class Layers:
        embed = staticmethod(lambda table, x: table[x])
        dense = staticmethod(lambda x, kernel, bias: x @ kernel + bias)
        project = staticmethod(lambda x, table: x @ table.T)

        @staticmethod
        def gelu(x: Any) -> Any:
            return jax.nn.gelu(x, approximate=shape.approximate_gelu)

        @staticmethod
        def norm(x: Any, gamma: Any, beta: Any) -> Any:
            x32 = x.astype(jnp.float32)
            mean, var = x32.mean(-1, keepdims=True), x32.var(-1, keepdims=True)
            y = (x32 - mean) * jax.lax.rsqrt(var + EPSILON) * gamma + beta
            return y.astype(x.dtype)

        @staticmethod
        def attend(qkv: Any) -> Any:
            batch = qkv.shape[0]
            q, k, v = jnp.moveaxis(qkv.reshape(batch, shape.time, 3, shape.heads, -1), 2, 0)
            a = jax.nn.dot_product_attention(
                q, k, v, is_causal=shape.causal, implementation=attention
            )
            return a.reshape(batch, shape.time, shape.width)

    def loss_of(w: Any, state: Any, x: Any, y: Any) -> Any:
        return train_jax.cross_entropy(forward(Layers, shape, w, x), y), state

    return train_jax.train(loss_of, given, (x, y), mode, rule, check_steps=check)


def _tensorflow(shape: Shape, given: Any, x: Any, y: Any, mode: str, rule: Any, check: int) -> Any:
    import tensorflow as tf

    from benchmarks.models import train_tensorflow

    train_tensorflow.setup()
    limit = 1 if shape.causal else shape.time
    hidden = tf.constant(np.triu(np.full((shape.time, shape.time), -1e9, np.float32), limit))

    class Layers:
        embed = staticmethod(tf.gather)
        gelu = staticmethod(lambda x: tf.nn.gelu(x, shape.approximate_gelu))
        project = staticmethod(lambda x, table: tf.matmul(x, table, transpose_b=True))

        @staticmethod
        def norm(x: Any, gamma: Any, beta: Any) -> Any:
            mean, var = tf.nn.moments(x, -1, keepdims=True)
            return (x - mean) * tf.math.rsqrt(var + EPSILON) * gamma + beta

        @staticmethod
        def dense(x: Any, kernel: Any, bias: Any) -> Any:
            flat = tf.matmul(tf.reshape(x, (-1, x.shape[-1])), kernel) + bias
            return tf.reshape(flat, (*x.shape[:-1], kernel.shape[-1]))

        @staticmethod
        def attend(qkv: Any) -> Any:
            size = shape.width // shape.heads
            split = tf.reshape(qkv, (*qkv.shape[:2], 3, shape.heads, size))
            q, k, v = tf.unstack(tf.transpose(split, (2, 0, 3, 1, 4)))
            scores = tf.matmul(q, k, transpose_b=True) * size**-0.5 + hidden
            a = tf.matmul(tf.nn.softmax(scores), v)
            return tf.reshape(tf.transpose(a, (0, 2, 1, 3)), (*qkv.shape[:2], shape.width))

    variables = [tf.Variable(a) for a in given]

    def loss_of(x: Any, y: Any) -> Any:
        return train_tensorflow.cross_entropy(forward(Layers, shape, variables, x), y)

    return train_tensorflow.train(loss_of, variables, (x, y), mode, rule, check)


# --- Ostria ---------------------------------------------------------------------------------------


def model(shape: Shape) -> Any:
    """Token ids [batch, time] to logits [batch, time, vocabulary], as an Ostria user writes it."""
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
            if shape.causal:
                self.norm = nn.LayerNormalization(epsilon=EPSILON)
            if not shape.tied:
                self.head = nn.Dense(shape.vocabulary)

        def call(self, x: Any) -> Any:
            h = self.tokens(x) + self.positions(ost.arange(shape.time))
            for block in self.blocks:
                h = block(h)
            if shape.causal:
                h = self.norm(h)
            if not shape.tied:
                return self.head(h)
            return ost.matmul(h, self.tokens.embeddings, transpose_b=True)

    return Model()


def _ostria(shape: Shape, given: Any, x: Any, y: Any, mode: str, rule: Any, check: int) -> Any:
    from benchmarks.models import train_ostria

    net = model(shape)
    loss_of = train_ostria.classifier(net)
    return train_ostria.train(net, loss_of, given, (x, y), mode, rule, check)
