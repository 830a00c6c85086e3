# SPDX-License-Identifier: Apache-2.0
"""Recurrent layers: return values, masks, directions, carried states."""

from __future__ import annotations

import numpy as np
import pytest

import ostria as ost
from ostria import nn

KINDS = [nn.SimpleRNN, nn.GRU, nn.LSTM]
every_kind = pytest.mark.parametrize("kind", KINDS)


def sequence(batch: int = 3, time: int = 5, features: int = 4) -> np.ndarray:
    return np.random.default_rng(0).normal(size=(batch, time, features)).astype(np.float32)


def close(a, b) -> None:
    np.testing.assert_allclose(a.numpy(), b.numpy(), 1e-5, 1e-6)


@every_kind
def test_the_last_output_is_the_first_state(kind) -> None:
    layer = kind(6, return_sequences=True, return_state=True)
    y, h, *_ = layer(sequence())
    assert y.shape == (3, 5, 6)
    assert h.shape == (3, 6)
    close(y[:, -1], h)
    layer.return_sequences = layer.return_state = False
    close(layer(sequence()), h)


@every_kind
def test_backwards_is_forwards_over_the_flipped_sequence(kind) -> None:
    x = sequence()
    layer = kind(6, return_sequences=True)
    layer(x)
    want = layer(np.ascontiguousarray(x[:, ::-1]))
    layer.go_backwards = True
    close(layer(x), want)


@every_kind
@pytest.mark.parametrize("backwards", [False, True])
def test_a_masked_row_is_a_shorter_row(kind, backwards) -> None:
    x, mask = sequence(), np.arange(5) < np.array([[5], [2], [0]])
    layer = kind(6, return_state=True, go_backwards=backwards)
    whole = layer(x, mask=mask)
    short = layer(x[1:2, :2])
    for a, b in zip(whole, short, strict=True):
        close(a[1:2], b)
        assert not a[2].numpy().any()


@every_kind
def test_states_go_on_where_the_batch_before_ended(kind) -> None:
    x = sequence(time=6)
    layer = kind(4, return_sequences=True, stateful=True)
    first = layer(x[:, :2])
    second = layer(x[:, 2:])
    layer.reset_states()
    whole = layer(x)
    close(whole[:, :2], first)
    close(whole[:, 2:], second)
    assert all(not v.trainable for v in layer.variables if "state" in v.name.rsplit("/")[-1])


@pytest.mark.parametrize("mode", ["concat", "sum", "mul", "ave", None])
def test_bidirectional_merges_what_belongs_to_one_step(mode) -> None:
    x = sequence()
    layers = [nn.GRU(4, return_sequences=True, go_backwards=b) for b in (False, True)]
    merged = nn.Bidirectional(layers[0], mode, layers[1])(x)
    a, b = layers[0](x).numpy(), layers[1](x).numpy()[:, ::-1]
    if mode is None:
        np.testing.assert_array_equal(merged[1].numpy(), b)
        return
    want = {"concat": np.concatenate([a, b], -1), "sum": a + b, "mul": a * b, "ave": (a + b) / 2}
    np.testing.assert_allclose(merged.numpy(), want[mode], 1e-6, 1e-7)


def test_the_forget_gate_starts_open_and_recurrent_kernels_orthogonal() -> None:
    layer = nn.LSTM(5)
    layer(sequence())
    np.testing.assert_array_equal(layer.bias.numpy(), [0.0] * 5 + [1.0] * 5 + [0.0] * 10)
    u = layer.recurrent_kernel.numpy()
    np.testing.assert_allclose(u @ u.T, np.eye(5), atol=1e-5)


@every_kind
def test_no_rows_and_one_step(kind) -> None:
    layer = kind(4, return_sequences=True)
    assert layer(sequence(time=1)).shape == (3, 1, 4)
    assert layer(sequence(batch=0)).shape == (0, 5, 4)


@every_kind
def test_results_do_not_depend_on_threads(kind) -> None:
    layer, x = kind(70, return_sequences=True), ost.asarray(sequence(40, 5, 70))
    layer(x)

    @ost.compile
    def gradients(x):
        y = layer(x)
        return [y, *ost.gradients([ost.sum(y * y)], [x, *layer.trainable_variables])]

    before, results = ost._native.num_threads(), []
    try:
        for threads in (1, 2):
            ost._native.set_num_threads(threads)
            results.append([g.numpy() for g in gradients(x)])
    finally:
        ost._native.set_num_threads(before)
    for a, b in zip(*results, strict=True):
        np.testing.assert_array_equal(a, b)


def test_time_distributed_is_the_layer_on_every_step() -> None:
    x, dense = sequence(), nn.Dense(2)
    y = nn.TimeDistributed(dense)(x)
    close(y[:, 3], dense(x[:, 3]))
