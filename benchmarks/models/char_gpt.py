# SPDX-License-Identifier: Apache-2.0
"""A small character transformer, 4 layers of 128 with 4 heads, 64 characters, AdamW: steps/s."""

from __future__ import annotations

from typing import Any

import numpy as np

from benchmarks.models import data, rules
from benchmarks.suites import Suite

LAYERS, WIDTH, HEADS, TIME, VOCABULARY = 4, 128, 4, 64, 65
EPSILON = 1e-5
RULE = rules.AdamW(1e-3, 0.01)
MODES = {
    "ostria": ["compile"],
    "torch": ["eager", "compile", "compile_step"],
    "jax": ["jit", "scan"],
    "tensorflow": ["function", "xla"],
}


def weights() -> list[np.ndarray]:
    """Token and position tables, the layers, the last normalisation, the head."""
    rng = np.random.default_rng(data.SEED)

    def dense(inputs: int, outputs: int) -> list[np.ndarray]:
        kernel = 0.05 * rng.standard_normal((inputs, outputs), dtype=np.float32)
        return [kernel, np.zeros(outputs, np.float32)]

    def norm() -> list[np.ndarray]:
        return [np.ones(WIDTH, np.float32), np.zeros(WIDTH, np.float32)]

    tables = [0.1 * rng.standard_normal((n, WIDTH), dtype=np.float32) for n in (VOCABULARY, TIME)]
    arrays = [*tables]
    for _ in range(LAYERS):
        arrays += norm() + dense(WIDTH, 3 * WIDTH) + dense(WIDTH, WIDTH)
        arrays += norm() + dense(WIDTH, 4 * WIDTH) + dense(4 * WIDTH, WIDTH)
    return [*arrays, *norm(), *dense(WIDTH, VOCABULARY)]


def examples(batch: int, pool: int) -> tuple[np.ndarray, np.ndarray]:
    """Characters and the ones after them; each depends on the last, so there is much to learn."""
    rng = np.random.default_rng(data.SEED + 1)
    text = np.zeros((pool, batch, TIME + 1), np.int32)
    text[..., 0] = rng.integers(0, VOCABULARY, (pool, batch))
    for t in range(TIME):
        text[..., t + 1] = (3 * text[..., t] + rng.integers(0, 4, (pool, batch))) % VOCABULARY
    return text[..., :-1].copy(), text[..., 1:].copy()


def make(framework: str, mode: str, batch: int, pool: int = data.POOL) -> Any:
    """A worker's job, with `pool` batches of examples."""
    x, y = examples(batch, pool)
    makers = {"torch": _torch, "jax": _jax, "tensorflow": _tensorflow, "ostria": _ostria}
    return makers[framework](weights(), x, y, mode)


def forward(m: Any, w: Any, x: Any) -> Any:
    """The logits [batch, time, vocabulary], with a peer's `m`: embed, norm, dense, attend, gelu."""
    it = iter(w)

    def two() -> tuple[Any, Any]:
        return next(it), next(it)

    h = m.embed(next(it), x) + next(it)
    for _ in range(LAYERS):
        qkv = m.dense(m.norm(h, *two()), *two())
        h = h + m.dense(m.attend(qkv), *two())
        up = m.gelu(m.dense(m.norm(h, *two()), *two()))
        h = h + m.dense(up, *two())
    return m.dense(m.norm(h, *two()), *two())


def _torch(w: list[np.ndarray], x: np.ndarray, y: np.ndarray, mode: str) -> Any:
    import torch
    import torch.nn.functional as F

    from benchmarks.models import train_torch

    train_torch.setup()

    class Layers:
        gelu = staticmethod(F.gelu)

        @staticmethod
        def embed(table: Any, x: Any) -> Any:
            return F.embedding(x, table)

        @staticmethod
        def norm(x: Any, gamma: Any, beta: Any) -> Any:
            return F.layer_norm(x, (WIDTH,), gamma, beta, EPSILON)

        @staticmethod
        def dense(x: Any, kernel: Any, bias: Any) -> Any:
            return F.linear(x, kernel, bias)

        @staticmethod
        def attend(qkv: Any) -> Any:
            q, k, v = qkv.unflatten(-1, (3, HEADS, -1)).permute(2, 0, 3, 1, 4).unbind()
            a = F.scaled_dot_product_attention(q, k, v, is_causal=True)
            return a.transpose(1, 2).flatten(2)

    def loss_of(w: Any, x: Any, y: Any) -> Any:
        return F.cross_entropy(forward(Layers, w, x).flatten(0, 1), y.flatten())

    tables = 2
    arrays = [a.T.copy() if i >= tables and a.ndim == 2 else a for i, a in enumerate(w)]
    module = train_torch.TrainModule(loss_of, [torch.tensor(a) for a in arrays])
    batches = list(zip(train_torch.labels(x), train_torch.labels(y), strict=True))
    return train_torch.train(module, batches, mode, RULE)


