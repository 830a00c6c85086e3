# SPDX-License-Identifier: Apache-2.0
"""Losses and activations against PyTorch: values and gradients."""

from __future__ import annotations

import numpy as np
import pytest

import ostria as ost
from ostria import losses

torch = pytest.importorskip("torch")
F = torch.nn.functional
RNG = np.random.default_rng(0)


@pytest.mark.parametrize("dtype, tolerance", [("float64", 1e-9), ("float32", 2e-4)])
@pytest.mark.parametrize("zero_infinity", [False, True])
@pytest.mark.parametrize("blank", [0, 6])
def test_ctc(dtype, tolerance, zero_infinity, blank):
    batch, time, size, classes = 12, 60, 14, 9
    logits = RNG.normal(size=(batch, time, classes)).astype(dtype) * 3
    choices = [c for c in range(classes) if c != blank]
    labels = RNG.choice(choices, (batch, size))
    labels[:, 3:5] = labels[:, 2:3]
    label_length = RNG.integers(0, size + 1, batch)
    logit_length = RNG.integers(2 * size, time + 1, batch)
    if zero_infinity:  # else PyTorch's gradient is NaN
        label_length[0], logit_length[0] = size, 5

    source = torch.tensor(logits, requires_grad=True)
    theirs = F.ctc_loss(
        F.log_softmax(source, -1).transpose(0, 1), torch.tensor(labels),
        torch.tensor(logit_length), torch.tensor(label_length), blank, "none", zero_infinity,
    )  # fmt: skip
    weight = RNG.random(batch).astype(dtype)
    (theirs * torch.tensor(weight)).sum().backward()

    def ours(x):
        return losses.ctc(labels, x, label_length, logit_length, blank, zero_infinity)

    x = ost.asarray(logits)
    np.testing.assert_allclose(ours(x).numpy(), theirs.detach().numpy(), tolerance, tolerance)
    slope = ost.grad(lambda v: ost.sum(ours(v) * weight))(x).numpy()
    np.testing.assert_allclose(slope, source.grad.numpy(), tolerance, tolerance)


ACTIVATIONS = {
    "celu": (lambda x: ost.celu(x, 1.5), lambda x: F.celu(x, 1.5)),
    "glu": (ost.nn.activations.get("glu"), F.glu),
    "hard_shrink": (ost.nn.activations.get("hard_shrink"), F.hardshrink),
    "hard_sigmoid": (ost.nn.activations.get("hard_sigmoid"), F.hardsigmoid),
    "hard_silu": (ost.nn.activations.get("hard_silu"), F.hardswish),
    "hard_tanh": (ost.nn.activations.get("hard_tanh"), F.hardtanh),
    "log_sigmoid": (ost.nn.activations.get("log_sigmoid"), F.logsigmoid),
    "mish": (ost.nn.activations.get("mish"), F.mish),
    "relu6": (ost.nn.activations.get("relu6"), F.relu6),
    "soft_shrink": (ost.nn.activations.get("soft_shrink"), F.softshrink),
    "softsign": (ost.nn.activations.get("softsign"), F.softsign),
    "tanh_shrink": (ost.nn.activations.get("tanh_shrink"), F.tanhshrink),
    "threshold": (lambda x: ost.threshold(x, 0.5, -1.0), lambda x: F.threshold(x, 0.5, -1.0)),
}


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activations(name):
    ours, theirs = ACTIVATIONS[name]
    values = RNG.normal(size=(7, 6)) * 4
    source = torch.tensor(values, requires_grad=True)
    want = theirs(source)
    want.sum().backward()
    x = ost.asarray(values)
    np.testing.assert_allclose(ours(x).numpy(), want.detach().numpy(), 1e-9, 1e-12)
    slope = ost.grad(lambda v: ost.sum(ours(v)))(x).numpy()
    np.testing.assert_allclose(slope, source.grad.numpy(), 1e-7, 1e-7)  # its 1 / 6 is a float
