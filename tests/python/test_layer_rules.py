# SPDX-License-Identifier: Apache-2.0
"""Regularizers and constraints of layers' weights, and regularizers of what layers return."""

from __future__ import annotations

import inspect
from typing import Any

import numpy as np
import pytest

import ostria as ost
from ostria import nn, optim

rng = np.random.default_rng(0)
KERNEL, AFFINE = {"kernel": "kernel", "bias": "bias"}, {"beta": "beta", "gamma": "gamma"}
DEPTHWISE = {"kernel": "depthwise", "bias": "bias"}
SEPARABLE = {"depthwise_kernel": "depthwise", "pointwise_kernel": "pointwise", "bias": "bias"}
RECURRENT = {"kernel": "kernel", "recurrent_kernel": "recurrent", "bias": "bias"}
HEADS = {
    f"{part}/{name}": name
    for part in ("query", "key", "value", "attention_output")
    for name in ("kernel", "bias")
}

# Layer, its arguments, the rank of its input, and its weights with what their arguments begin with.
LAYERS: list[tuple[Any, tuple[Any, ...], int, dict[str, str]]] = [
    (nn.Dense, (2,), 2, KERNEL),
    (nn.Conv1D, (2, 2), 3, KERNEL),
    (nn.Conv2D, (2, 2), 4, KERNEL),
    (nn.Conv3D, (2, 2), 5, KERNEL),
    (nn.Conv1DTranspose, (2, 2), 3, KERNEL),
    (nn.Conv2DTranspose, (2, 2), 4, KERNEL),
    (nn.Conv3DTranspose, (2, 2), 5, KERNEL),
    (nn.DepthwiseConv1D, (2,), 3, DEPTHWISE),
    (nn.DepthwiseConv2D, (2,), 4, DEPTHWISE),
    (nn.SeparableConv1D, (2, 2), 3, SEPARABLE),
    (nn.SeparableConv2D, (2, 2), 4, SEPARABLE),
    (nn.SimpleRNN, (2,), 3, RECURRENT),
    (nn.GRU, (2,), 3, RECURRENT),
    (nn.LSTM, (2,), 3, RECURRENT),
    (nn.MultiHeadAttention, (2, 2), 3, HEADS),
    (nn.GroupedQueryAttention, (2, 2, 1), 3, HEADS),
    (nn.BatchNormalization, (), 2, AFFINE),
    (nn.LayerNormalization, (), 2, AFFINE),
    (nn.GroupNormalization, (2,), 3, AFFINE),
    (nn.Embedding, (5, 2), 0, {"embeddings": "embeddings"}),
]
each_layer = pytest.mark.parametrize(
    "kind, args, rank, weights", LAYERS, ids=[kind.__name__ for kind, *_ in LAYERS]
)
# The inputs of an attention layer: queries and values.
INPUTS = {nn.MultiHeadAttention: 2, nn.GroupedQueryAttention: 2}


def inputs(kind: Any, rank: int) -> list[np.ndarray]:
    if kind is nn.Embedding:
        return [np.array([1, 3, 3])]
    x = rng.normal(size=(3, *(4,) * (rank - 1))).astype(np.float32)
    return [x] * INPUTS.get(kind, 1)


class Weighted:
    """A rule that tells which it is by its number."""

    def __init__(self, number: int):
        self.number = number

    def __call__(self, w: Any) -> Any:
        return ost.sum(ost.square(w + 1.0)) * float(self.number)


@each_layer
def test_each_weight_has_a_regularizer(
    kind: Any, args: Any, rank: int, weights: dict[str, str]
) -> None:
    rules = {name: Weighted(i + 1) for i, name in enumerate(sorted(set(weights.values())))}
    layer = kind(*args, **{f"{name}_regularizer": rule for name, rule in rules.items()})
    layer(*inputs(kind, rank))
    by_name = {v.name: v.numpy() for v in layer.trainable_variables}
    assert set(by_name) == set(weights)
    want = [
        rules[weights[name]].number * ((value + 1.0) ** 2).sum() for name, value in by_name.items()
    ]
    got = [loss.item() for loss in layer.losses]
    np.testing.assert_allclose(sorted(got), sorted(want), rtol=1e-5)
    layer.trainable = False
    assert layer.losses == []


