# SPDX-License-Identifier: Apache-2.0
"""Normalisations and pools by cuDNN, which come second on a GPU: a model that is pinned to them
trains as without, here on the driver that runs kernels on the host."""

from __future__ import annotations

import pytest
from fake_gpu import run  # noqa: F401

TRAIN = """
import numpy as np
import ostria as ost
from ostria import nn

rng = np.random.default_rng(3)
X = rng.normal(size=(6, 8, 8, 3)).astype(np.float32)
Y = (X.mean((1, 2, 3)) > 0).astype(np.int64)

def images():
    return nn.Sequential([
        nn.Conv2D(8, 3, padding="same", use_bias=False), nn.BatchNormalization(), nn.ReLU(),
        nn.MaxPool2D(3, 2, padding="same"), nn.AvgPool2D(2), nn.Flatten(), nn.Dense(2)])

def rows():
    return nn.Sequential([
        nn.Flatten(), nn.Dense(16), nn.LayerNormalization(), nn.ReLU(), nn.Dense(16),
        nn.RMSNormalization(), nn.Dense(2)])

def train(network, precision, pinned=()):
    for op in pinned:
        ost._native.pin_kernel(op, "cudnn", "cuda")
    model = network()
    model(X[:1])
    optimizer = ost.optim.SGD(0.1, momentum=0.9)
    loss_fn = ost.losses.SparseCategoricalCrossentropy(from_logits=True)

    @ost.compile(device="cuda", precision=precision)
    def step(x, y):
        loss = loss_fn(y, model(x, training=True))
        optimizer.minimize(loss, model.trainable_variables)
        return loss

    losses = [step(X, Y).item() for _ in range(6)]
    text = step.explain()
    for op in pinned:
        ost._native.pin_kernel(op, "")
        assert (f"{op} <cudnn" in text), (op, text)
    return losses, [v.numpy() for v in model.variables], text
"""
PINS = {
    "images": [
        "batch_norm",
        "batch_norm_grad",
        "max_pool2d",
        "max_pool_grad",
        "avg_pool2d",
        "avg_pool_grad",
    ],
    "rows": ["layer_norm", "layer_norm_grad", "rms_norm", "rms_norm_grad"],
}


@pytest.mark.parametrize(("precision", "limit"), [(None, 1e-4), ("mixed_bfloat16", 5e-2)])
@pytest.mark.parametrize("network", PINS)
def test_a_pinned_model_trains_alike(run, network, precision, limit):  # noqa: F811
    run(
        TRAIN
        + f"""
pins = {PINS[network]!r}
own, weights, text = train({network}, {precision!r})
assert not any(f"{{op}} <cudnn" in text for op in pins), text
cudnn, others, _ = train({network}, {precision!r}, pins)
assert own[-1] < 0.8 * own[0], own
limit = {limit}
np.testing.assert_allclose(cudnn, own, rtol=limit, atol=limit)
for a, b in zip(others, weights, strict=True):
    np.testing.assert_allclose(a, b, rtol=limit, atol=limit)
""",
        FAKE_CUDA_INTERPRET="1",  # loops are the same here and there
    )


def test_ours_come_first(run):  # noqa: F811
    run(
        TRAIN
        + f"""
for op in {sorted(PINS["images"] + PINS["rows"])!r}:
    names = ost._native.implementations(op, "cuda")
    assert names.index("cudnn") > 0, (op, names)
"""
    )
