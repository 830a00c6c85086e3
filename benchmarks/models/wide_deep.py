# SPDX-License-Identifier: Apache-2.0
"""Wide and deep (Cheng et al. 2016) on click data, 26 tables of 100,000 rows, Adagrad: steps/s.

Peers see one table of 26 * 100,000 rows, as is usual where speed matters.

torch sparse    row-wise gradients into Adagrad; the dense layers have the fused one
jax rows        the gradient by the rows that were read, duplicates summed, `.at[ids]` updates
jax dense, tensorflow xla   a gradient for every row
tensorflow function    IndexedSlices into the row-wise update op, duplicates summed
ostria compile  26 Embeddings; ostria compile_merged   one, as the peers

Not there: torch compile around sparse gradients, which Inductor makes dense; the row-wise update op
of TensorFlow under XLA, which has none.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import Any

import numpy as np

from benchmarks.models import data, job, rules, target
from benchmarks.suites import Suite

TABLES, WIDTH, NUMERIC = 26, 16, 13


@dataclass(frozen=True)
class Sizes:
    """Rows of each table, and the dense layers before the last."""

    rows: int = 100_000
    hidden: tuple[int, ...] = (256, 128, 64)


SMALL = Sizes()
LARGE = Sizes(1_000_000, (1024, 512, 256))
RULE = rules.Adagrad(0.01)
MODES = {
    "ostria": ["compile", "compile_merged"],
    "torch": ["eager_sparse", "eager_dense", "compile_dense"],
    "jax": ["jit_rows", "jit_dense"],
    "tensorflow": ["function", "xla"],
}


def weights(sizes: Sizes) -> tuple[np.ndarray, np.ndarray, data.Layers]:
    """The deep table, the wide one, (kernel, bias) of each dense layer."""
    rng = np.random.default_rng(data.SEED)
    rows = TABLES * sizes.rows
    deep = rng.random((rows, WIDTH), dtype=np.float32)
    deep -= 0.5
    deep *= 0.1
    wide = np.zeros((rows, 1), np.float32)
    widths = (TABLES * WIDTH + NUMERIC, *sizes.hidden, 1)
    return deep, wide, [data.layer(rng, a, b) for a, b in pairwise(widths)]


def examples(sizes: Sizes, batch: int, pool: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """ids [pool, batch, 26], few of them often; numbers; clicks that follow both."""
    rng = np.random.default_rng(data.SEED + 1)
    ids = (sizes.rows ** rng.random((pool, batch, TABLES)) - 1).astype(np.int32)
    numbers = rng.standard_normal((pool, batch, NUMERIC), dtype=np.float32)
    score = numbers[..., :4].sum(-1) + np.where(ids[..., :4] % 2 == 0, 1.0, -1.0).sum(-1)
    return ids, numbers, (score > 0).astype(np.float32)


def make(framework: str, mode: str, batch: int, pool: int = data.POOL, sizes: Sizes = SMALL) -> Any:
    """A worker's job, with `pool` batches of examples."""
    ids, numbers, clicks = examples(sizes, batch, pool)
    given = weights(sizes)
    if framework == "ostria" and mode == "compile":
        return _ostria(sizes, given, (ids, numbers, clicks), False)
    arrays = (ids + np.arange(TABLES, dtype=np.int32) * sizes.rows, numbers, clicks)
    if framework == "ostria":
        return _ostria(sizes, given, arrays, True)
    makers = {"torch": _torch, "jax": _jax, "tensorflow": _tensorflow}
    return makers[framework](given, arrays, mode)


