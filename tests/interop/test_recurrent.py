# SPDX-License-Identifier: Apache-2.0
"""lstm and gru beside PyTorch's, with its weights: outputs, states and all gradients."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

import ostria as ost

ops = ost._native.ops
GATES = {"lstm": (0, 1, 2, 3), "gru": (1, 0, 2)}  # our gates among PyTorch's: its GRU has r first
BATCH, TIME, FEATURES, UNITS = 5, 7, 6, 9


def reordered(weights: Any, kind: str) -> np.ndarray:
    """PyTorch's [gates * units, n] as our [n, gates * units]."""
    parts = np.split(weights.numpy(), len(GATES[kind]))
    return np.ascontiguousarray(np.concatenate([parts[g] for g in GATES[kind]]).T)


def converted(kind: str, kernel: Any, recurrent: Any, bias: Any, other: Any) -> list[np.ndarray]:
    biases = reordered(bias, kind), reordered(other, kind)
    both = biases[0] + biases[1] if kind == "lstm" else np.stack(biases)
    return [reordered(kernel, kind), reordered(recurrent, kind), both]


@pytest.mark.parametrize("kind", GATES)
@pytest.mark.parametrize("reverse", [False, True])
def test_outputs_and_gradients(kind: str, reverse: bool) -> None:
    torch.manual_seed(0)
    make = torch.nn.LSTM if kind == "lstm" else torch.nn.GRU
    theirs = make(FEATURES, UNITS, batch_first=True, dtype=torch.float64)
    x = torch.randn(BATCH, TIME, FEATURES, dtype=torch.float64, requires_grad=True)
    n = 2 if kind == "lstm" else 1
    states = [torch.randn(BATCH, UNITS, dtype=torch.float64, requires_grad=True) for _ in range(n)]
    first = tuple(s[None] for s in states)
    y, last = theirs(x.flip(1) if reverse else x, first if n == 2 else first[0])
    y = y.flip(1) if reverse else y
    last = [s[0] for s in (last if n == 2 else (last,))]
    sum((v**2).sum() for v in (y, *last)).backward()

    parameters = [p.detach() for p in theirs.parameters()]
    inputs = [x.detach().numpy(), *converted(kind, *parameters)]
    inputs += [s.detach().numpy() for s in states]

    @ost.compile
    def ours(*xs: Any) -> Any:
        ys = getattr(ops, kind)(*xs, reverse=reverse)[: 1 + n]
        return [*ys, *ost.gradients([ost.sum(ost.square(v)) for v in ys], list(xs))]

    got = [v.numpy() for v in ours(*[ost.asarray(v) for v in inputs])]
    weights = converted(kind, *[p.grad for p in theirs.parameters()])
    if kind == "lstm":  # one bias of ours stands for both of theirs, which have one gradient
        weights[2] = weights[2] / 2
    want = [y.detach().numpy(), *[v.detach().numpy() for v in last]]
    want += [x.grad.numpy(), *weights, *[s.grad.numpy() for s in states]]
    assert len(got) == len(want)
    for a, b in zip(got, want, strict=True):
        np.testing.assert_allclose(a, b, 1e-10, 1e-10)
