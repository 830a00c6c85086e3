# SPDX-License-Identifier: Apache-2.0
"""Cells, RNN, and what layers do step by step: activations, masks with gaps, recurrent dropout."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import ostria as ost
from ostria import nn

KINDS = [(nn.SimpleRNN, nn.SimpleRNNCell), (nn.GRU, nn.GRUCell), (nn.LSTM, nn.LSTMCell)]
every_kind = pytest.mark.parametrize("kind, cell_kind", KINDS, ids=["simple_rnn", "gru", "lstm"])
LAYERS = [kind for kind, _ in KINDS]
every_layer = pytest.mark.parametrize("kind", LAYERS)


def sequence(batch: int = 3, time: int = 6, features: int = 4) -> np.ndarray:
    return np.random.default_rng(0).normal(size=(batch, time, features)).astype(np.float32)


def close(a: Any, b: Any) -> None:
    np.testing.assert_allclose(np.asarray(a), np.asarray(b), 2e-5, 2e-6)


def identity(shape: Any, dtype: Any, path: str) -> np.ndarray:
    return np.eye(*shape, dtype=dtype)


def copy_weights(target: Any, source: Any) -> None:
    for a, b in zip(target.variables, source.variables, strict=True):
        a.assign(b.numpy())


def gradients(layer: Any, x: Any, **given: Any) -> list[np.ndarray]:
    @ost.compile
    def f(x: Any) -> Any:
        y = layer(x, **given)
        return [y, *ost.gradients([ost.sum(y * y)], [x, *layer.trainable_variables])]

    return [v.numpy() for v in f(ost.asarray(x))]


@every_kind
@pytest.mark.parametrize("use_bias", [False, True])
def test_rnn_of_a_cell_is_the_layer(kind: Any, cell_kind: Any, use_bias: bool) -> None:
    x = sequence()
    cell = cell_kind(5, use_bias=use_bias, bias_initializer="glorot_uniform")
    flags = {"return_sequences": True, "go_backwards": True}
    rnn, layer = nn.RNN(cell, **flags), kind(5, use_bias=use_bias, **flags)
    rnn(x), layer(x)
    copy_weights(layer, rnn)
    for a, b in zip(gradients(rnn, x), gradients(layer, x), strict=True):
        close(a, b)


@every_kind
def test_states_are_those_after_the_last_step(kind: Any, cell_kind: Any) -> None:
    x, cell = sequence(), cell_kind(5)
    y, *states = nn.RNN(cell, return_state=True)(x)
    want = cell.get_initial_state(3)
    for t in range(x.shape[1]):
        out, want = cell(x[:, t], want)
    close(y, out)
    assert len(states) == len(cell.state_size)
    for a, b in zip(states, want, strict=True):
        close(a, b)


def test_stacked_cells_are_layers_one_upon_the_other() -> None:
    x = sequence()
    rnn = nn.RNN([nn.GRUCell(5), nn.LSTMCell(7)], return_sequences=True, return_state=True)
    y, *states = rnn(x)
    layers = nn.Sequential([nn.GRU(5, return_sequences=True), nn.LSTM(7, return_sequences=True)])
    layers(x)
    copy_weights(layers, rnn)
    close(y, layers(x))
    assert [s.shape[1] for s in states] == [5, 7, 7]
    assert len({v.name for v in rnn.variables}) == 6


def test_a_cell_of_the_user() -> None:
    class Sum(nn.Module):
        state_size = output_size = 4

        def call(self, x: Any, states: Any) -> Any:
            total = states[0] + x
            return total * 2.0, [total]

    y, total = nn.RNN(Sum(), return_sequences=True, return_state=True)(sequence())
    close(y, 2 * np.cumsum(sequence(), axis=1))
    close(total, sequence().sum(axis=1))
    with pytest.raises(ValueError, match="RNN: 3 is not a cell; give a module with state_size"):
        nn.RNN(3)


@every_layer
@pytest.mark.parametrize("zero", [False, True])
@pytest.mark.parametrize("backwards", [False, True])
@pytest.mark.parametrize("padded", [False, True])
def test_a_masked_step_keeps_the_state(
    kind: Any, zero: bool, backwards: bool, padded: bool
) -> None:
    x, mask = sequence(), np.array([[1, 1, 1, 1, 1, 1], [1, 1, 0, 0, 0, 0], [0, 0, 0, 0, 0, 0]]) > 0
    if not padded:
        mask[1], mask[2] = [0, 1, 0, 0, 1, 0], [1, 0, 1, 1, 1, 1]
    flags = {"zero_output_for_mask": zero, "go_backwards": backwards}
    layer = kind(5, return_sequences=True, return_state=True, **flags)
    y, *states = layer(x, mask=mask)
    plain = kind(5, return_sequences=True, return_state=True, go_backwards=backwards)
    plain(x)
    copy_weights(plain, layer)
    for r in range(3):
        order = range(6)[::-1] if backwards else range(6)
        taken = [t for t in range(6) if mask[r, t]]
        if taken:
            want, *ends = (v.numpy() for v in plain(x[r : r + 1, taken]))
            for a, b in zip(states, ends, strict=True):
                close(a.numpy()[r : r + 1], b)
        done, last = 0, np.zeros(5)
        for i, t in enumerate(order):
            if mask[r, t]:
                last, done = want[0, done], done + 1
            shown = last if mask[r, t] or not zero else np.zeros(5)
            close(y.numpy()[r, i], shown)


@every_layer
def test_masks_are_judged_when_a_compiled_function_runs(kind: Any) -> None:
    x, layer = sequence(), kind(5, return_sequences=True)
    gap = np.array([[1, 1, 1, 1, 1, 1], [1, 0, 1, 1, 0, 0], [1, 1, 1, 0, 0, 0]]) > 0
    right = np.sort(gap, axis=1)[:, ::-1].copy()
    layer(x)

    @ost.compile
    def f(x: Any, mask: Any) -> Any:
        y = layer(x, mask=mask)
        return [y, *ost.gradients([ost.sum(y * y)], [x, layer.recurrent_kernel])]

    for mask in (gap, right):
        y, dx, _ = f(x, mask)
        close(y, layer(x, mask=mask))
        assert not dx.numpy()[~mask].any()
        assert dx.numpy()[mask].any(axis=-1).all()


def test_the_two_ways_through_a_padded_mask_have_the_same_gradients() -> None:
    x, mask = sequence(), np.arange(6) < np.array([[6], [3], [1]])
    for kind in LAYERS:
        layer = kind(5, return_sequences=True)
        at_once = gradients(layer, x, mask=mask)
        layer._has_op = lambda: False
        for a, b in zip(at_once, gradients(layer, x, mask=mask), strict=True):
            close(a, b)


def sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


def test_the_reset_gate_before_the_product() -> None:
    x = sequence()
    layer = nn.GRU(5, reset_after=False, bias_initializer="glorot_uniform")
    y = layer(x)
    w, u, b = (v.numpy() for v in layer.variables)
    assert b.shape == (15,)
    h = np.zeros((3, 5))
    for t in range(6):
        p = x[:, t] @ w + b
        z, r = (sigmoid(p[:, i : i + 5] + h @ u[:, i : i + 5]) for i in (0, 5))
        h = z * h + (1 - z) * np.tanh(p[:, 10:] + (r * h) @ u[:, 10:])
    close(y, h)


def test_activations_of_lstm() -> None:
    x = sequence()
    layer = nn.LSTM(5, "relu", lambda v: ost.clip(v * 0.2 + 0.5, 0.0, 1.0))
    y = layer(x)
    w, u, b = (v.numpy() for v in layer.variables)
    h = c = np.zeros((3, 5))
    for t in range(6):
        zi, zf, zc, zo = np.split(x[:, t] @ w + h @ u + b, 4, axis=1)
        i, f, o = (np.clip(z * 0.2 + 0.5, 0, 1) for z in (zi, zf, zo))
        c = f * c + i * np.maximum(zc, 0)
        h = o * np.maximum(c, 0)
    close(y, h)


def test_input_dropout_drops_the_same_features_in_all_steps() -> None:
    x = np.ones((8, 6, 40), np.float32)
    for layer in (
        nn.SimpleRNN(40, "linear", False, identity, "zeros", dropout=0.5, return_sequences=True),
        nn.RNN(nn.SimpleRNNCell(40, "linear", False, identity, "zeros", dropout=0.5), True),
    ):
        y = layer(x, training=True).numpy()
        assert set(np.unique(y)) == {0.0, 2.0}
        assert 0.3 < (y == 0).mean() < 0.7
        np.testing.assert_array_equal(y, y[:, :1].repeat(6, axis=1))
        np.testing.assert_array_equal(layer(x).numpy(), x)


def test_recurrent_dropout_drops_the_same_part_of_the_state_in_all_steps() -> None:
    x = np.ones((8, 3, 40), np.float32)
    arguments: Any = (40, "linear", False, identity, identity)
    for layer in (
        nn.SimpleRNN(*arguments, recurrent_dropout=0.5, return_sequences=True),
        nn.RNN(nn.SimpleRNNCell(*arguments, recurrent_dropout=0.5), return_sequences=True),
    ):
        y = layer(x, training=True).numpy()
        steps = {tuple(v) for v in y.transpose(0, 2, 1).reshape(-1, 3).tolist()}
        assert steps == {(1.0, 1.0, 1.0), (1.0, 3.0, 7.0)}
        np.testing.assert_array_equal(layer(x)[0, :, 0].numpy(), [1, 2, 3])


@every_layer
@pytest.mark.parametrize("mode", ["concat", "sum", "mul", "ave", None])
def test_bidirectional_copies_a_layer_backwards(kind: Any, mode: Any) -> None:
    x = sequence()
    both = nn.Bidirectional(kind(5, return_sequences=True, return_state=True), mode)
    y = both(x)
    a, *ahead = both.forward_layer(x)
    b, *behind = both.backward_layer(x)
    a, b = a.numpy(), b.numpy()[:, ::-1]
    assert both.backward_layer.go_backwards
    assert len({v.name for v in both.variables}) == 6
    assert not np.array_equal(both.variables[0].numpy(), both.variables[3].numpy())
    want = {"concat": [np.concatenate([a, b], -1)], "sum": [a + b], "mul": [a * b]}
    want |= {"ave": [(a + b) / 2], None: [a, b]}
    for got, expected in zip(y, [*want[mode], *ahead, *behind], strict=True):
        close(got, expected)
    again = both(x, initial_state=[*ahead, *behind])
    first = ahead if len(ahead) > 1 else ahead[0]
    close(again[-2 * len(ahead)], both.forward_layer(x, initial_state=first)[1])


def test_bidirectional_says_what_it_cannot_copy() -> None:
    layer = nn.GRU(5)
    layer(sequence())
    with pytest.raises(ValueError, match="layer 'gru' has weights already"):
        nn.Bidirectional(layer)


def test_embedding_says_which_words_are_none() -> None:
    words = np.array([[3, 1, 0], [0, 2, 0]])
    table = nn.Embedding(4, 2, mask_zero=True)
    np.testing.assert_array_equal(table.compute_mask(words).numpy(), words != 0)
    assert nn.Embedding(4, 2).compute_mask(words) is None
    assert nn.LSTM(3)(table(words), mask=table.compute_mask(words)).shape == (2, 3)


def test_states_of_rnn_go_on() -> None:
    x, rnn = sequence(), nn.RNN(nn.LSTMCell(5), return_sequences=True, stateful=True)
    parts = [rnn(x[:, :2]).numpy(), rnn(x[:, 2:]).numpy()]
    rnn.reset_states()
    close(rnn(x), np.concatenate(parts, axis=1))


class Dropping(nn.Module):
    """A cell that draws in its steps."""

    state_size = output_size = 3

    def __init__(self) -> None:
        super().__init__()
        self.dense = nn.Dense(3)

    def call(self, x: Any, states: Any, training: bool = False) -> Any:
        h = self.dense(x) + states[0]
        h = ost.random.dropout(h, 0.5) if training else h
        return h, [h]


def test_a_layer_draws_the_same_whether_its_call_makes_the_weights_or_not() -> None:
    x = np.ones((2, 4, 3), np.float32)
    outputs = []
    for is_built in (False, True):
        ost.random.seed(3)
        rnn = nn.RNN(Dropping(), return_sequences=True)
        if is_built:
            rnn(x)
        outputs.append(ost.compile(lambda x, rnn=rnn: rnn(x, training=True))(x).numpy())
    np.testing.assert_array_equal(*outputs)


def test_states_of_half_types_are_reset() -> None:
    rnn = nn.GRU(3, stateful=True, dtype="bfloat16")
    x = ost.ones((2, 4, 3), dtype="bfloat16")
    first = rnn(x)
    rnn.reset_states()
    assert ost.all(rnn(x) == first).item()


def test_the_call_that_makes_weights_adds_no_penalty() -> None:
    class Penalised(nn.Module):
        state_size = output_size = 4

        def __init__(self) -> None:
            super().__init__()
            self.dense = nn.Dense(4, activity_regularizer="l2")

        def call(self, x: Any, states: Any) -> Any:
            y = self.dense(x)
            return y, [states[0] + sum(self.dense.losses)]

    layer = nn.RNN(Penalised(), return_state=True)

    def fn(x: Any) -> Any:
        return layer(x), len(layer.losses)

    assert ost.compile(fn)(sequence())[1] == 0
    assert ost.compile(fn)(sequence())[1] == 0
