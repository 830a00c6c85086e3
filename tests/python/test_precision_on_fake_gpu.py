# SPDX-License-Identifier: Apache-2.0
"""Mixed precision on a GPU, here the driver that runs kernels on the host: steps as on the CPU, and
a loss scale that lives on the device."""

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
# A run may wait for its staging buffers, which the run before the last still reads.
CALLS = (b"cuMemAlloc", b"cuMemCreate", b"cuStreamSynchronize", b"cuCtxSynchronize",
         b"cuLaunchKernel", b"cuGraphLaunch")
rng = np.random.default_rng(3)
X = rng.normal(size=(13, 9)).astype(np.float32)
Y = (X[:, 0] > 0).astype(np.int64)

def counts():
    return {name: fake.fake_cuda_count(name) for name in CALLS}

def train(device, precision, scale=None):
    model = nn.Sequential([
        nn.Dense(17, activation="gelu"), nn.LayerNormalization(), nn.Dropout(0.1, seed=4),
        nn.Dense(3)])
    model(X[:1])
    optimizer = ost.optim.Adam(0.05)
    if scale is not None:
        optimizer = ost.optim.LossScaleOptimizer(
            optimizer, initial_scale=scale, dynamic_growth_steps=3)
    loss_fn = ost.losses.SparseCategoricalCrossentropy(from_logits=True)

    @ost.compile(device=device, precision=precision)
    def step(x, y):
        loss = loss_fn(y, model(x, training=True))
        optimizer.minimize(loss, model.trainable_variables)
        return (loss, loss if scale is None else optimizer.dynamic_scale.value())

    results, calls = [], []
    for _ in range(12):
        before = counts()
        results.append(step(X, Y))
        calls.append({name: n - before[name] for name, n in counts().items()})
    values = np.array([[v.item() for v in result] for result in results])
    if device != "cpu":
        for of_run in calls[4:]:  # recorded by then
            assert of_run.pop(b"cuGraphLaunch") == 1 and not any(of_run.values()), of_run
    assert all(str(v.dtype) == "float32" for v in model.trainable_variables)
    return values, [v.numpy() for v in model.trainable_variables], step.explain()
"""


@pytest.mark.parametrize("precision", ["mixed_bfloat16", "mixed_float16"])
def test_a_step_is_that_of_the_cpu(run, precision):  # noqa: F811
    scale = 1024.0 if precision == "mixed_float16" else None
    run(
        TRAIN
        + f"""
here, weights, _ = train("cpu", {precision!r}, {scale})
there, moved, text = train("cuda", {precision!r}, {scale})
assert {precision!r}.removeprefix("mixed_") in text
np.testing.assert_allclose(there[:, 0], here[:, 0], rtol=5e-2, atol=2e-2)
assert there[-1, 0] < 0.7 * there[0, 0]
for a, b in zip(moved, weights, strict=True):
    assert np.abs(a - b).mean() < 0.02, (a, b)
"""
    )


def test_a_loss_scale_is_found_on_the_device(run):  # noqa: F811
    run(
        TRAIN
        + """
# So large that the first gradients overflow: those steps change nothing but the scale.
here, _, _ = train("cpu", "mixed_float16", 2.0**24)
there, _, _ = train("cuda", "mixed_float16", 2.0**24)
scales = there[:, 1]
np.testing.assert_array_equal(scales, here[:, 1])
assert scales[1] < scales[0] and (np.diff(scales) > 0).any(), scales
skipped = np.flatnonzero(np.diff(np.concatenate([[2.0**25], scales])) < 0)
assert len(skipped) > 1
np.testing.assert_allclose(there[:, 0], here[:, 0], rtol=3e-2)
"""
    )


def test_attention_drops_what_the_cpu_drops(run):  # noqa: F811
    run(
        """
import numpy as np
import ostria as ost
from ostria import nn

X = np.random.default_rng(3).normal(size=(2, 16, 24)).astype(np.float32)

def losses(device):
    ost.random.seed(7)
    layer = nn.MultiHeadAttention(2, 8, dropout=0.5)
    layer(X, X)
    optimizer = ost.optim.SGD(0.5)

    @ost.compile(device=device, precision="mixed_bfloat16")
    def step(x):
        loss = ost.mean(layer(x, x, use_causal_mask=True, training=True) ** 2)
        optimizer.minimize(loss, layer.trainable_variables)
        return loss

    values = [step(X).item() for _ in range(6)]
    return values, [v.numpy() for v in layer.trainable_variables], step.explain()

here, weights, _ = losses("cpu")
there, moved, text = losses("cuda")
assert "attention <cudnn" in text and "attention_grad <cudnn" in text, text
np.testing.assert_allclose(there, here, rtol=2e-2)
for a, b in zip(moved, weights, strict=True):
    np.testing.assert_allclose(a, b, atol=1e-2)
"""
    )