def _jax(w: list[np.ndarray], x: np.ndarray, y: np.ndarray, mode: str) -> Any:
    import jax
    import jax.numpy as jnp

    from benchmarks.models import train_jax

    class Layers:
        @staticmethod
        def gelu(x: Any) -> Any:
            return jax.nn.gelu(x, approximate=False)

        @staticmethod
        def embed(table: Any, x: Any) -> Any:
            return table[x]

        @staticmethod
        def norm(x: Any, gamma: Any, beta: Any) -> Any:
            mean, var = x.mean(-1, keepdims=True), x.var(-1, keepdims=True)
            return (x - mean) * jax.lax.rsqrt(var + EPSILON) * gamma + beta

        @staticmethod
        def dense(x: Any, kernel: Any, bias: Any) -> Any:
            return x @ kernel + bias

        @staticmethod
        def attend(qkv: Any) -> Any:
            batch = qkv.shape[0]
            q, k, v = jnp.moveaxis(qkv.reshape(batch, TIME, 3, HEADS, -1), 2, 0)
            a = jax.nn.dot_product_attention(q, k, v, is_causal=True)
            return a.reshape(batch, TIME, WIDTH)

    def loss_of(w: Any, state: Any, x: Any, y: Any) -> Any:
        return train_jax.cross_entropy(forward(Layers, w, x), y), state

    return train_jax.train(loss_of, w, (x, y), mode, RULE)


def _tensorflow(w: list[np.ndarray], x: np.ndarray, y: np.ndarray, mode: str) -> Any:
    import tensorflow as tf

    from benchmarks.models import train_tensorflow

    train_tensorflow.setup()
    hidden = tf.constant(np.triu(np.full((TIME, TIME), -1e9, np.float32), 1))

    class Layers:
        gelu = staticmethod(tf.nn.gelu)

        @staticmethod
        def embed(table: Any, x: Any) -> Any:
            return tf.gather(table, x)

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
            split = tf.reshape(qkv, (*qkv.shape[:2], 3, HEADS, WIDTH // HEADS))
            q, k, v = tf.unstack(tf.transpose(split, (2, 0, 3, 1, 4)))
            scores = tf.matmul(q, k, transpose_b=True) * (WIDTH // HEADS) ** -0.5 + hidden
            a = tf.matmul(tf.nn.softmax(scores), v)
            return tf.reshape(tf.transpose(a, (0, 2, 1, 3)), (*qkv.shape[:2], WIDTH))

    variables = [tf.Variable(a) for a in w]

    def loss_of(x: Any, y: Any) -> Any:
        return train_tensorflow.cross_entropy(forward(Layers, variables, x), y)

    return train_tensorflow.train(loss_of, variables, (x, y), mode, RULE)


def model() -> Any:
    """The network as an Ostria user writes it."""
    import ostria as ost
    from ostria import nn

    class Attention(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.qkv, self.proj = nn.Dense(3 * WIDTH), nn.Dense(WIDTH)

        def call(self, x: Any) -> Any:
            batch, size = x.shape[0], WIDTH // HEADS
            q, k, v = ost.split(self.qkv(x), 3, axis=-1)
            shape = (batch, TIME, HEADS, size)
            q, k, v = (ost.reshape(t, shape) for t in (q, k, v))
            a = ost.reshape(ost.attention(q, k, v, causal=True), (batch, TIME, WIDTH))
            return self.proj(a)

    class Block(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.norm_1 = nn.LayerNormalization(epsilon=EPSILON)
            self.attention = Attention()
            self.norm_2 = nn.LayerNormalization(epsilon=EPSILON)
            self.up, self.down = nn.Dense(4 * WIDTH, "gelu"), nn.Dense(WIDTH)

        def call(self, x: Any) -> Any:
            x = x + self.attention(self.norm_1(x))
            return x + self.down(self.up(self.norm_2(x)))

    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.tokens = nn.Embedding(VOCABULARY, WIDTH)
            self.positions = nn.Embedding(TIME, WIDTH)
            self.blocks = [Block() for _ in range(LAYERS)]
            self.norm, self.head = nn.LayerNormalization(epsilon=EPSILON), nn.Dense(VOCABULARY)

        def call(self, x: Any) -> Any:
            h = self.tokens(x) + self.positions(ost.arange(TIME))
            for block in self.blocks:
                h = block(h)
            return self.head(self.norm(h))

    return Model()


def _ostria(w: list[np.ndarray], x: np.ndarray, y: np.ndarray, mode: str) -> Any:
    from benchmarks.models import train_ostria

    net = model()
    return train_ostria.train(net, train_ostria.classifier(net), w, (x, y), mode, RULE)


SUITES = [Suite("char_gpt", "steps/s", MODES, make, [8])]
