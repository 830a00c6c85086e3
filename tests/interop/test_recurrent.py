# SPDX-License-Identifier: Apache-2.0
"""lstm and gru beside PyTorch's, with its weights: outputs, states, all gradients, cells, masks."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

import ostria as ost
from ostria import nn

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


@pytest.mark.parametrize("kind", GATES)
def test_cells_and_padded_masks(kind: str) -> None:
    torch.manual_seed(1)
    whole = torch.nn.LSTM if kind == "lstm" else torch.nn.GRU
    step = torch.nn.LSTMCell if kind == "lstm" else torch.nn.GRUCell
    theirs = whole(FEATURES, UNITS, batch_first=True, dtype=torch.float64)
    their_cell = step(FEATURES, UNITS, dtype=torch.float64)
    their_cell.load_state_dict({n[:-3]: p for n, p in theirs.state_dict().items()})
    x = torch.randn(BATCH, TIME, FEATURES, dtype=torch.float64)
    lengths = torch.tensor([7, 1, 4, 6, 2])
    packed = torch.nn.utils.rnn.pack_padded_sequence(
        x, lengths, batch_first=True, enforce_sorted=False
    )
    y, last = theirs(packed)
    y = torch.nn.utils.rnn.pad_packed_sequence(y, batch_first=True)[0].detach().numpy()
    last = [s[0].detach().numpy() for s in (last if kind == "lstm" else (last,))]
    mask = np.arange(TIME) < lengths.numpy()[:, None]

    make, make_cell = {"lstm": (nn.LSTM, nn.LSTMCell), "gru": (nn.GRU, nn.GRUCell)}[kind]
    flags: dict[str, Any] = {"return_sequences": True, "return_state": True}
    weights = converted(kind, *[p.detach() for p in theirs.parameters()])
    cell = make_cell(UNITS, dtype="float64")
    layers = [
        make(UNITS, dtype="float64", zero_output_for_mask=True, **flags),
        nn.RNN(cell, zero_output_for_mask=True, **flags),
    ]
    for layer in layers:
        layer(x.numpy())
        for variable, value in zip(layer.variables, weights, strict=True):
            variable.assign(value)
        got = layer(x.numpy(), mask=mask)
        for a, b in zip(got, [y, *last], strict=True):
            np.testing.assert_allclose(a.numpy(), b, 1e-10, 1e-10)

    states = their_cell(x[:, 0])
    want = [s.detach().numpy() for s in (states if kind == "lstm" else (states,))]
    h, ours = cell(x[:, 0].numpy(), cell.get_initial_state(BATCH))
    for a, b in zip([h, *ours], [want[0], *want], strict=True):
        np.testing.assert_allclose(a.numpy(), b, 1e-10, 1e-10)