def _torch(given: Any, arrays: Any, mode: str) -> Any:
    import torch
    import torch.nn.functional as F

    from benchmarks.models import train_torch

    train_torch.setup()
    sparse = mode == "eager_sparse"
    deep, wide, dense = given

    class Model(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            tables = (torch.nn.Parameter(torch.from_numpy(t)) for t in (deep, wide))
            self.deep, self.wide = tables
            flat = [torch.from_numpy(a.T.copy()) for layer in dense for a in layer]
            self.dense = torch.nn.ParameterList(flat)

        def forward(self, ids: Any, numbers: Any, clicks: Any) -> Any:
            rows = F.embedding(ids, self.deep, sparse=sparse).flatten(1)
            x = torch.cat([rows, numbers], 1)
            for i in range(0, len(self.dense) - 2, 2):
                x = torch.relu(F.linear(x, self.dense[i], self.dense[i + 1]))
            x = F.linear(x, self.dense[-2], self.dense[-1])
            x = x + F.embedding(ids, self.wide, sparse=sparse).sum(1)
            return F.binary_cross_entropy_with_logits(x[:, 0], clicks)

    model = Model()
    batches = job.batches_of(arrays, torch.from_numpy)
    if not sparse:
        return train_torch.train(model, batches, mode.removesuffix("_dense"), RULE)
    model, batches = model.to(target.current.device), train_torch.there(batches)
    rows = RULE.torch([model.deep, model.wide], sparse=True)
    others = RULE.torch(model.dense.parameters())

    def step(*batch: Any) -> Any:
        loss = model(*batch)
        loss.backward()
        for optimizer in (rows, others):
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        return loss.detach()

    return job.StepJob(step, batches)


def _jax(given: Any, arrays: Any, mode: str) -> Any:
    import jax
    import jax.numpy as jnp

    from benchmarks.models import train_jax

    def loss_of(rows: Any, wide_rows: Any, dense: Any, numbers: Any, clicks: Any) -> Any:
        x = jnp.concatenate([rows.reshape(rows.shape[0], -1), numbers], 1)
        for w, b in dense[:-1]:
            x = jax.nn.relu(x @ w + b)
        x = (x @ dense[-1][0] + dense[-1][1] + wide_rows.sum(1))[:, 0]
        return jnp.mean(jax.nn.softplus(x) - clicks * x)

    if mode == "jit_dense":

        def whole(w: Any, state: Any, ids: Any, *rest: Any) -> Any:
            deep, wide, dense = w
            return loss_of(deep[ids], wide[ids], dense, *rest), state

        return train_jax.train(whole, given, arrays, "jit", RULE)

    update_rows = partial(train_jax.adagrad_rows, RULE)

    def step(carry: Any, ids: Any, *rest: Any) -> Any:
        (deep, wide, dense), (deep_a, wide_a, slots), seen = carry
        given = (deep[ids], wide[ids], dense)
        loss, grads = jax.value_and_grad(loss_of, argnums=(0, 1, 2))(*given, *rest)
        ids = ids.reshape(-1)
        seen, place, first = train_jax.places(seen, ids)
        deep, deep_a = update_rows(deep, deep_a, first, place, ids, grads[0].reshape(ids.size, -1))
        wide, wide_a = update_rows(wide, wide_a, first, place, ids, grads[1].reshape(ids.size, -1))
        dense, slots = train_jax.update_all(RULE, dense, grads[2], slots, 0)
        return ((deep, wide, dense), (deep_a, wide_a, slots), seen), loss

    tree = jax.tree.map(jnp.array, given)
    deep_a, wide_a = (jnp.full_like(t, RULE.slots[0]) for t in tree[:2])
    state = (deep_a, wide_a, train_jax.first_slots(RULE, tree[2]))
    carry = (tree, state, jnp.zeros(len(given[0]), jnp.int32))
    return train_jax.StepJob(step, carry, arrays, "jit")


def _tensorflow(given: Any, arrays: Any, mode: str) -> Any:
    import tensorflow as tf

    from benchmarks.models import train_tensorflow

    train_tensorflow.setup()
    deep, wide = (tf.Variable(t) for t in given[:2])
    dense = [tuple(tf.Variable(a) for a in layer) for layer in given[2]]
    flat = [v for layer in dense for v in layer]

    def loss_of(ids: Any, numbers: Any, clicks: Any) -> Any:
        rows = tf.gather(deep, ids)
        x = tf.concat([tf.reshape(rows, (rows.shape[0], -1)), numbers], 1)
        for w, b in dense[:-1]:
            x = tf.nn.relu(tf.matmul(x, w) + b)
        x = tf.matmul(x, dense[-1][0]) + dense[-1][1]
        x = (x + tf.reduce_sum(tf.gather(wide, ids), 1))[:, 0]
        return tf.reduce_mean(tf.nn.sigmoid_cross_entropy_with_logits(clicks, x))

    if mode == "xla":
        return train_tensorflow.train(loss_of, [deep, wide, *flat], arrays, mode, RULE)
    tables = [(t, tf.Variable(tf.fill(t.shape, RULE.slots[0]))) for t in (deep, wide)]
    slots = [tf.Variable(tf.fill(v.shape, RULE.slots[0])) for v in flat]

    def step(*batch: Any) -> Any:
        with tf.GradientTape() as tape:
            loss = loss_of(*batch)
        grads = tape.gradient(loss, [deep, wide, *flat])
        for (table, a), g in zip(tables, grads, strict=False):
            train_tensorflow.adagrad_rows(RULE, table, a, g)
        for v, a, g in zip(flat, slots, grads[2:], strict=True):
            value, (moved,) = RULE.update(tf.math, v, g, (a,), ())
            v.assign(value)
            a.assign(moved)
        return loss

    return job.StepJob(train_tensorflow.compiled(step, mode), job.batches_of(arrays, tf.constant))


def model(merged: bool, sizes: Sizes = SMALL) -> Any:
    """The network as an Ostria user writes it: a table for each column, or one for all."""
    import ostria as ost
    from ostria import nn

    class WideDeep(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            count = 1 if merged else TABLES
            rows = TABLES * sizes.rows // count
            self.deep = [nn.Embedding(rows, WIDTH) for _ in range(count)]
            self.wide = [nn.Embedding(rows, 1) for _ in range(count)]
            self.layers = [nn.Dense(size, "relu") for size in sizes.hidden] + [nn.Dense(1)]

        def call(self, ids: Any, numbers: Any) -> Any:
            if merged:
                rows = ost.reshape(self.deep[0](ids), (ids.shape[0], TABLES * WIDTH))
                wide = ost.sum(self.wide[0](ids), axis=1)
            else:
                rows = ost.concat([t(ids[:, i]) for i, t in enumerate(self.deep)], axis=1)
                wide = ost.sum(ost.stack([t(ids[:, i]) for i, t in enumerate(self.wide)]), axis=0)
            x = ost.concat([rows, numbers], axis=1)
            for layer in self.layers:
                x = layer(x)
            return x + wide

    return WideDeep()


def clicks_loss(net: Any) -> Any:
    """The loss of a model as a function of a batch."""
    import ostria as ost

    def loss_of(ids: Any, numbers: Any, clicks: Any) -> Any:
        logits = net(ids, numbers, training=True)
        clicks = ost.expand_dims(clicks, axis=1)
        return ost.mean(ost.losses.binary_crossentropy(clicks, logits, from_logits=True))

    return loss_of


def _ostria(sizes: Sizes, given: Any, arrays: Any, merged: bool) -> Any:
    from benchmarks.models import train_ostria

    net = model(merged, sizes)
    deep, wide, dense = given
    tables = [deep, wide]
    if not merged:
        tables = [a for table in tables for a in np.split(table, TABLES)]
    given = [*tables, *(a for layer in dense for a in layer)]
    return train_ostria.train(net, clicks_loss(net), given, arrays, "compile", RULE)


SUITES = [Suite("wide_deep", "steps/s", MODES, make, [512])]
