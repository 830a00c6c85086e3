# SPDX-License-Identifier: Apache-2.0
"""Two GPUs of one process, here played by the host with a stand-in for NCCL: what is called, and
when it ends, not how fast. NCCL itself never ran here."""

from __future__ import annotations

import pytest
from fake_gpu import run  # noqa: F401

TRAIN = """
import ctypes, os
import numpy as np
import ostria as ost
from ostria import nn

fake = ctypes.CDLL(os.environ["OSTRIA_CUDA_LIBRARIES"] + "/libcuda.so.1")
fake.fake_cuda_count.restype = ctypes.c_int64
rng = np.random.default_rng(3)
X = rng.normal(size=(12, 6)).astype(np.float32)
Y = (X[:, 0] > 0).astype(np.int64)

def split(x, sizes):
    return ost.distribute.PerReplica(np.split(x, np.cumsum(sizes)[:-1]))

def train(devices, sizes=(7, 5), steps=5, timeout=60.0, **options):
    strategy = ost.distribute.MirroredStrategy(devices, timeout=timeout, **options)
    with strategy.scope():
        model = nn.Sequential([nn.Dense(8, activation="tanh"), nn.LayerNormalization(),
                               nn.Dense(2)])
        model(X[:1])
        optimizer = ost.optim.Adam(0.05, global_clipnorm=0.5)
    loss_fn = ost.losses.SparseCategoricalCrossentropy(from_logits=True)

    def step(x, y):
        loss = loss_fn(y, model(x, training=True))
        optimizer.minimize(loss, model.trainable_variables)
        return loss

    losses = []
    for _ in range(steps):
        result = strategy.run(step, (split(X, sizes), split(Y, sizes)))
        losses.append(strategy.reduce("sum", result, axis=None).item())
    for v in model.variables:
        assert len({v.copy_of(r).tobytes() for r in range(2)}) == 1, v.name
    return losses, [v.numpy() for v in [*model.variables, *optimizer.variables]]
"""


def test_replicas_train_as_those_of_a_cpu(run):  # noqa: F811
    run(
        TRAIN
        + """
there, weights = train(["cuda:0", "cuda:1"])
assert fake.fake_cuda_count(b"ncclAllReduce") > 0
here, others = train(["cpu:0", "cpu:1"])
assert here[-1] < 0.8 * here[0], here
np.testing.assert_allclose(there, here, rtol=1e-4)
for a, b in zip(weights, others, strict=True):
    np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-5)
""",
        FAKE_CUDA_INTERPRET="1",
    )


def test_what_one_device_holds_is_read_by_all(run):  # noqa: F811
    run(
        TRAIN
        + """
strategy = ost.distribute.MirroredStrategy(["cuda:0", "cuda:1"], timeout=20.0)
with strategy.scope():
    total = ost.Variable(np.zeros((3,), np.float32), name="total")

def step(x, y):
    context = ost.distribute.get_replica_context()
    total.assign_add(context.all_reduce("sum", x * y))
    return total.value()

for device in ("cuda:0", "cuda:1"):
    x = ost.to_device(ost.asarray(X[:3, 0]), device)
    for scale in (1.0, 2.0):
        y = ost.distribute.PerReplica([np.float32(scale), np.float32(-3.0)])
        local = strategy.experimental_local_results(strategy.run(step, (x, y)))
        assert local[0].numpy().tobytes() == local[1].numpy().tobytes()
np.testing.assert_allclose(local[0].numpy(), X[:3, 0] * 2 * (1 - 3 + 2 - 3), rtol=1e-5)
""",
        FAKE_CUDA_INTERPRET="1",
    )


@pytest.mark.parametrize(
    ("injected", "words"), [("error:1:3", "rank 1 (cuda:1)"), ("hang:1:3", "within 1")]
)
def test_a_collective_that_fails_is_an_error_in_time(run, injected, words):  # noqa: F811
    run(
        TRAIN
        + f"""
try:
    train(["cuda:0", "cuda:1"], timeout=1.0)
    raise SystemExit("no error")
except ost.DistributedError as error:
    assert {words!r} in str(error), error
    assert "from its last checkpoint" in str(error), error
""",
        FAKE_CUDA_INTERPRET="1",
        FAKE_NCCL_INJECT=injected,
    )


def test_replicas_divide_the_state_of_an_optimizer(run):  # noqa: F811
    run(
        TRAIN
        + """
there, weights = train(["cuda:0", "cuda:1"], shard_optimizer_state=True)
assert fake.fake_cuda_count(b"ncclReduceScatter") > 0
assert fake.fake_cuda_count(b"ncclAllGather") > 0
here, others = train(["cpu:0", "cpu:1"], shard_optimizer_state=True)
np.testing.assert_allclose(there, here, rtol=1e-4)
for a, b in zip(weights, others, strict=True):
    np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-5)
""",
        FAKE_CUDA_INTERPRET="1",
    )