@each_layer
def test_each_weight_has_a_constraint(
    kind: Any, args: Any, rank: int, weights: dict[str, str]
) -> None:
    tops = {name: -1.0 - i for i, name in enumerate(sorted(set(weights.values())))}

    def below(top: float) -> Any:
        return lambda w: ost.minimum(w, top)

    layer = kind(*args, **{f"{name}_constraint": below(top) for name, top in tops.items()})
    given = inputs(kind, rank)
    layer(*given)
    optimizer = optim.SGD(1e-6)

    @ost.compile
    def step() -> Any:
        loss = ost.sum(layer(*given, training=True))
        return optimizer.minimize(loss, layer.trainable_variables)

    step()
    for v in layer.trainable_variables:
        np.testing.assert_array_equal(v.numpy(), np.full(v.shape, tops[weights[v.name]]), v.name)


@pytest.mark.parametrize("kind, args, rank", [entry[:3] for entry in LAYERS[:14]])
def test_what_a_layer_returns_is_penalized(kind: Any, args: Any, rank: int) -> None:
    layer = kind(*args, activity_regularizer=nn.regularizers.L2(0.5))
    y = layer(*inputs(kind, rank)).numpy()
    assert [loss.item() for loss in layer.losses] == pytest.approx([0.5 * (y * y).sum()])


@pytest.mark.parametrize("kind, args", [entry[:2] for entry in LAYERS[14:16]])
def test_what_each_projection_of_attention_returns_is_penalized(kind: Any, args: Any) -> None:
    layer = kind(*args, activity_regularizer="l2")
    query, value = inputs(kind, 3)
    y = layer(query, value).numpy()
    parts = [
        np.einsum("...i,ihd->...hd", x, part.kernel.numpy()) + part.bias.numpy()
        for part, x in ((layer.query, query), (layer.key, value), (layer.value, value))
    ]
    want = [0.01 * (part * part).sum() for part in (*parts, y)]
    np.testing.assert_allclose(sorted(v.item() for v in layer.losses), sorted(want), rtol=1e-5)


@pytest.mark.parametrize("compiled", [False, True])
def test_the_body_of_a_loop_returns_its_penalties(compiled: bool) -> None:
    layer = nn.Dense(2, activity_regularizer=nn.regularizers.L1(1.0))
    xs = rng.normal(size=(4, 3, 2)).astype(np.float32)
    layer(xs[0])

    def body(carry: Any, x: Any) -> Any:
        y = layer(x)
        return carry + sum(layer.losses), y

    def loop(xs: Any) -> Any:
        return ost.scan(body, ost.zeros(()), xs)

    penalty, ys = (ost.compile(loop) if compiled else loop)(xs)
    np.testing.assert_allclose(penalty.item(), np.abs(ys.numpy()).sum(), rtol=1e-5)


def test_a_flag_that_the_body_of_a_loop_asks_for_is_part_of_the_trace() -> None:
    layer = nn.Dense(2)
    layer(np.ones((1, 2), np.float32))

    @ost.compile
    def count(xs: Any) -> Any:
        return ost.scan(lambda n, x: (n + float(len(layer.trainable_variables)), x), 0.0, xs)[0]

    xs = np.ones(3, np.float32)
    assert count(xs).item() == 6
    layer.trainable = False
    assert count(xs).item() == 0
    layer.trainable = True
    assert count(xs).item() == 6 and count.num_traces == 2


@each_layer
def test_arguments_come_in_the_order_of_keras(
    kind: Any, args: Any, rank: int, weights: dict[str, str]
) -> None:
    names = [name for name in inspect.signature(kind).parameters if "regularizer" in name]
    names += [name for name in inspect.signature(kind).parameters if "constraint" in name]
    parts = list(dict.fromkeys(weights.values()))
    activity = [] if kind is nn.Embedding or weights is AFFINE else ["activity_regularizer"]
    assert names == (
        [f"{part}_regularizer" for part in parts]
        + activity
        + [f"{part}_constraint" for part in parts]
    )
    given = list(inspect.signature(kind).parameters)
    first = given.index(f"{parts[0]}_regularizer")
    assert given[first : first + len(names)] == names


@pytest.mark.parametrize("what", ["regularizer", "constraint"])
def test_a_rule_that_is_not_known_is_found_where_the_layer_is_made(what: str) -> None:
    with pytest.raises(ValueError, match=rf"{what} 'max' is not known; .*test_layer_rules\.py"):
        nn.Conv2D(1, 1, **{f"bias_{what}": "max"})
