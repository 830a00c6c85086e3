# SPDX-License-Identifier: Apache-2.0
"""Gradients that products end in on a GPU, here on the driver that runs kernels on the host."""

from __future__ import annotations

import re

import pytest
from fake_gpu import run  # noqa: F401

PROGRAM = """
import numpy as np
import ostria as ost
from ostria import nn

PRECISION = %r
rng = np.random.default_rng(0)
x = rng.normal(size=(37, 20)).astype(np.float32)
y = rng.integers(0, 11, size=37)
model = nn.Sequential([
    nn.Dense(45, activation="relu"), nn.Dense(24, activation="relu"),
    nn.Dense(16, activation=lambda v: ost.gelu(v, approximate=True)), nn.Dense(11),
])
model(x[:1])
variables = model.trainable_variables
for v in variables:
    v.assign(rng.normal(0, 0.3, v.shape).astype(np.float32))
loss_fn = ost.losses.SparseCategoricalCrossentropy(from_logits=True)

def gradients(x, y):
    loss = loss_fn(y, model(x, training=True))
    return loss, *ost.gradients(loss, variables)

def eager(device):
    with ost.device(device), ost.GradientTape() as tape:
        loss = loss_fn(ost.to_device(y, device), model(ost.to_device(x, device), training=True))
        return loss, *tape.gradient(loss, variables)

want = [g.numpy() for g in ost.compile(gradients, precision=PRECISION)(x, y)]  # on the CPU
compiled = ost.compile(gradients, device="cuda", precision=PRECISION)
got = [g.numpy() for g in compiled(x, y)]
error = {"float32": 1e-5, "mixed_float16": 2e-3, "mixed_bfloat16": 1.6e-2}[PRECISION]

def close(got, want):  # in norm: where relu rounds to the other side of 0, an element is off
    for i, (a, b) in enumerate(zip(got, want, strict=True)):
        assert a.dtype == b.dtype
        off = np.linalg.norm(a - b) / np.linalg.norm(b)
        assert off < error, (i, off)

close(got, want)
if PRECISION == "float32":
    close([g.numpy() for g in eager("cuda")], want)
print(compiled.explain())
"""


@pytest.mark.parametrize("precision", ["float32", "mixed_float16", "mixed_bfloat16"])
def test_gradients_are_those_of_the_cpu(run, precision):  # noqa: F811
    text = run(PROGRAM % precision)
    steps = [line for line in text.splitlines() if " matmul_fused <" in line and " -> " in line]
    ends = [step.split(" by ")[0].rsplit(", ", 1)[1] for step in steps]
    # Two layers of relu, one of gelu, and a last one whose gradient is the loss's. bfloat16 is
    # added up in float32: by loops, since gradients of weights come in 16 bits here.
    sums = precision != "mixed_bfloat16"
    want = ["relu_mask", "relu_mask", "gelu_tanh_kept", "bias", *["sum_b"] * sums]
    want += [f"{name}_grad{'_sum' * sums}" for name in ("gelu_tanh", "relu", "relu")]
    assert ends == want, text
    assert len(re.findall(r"^ +\d+: .*sum:columns", text, re.MULTILINE)) == (0 if sums else 4), text
