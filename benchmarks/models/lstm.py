# SPDX-License-Identifier: Apache-2.0
"""A language model of two LSTM layers of 256, 35 steps of time, 1,000 words, SGD: steps/s.

Gates are in the order i, f, g, o, as in Keras and PyTorch. PyTorch's second bias stays zero.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from benchmarks.models import data, rules
from benchmarks.suites import Suite


@dataclass(frozen=True)
class Sizes:
    """Of a language model."""

    units: int
    vocabulary: int
    time: int = 35
    layers: int = 2


SMALL = Sizes(256, 1000)
MEDIUM = Sizes(650, 10_000)  # Zaremba et al. 2014
RULE = rules.Momentum(4.0)
POOL = 8
CHECK_STEPS = 32
MODES = {
    "ostria": ["compile"],
    "torch": ["eager", "compile"],
    "jax": ["jit", "scan"],
    "tensorflow": ["function", "xla"],
}


def weights(sizes: Sizes) -> list[np.ndarray]:
    """The table; kernel [in, 4 * units], recurrent kernel, bias of each layer; the head."""
    rng = np.random.default_rng(data.SEED)

    def uniform(*shape: int, limit: float = 0.1) -> np.ndarray:
        return rng.uniform(-limit, limit, shape).astype(np.float32)

    units, words = sizes.units, sizes.vocabulary
    arrays = [uniform(words, units, limit=1.0)]
    for _ in range(sizes.layers):
        arrays += [uniform(units, 4 * units), uniform(units, 4 * units), uniform(4 * units)]
    return [*arrays, uniform(units, words), np.zeros(words, np.float32)]


def examples(sizes: Sizes, batch: int, pool: int) -> tuple[np.ndarray, np.ndarray]:
    """Words and the ones after them, each of which depends on the last."""
    rng = np.random.default_rng(data.SEED + 1)
    text = np.zeros((pool, batch, sizes.time + 1), np.int32)
    text[..., 0] = rng.integers(0, sizes.vocabulary, (pool, batch))
    for t in range(sizes.time):
        step = 7 * text[..., t] + rng.integers(0, 8, (pool, batch))
        text[..., t + 1] = step % sizes.vocabulary
    return text[..., :-1].copy(), text[..., 1:].copy()


def make(
    framework: str,
    mode: str,
    batch: int,
    pool: int = POOL,
    sizes: Sizes = SMALL,
    rule: Any = RULE,
    check_steps: int = CHECK_STEPS,
) -> Any:
    """A worker's job, with `pool` batches of examples."""
    makers = {"torch": _torch, "jax": _jax, "tensorflow": _tensorflow, "ostria": _ostria}
    batches = examples(sizes, batch, pool)
    return makers[framework](sizes, weights(sizes), *batches, mode, rule, check_steps)


def _torch(sizes: Sizes, w: Any, x: Any, y: Any, mode: str, rule: Any, check: int) -> Any:
    import torch
    import torch.nn.functional as F

    from benchmarks.models import train_torch

    train_torch.setup()
    units, layers, vocabulary = sizes.units, sizes.layers, sizes.vocabulary
    torch._dynamo.config.allow_rnn = True  # else Dynamo breaks the graph at nn.LSTM

    class Model(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embedding = torch.nn.Embedding(vocabulary, units)
            self.lstm = torch.nn.LSTM(units, units, layers, batch_first=True)
            self.head = torch.nn.Linear(units, vocabulary)
            targets: list[Any] = [self.embedding.weight]
            for i in range(layers):
                names = ("weight_ih", "weight_hh", "bias_ih")
                targets += [getattr(self.lstm, f"{name}_l{i}") for name in names]
                getattr(self.lstm, f"bias_hh_l{i}").requires_grad_(False).zero_()
            targets += [self.head.weight, self.head.bias]
            with torch.no_grad():
                for i, (target, value) in enumerate(zip(targets, w, strict=True)):
                    turned = value.T if value.ndim == 2 and i else value
                    target.copy_(torch.from_numpy(turned.copy()))

        def forward(self, x: Any, y: Any) -> Any:
            h, _ = self.lstm(self.embedding(x))
            return F.cross_entropy(self.head(h).flatten(0, 1), y.flatten())

    batches = list(zip(train_torch.labels(x), train_torch.labels(y), strict=True))
    return train_torch.train(Model(), batches, mode, rule, check)


def _jax(sizes: Sizes, w: Any, x: Any, y: Any, mode: str, rule: Any, check: int) -> Any:
    import jax
    import jax.numpy as jnp

    from benchmarks.models import train_jax

    def layer(x: Any, kernel: Any, recurrent: Any, bias: Any) -> Any:
        """[time, batch, in] to [time, batch, units]."""

        def cell(carry: Any, z: Any) -> Any:
            h, c = carry
            i, f, g, o = jnp.split(z + h @ recurrent, 4, -1)
            c = jax.nn.sigmoid(f) * c + jax.nn.sigmoid(i) * jnp.tanh(g)
            h = jax.nn.sigmoid(o) * jnp.tanh(c)
            return (h, c), h

        zero = jnp.zeros((x.shape[1], sizes.units))
        return jax.lax.scan(cell, (zero, zero), x @ kernel + bias)[1]

    def loss_of(w: Any, state: Any, x: Any, y: Any) -> Any:
        h = w[0][x.T]
        for i in range(sizes.layers):
            h = layer(h, *w[1 + 3 * i : 4 + 3 * i])
        return train_jax.cross_entropy(h @ w[-2] + w[-1], y.T), state

    return train_jax.train(loss_of, w, (x, y), mode, rule, check_steps=check)


def _tensorflow(sizes: Sizes, w: Any, x: Any, y: Any, mode: str, rule: Any, check: int) -> Any:
    import tensorflow as tf

    from benchmarks.models import train_tensorflow

    train_tensorflow.setup()
    variables = [tf.Variable(a) for a in w]

    def layer(x: Any, kernel: Any, recurrent: Any, bias: Any) -> Any:
        """[time, batch, in] to [time, batch, units], unrolled."""
        h = c = tf.zeros((x.shape[1], sizes.units))
        out = []
        flat = tf.matmul(tf.reshape(x, (-1, x.shape[-1])), kernel) + bias
        for z in tf.unstack(tf.reshape(flat, (sizes.time, -1, 4 * sizes.units))):
            i, f, g, o = tf.split(z + tf.matmul(h, recurrent), 4, -1)
            c = tf.sigmoid(f) * c + tf.sigmoid(i) * tf.tanh(g)
            h = tf.sigmoid(o) * tf.tanh(c)
            out.append(h)
        return tf.stack(out)

    def loss_of(x: Any, y: Any) -> Any:
        h = tf.gather(variables[0], tf.transpose(x))
        for i in range(sizes.layers):
            h = layer(h, *variables[1 + 3 * i : 4 + 3 * i])
        logits = tf.matmul(tf.reshape(h, (-1, sizes.units)), variables[-2]) + variables[-1]
        return train_tensorflow.cross_entropy(logits, tf.reshape(tf.transpose(y), (-1,)))

    return train_tensorflow.train(loss_of, variables, (x, y), mode, rule, check)


def model(sizes: Sizes) -> Any:
    """The network as an Ostria user writes it."""
    from ostria import nn

    start = {"recurrent_initializer": "glorot_uniform"}  # orthogonal ones take seconds
    layers = [nn.LSTM(sizes.units, return_sequences=True, **start) for _ in range(sizes.layers)]
    ends = nn.Embedding(sizes.vocabulary, sizes.units), nn.Dense(sizes.vocabulary)
    return nn.Sequential([ends[0], *layers, ends[1]])


def _ostria(sizes: Sizes, w: Any, x: Any, y: Any, mode: str, rule: Any, check: int) -> Any:
    from benchmarks.models import train_ostria

    net = model(sizes)
    loss_of = train_ostria.classifier(net)
    return train_ostria.train(net, loss_of, w, (x, y), mode, rule, check)


SUITES = [Suite("lstm", "steps/s", MODES, make, [20])]
