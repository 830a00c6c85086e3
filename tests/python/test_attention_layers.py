# SPDX-License-Identifier: Apache-2.0
"""MultiHeadAttention and GroupedQueryAttention against NumPy, masks, weights, positions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from mistakes import Mistakes, check

import ostria as ost
from ostria import nn

mistake = Mistakes()


def numbers(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def reference(layer: Any, q: Any, v: Any, k: Any, allowed: Any) -> tuple[np.ndarray, np.ndarray]:
    """What the layer gives, from its weights; `allowed` is [batch, length_q, length_kv]."""
    w = {name: value.numpy() for name, value in layer.state_dict().items()}

    def heads(x: Any, name: str) -> np.ndarray:
        return np.einsum("btf,fhd->bthd", x, w[f"{name}/kernel"]) + w.get(f"{name}/bias", 0)

    query, key, value = heads(q, "query"), heads(k, "key"), heads(v, "value")
    repeat = query.shape[2] // key.shape[2]
    key, value = np.repeat(key, repeat, 2), np.repeat(value, repeat, 2)
    scores = np.einsum("bihd,bjhd->bhij", query, key) / np.sqrt(query.shape[3])
    p = np.exp(scores - scores.max(-1, keepdims=True)) * allowed[:, None]
    p /= np.maximum(p.sum(-1, keepdims=True), 1e-30)
    y = np.einsum("bhij,bjhd->bihd", p, value)
    out = np.einsum("bihd,hdf->bif", y, w["attention_output/kernel"])
    return out + w.get("attention_output/bias", 0), p


def randomize(layer: Any) -> None:
    """Biases too: they start as zeros."""
    for i, v in enumerate(layer.trainable_variables):
        v.assign(numbers(*v.shape, seed=100 + i) * 0.3)


LAYERS: dict[str, Callable[[], Any]] = {
    "multi-head": lambda: nn.MultiHeadAttention(3, 4),
    "value_dim, no bias": lambda: nn.MultiHeadAttention(2, 4, value_dim=5, use_bias=False),
    "output_shape": lambda: nn.MultiHeadAttention(2, 4, output_shape=7),
    "grouped": lambda: nn.GroupedQueryAttention(4, 6, 2),
    "multi-query": lambda: nn.GroupedQueryAttention(4, 3, 1),
}


@pytest.mark.parametrize("kind", LAYERS)
@pytest.mark.parametrize("causal", [False, True])
def test_layers_against_numpy(kind: str, causal: bool) -> None:
    layer = LAYERS[kind]()
    q, v, k = numbers(2, 5, 6), numbers(2, 7, 3, seed=1), numbers(2, 7, 4, seed=2)
    layer(q, v, k)
    randomize(layer)
    query_mask = np.array([[1, 1, 1, 1, 0], [1, 1, 1, 1, 1]], bool)
    value_mask = np.arange(7) < np.array([[7], [4]])
    key_mask = np.arange(7) < np.array([[6], [7]])
    mask = np.random.default_rng(3).random((2, 5, 7)) < 0.8
    mask[:, :, 0] = True
    allowed = mask & query_mask[:, :, None] & value_mask[:, None] & key_mask[:, None]
    if causal:
        allowed &= np.tri(5, 7, dtype=bool)
    y, weights = layer(
        q,
        v,
        k,
        query_mask=query_mask,
        value_mask=value_mask,
        key_mask=key_mask,
        attention_mask=mask,
        return_attention_scores=True,
        use_causal_mask=causal,
    )
    want, p = reference(layer, q, v, k, allowed)
    np.testing.assert_allclose(y.numpy(), want, 2e-5, 2e-5)
    np.testing.assert_allclose(weights.numpy(), p, 2e-5, 2e-6)
    plain = np.ones((2, 5, 7), bool)
    np.testing.assert_allclose(
        layer(q, v, k).numpy(), reference(layer, q, v, k, plain)[0], 2e-5, 2e-5
    )


def test_the_key_is_the_value_by_default() -> None:
    layer = nn.MultiHeadAttention(2, 4)
    q, v = numbers(2, 5, 6), numbers(2, 7, 6, seed=1)
    np.testing.assert_array_equal(layer(q, v).numpy(), layer(q, value=v, key=v).numpy())


@pytest.mark.parametrize("shape", [(5, 5), (1, 5, 5), (2, 1, 5, 5), (2, 2, 5, 5), (2, 1, 5)])
def test_attention_masks_of_fewer_axes_broadcast(shape: tuple[int, ...]) -> None:
    layer, x = nn.MultiHeadAttention(2, 4), numbers(2, 5, 6)
    mask = np.random.default_rng(0).random(shape) < 0.6
    four = mask if len(shape) == 4 else mask.reshape((1,) * (3 - len(shape)) + shape)[:, None]
    full = np.broadcast_to(four, (2, 2, 5, 5))
    want = layer(x, x, attention_mask=np.ascontiguousarray(full)).numpy()
    np.testing.assert_array_equal(layer(x, x, attention_mask=mask).numpy(), want)
    assert (want != layer(x, x).numpy()).any()


def test_weights_have_the_shapes_of_keras() -> None:
    layer = nn.MultiHeadAttention(3, 4, value_dim=5)
    layer(numbers(2, 5, 6), numbers(2, 5, 7))
    assert {name: tuple(v.shape) for name, v in layer.state_dict().items()} == {
        "query/kernel": (6, 3, 4),
        "query/bias": (3, 4),
        "key/kernel": (7, 3, 4),
        "key/bias": (3, 4),
        "value/kernel": (7, 3, 5),
        "value/bias": (3, 5),
        "attention_output/kernel": (3, 5, 6),
        "attention_output/bias": (6,),
    }
    grouped = nn.GroupedQueryAttention(4, 6, 2)
    grouped(numbers(2, 5, 8), numbers(2, 5, 8))
    shapes = {name: tuple(v.shape) for name, v in grouped.state_dict().items()}
    assert shapes["query/kernel"] == (8, 6, 4) and shapes["key/kernel"] == (8, 2, 4)


def test_kernels_start_as_the_matrices_that_they_are() -> None:
    layer = nn.MultiHeadAttention(8, 16)
    layer(numbers(1, 2, 128), numbers(1, 2, 128))
    for part in (layer.query, layer.attention_output):
        limit = np.sqrt(6 / (128 + 128))
        assert 0.9 * limit < np.abs(part.kernel.numpy()).max() <= limit


def test_penalties_of_all_projections_count() -> None:
    layer = nn.MultiHeadAttention(2, 3, kernel_regularizer="l2")
    layer(numbers(1, 2, 6), numbers(1, 2, 6))
    assert len(layer.losses) == 4


def test_one_trace_serves_all_batch_sizes_and_trains() -> None:
    layer = nn.MultiHeadAttention(2, 4, dropout=0.2, seed=3)
    layer(numbers(2, 5, 6), numbers(2, 5, 6))

    def loss(x: Any) -> Any:
        y = layer(x, x, use_causal_mask=True, training=True)
        return ost.gradients([ost.sum(ost.square(y))], layer.trainable_variables)

    step = ost.compile(loss, dynamic_batch=True)
    for n in (4, 3, 0):
        slopes = step(numbers(n, 5, 6))
        assert all(np.isfinite(s.numpy()).all() for s in slopes)
        assert all(s.numpy().any() for s in slopes[::2]) == (n > 0)
    assert step.num_traces == 1


def test_dropout_acts_in_training_only() -> None:
    layer = nn.MultiHeadAttention(2, 4, dropout=0.5, seed=3)
    x = numbers(2, 5, 6)
    plain = layer(x, x).numpy()
    np.testing.assert_array_equal(plain, layer(x, x).numpy())
    first, second = (layer(x, x, training=True).numpy() for _ in range(2))
    assert (first != plain).any() and (first != second).any()
    again = nn.MultiHeadAttention(2, 4, dropout=0.5, seed=3)
    again(x, x)
    again.load_state_dict({**layer.state_dict(), "generator": np.array([3, 0])})
    np.testing.assert_array_equal(again(x, x, training=True).numpy(), first)


# --- Positions ------------------------------------------------------------------------------------


def test_sinusoidal_positions() -> None:
    encoding = nn.sinusoidal_positions(6, 4).numpy()
    for position in range(6):
        angles = position / 10000 ** (np.array([0, 2]) / 4)
        want = np.concatenate([np.sin(angles), np.cos(angles)])
        np.testing.assert_allclose(encoding[position], want, 1e-6, 1e-6)


def test_rotary_products_depend_on_distances_only() -> None:
    q, k = (np.tile(numbers(1, 1, 1, 8, seed=s), (1, 9, 1, 1)) for s in (1, 2))
    turned_q, turned_k = (nn.rotary_embedding(x).numpy()[0, :, 0] for x in (q, k))
    products = turned_q @ turned_k.T
    for distance in range(-8, 9):
        line = np.diagonal(products, distance)
        np.testing.assert_allclose(line, line[0], 1e-4, 1e-5)
    assert abs(products[0, 0] - products[0, 5]) > 1e-2
    np.testing.assert_allclose(
        np.linalg.norm(turned_q, axis=-1), np.linalg.norm(q[0, :, 0], axis=-1), 1e-5
    )
    np.testing.assert_allclose(turned_q[0], q[0, 0, 0], 1e-6)


# --- Mistakes -------------------------------------------------------------------------------------

X = np.ones((2, 3, 4), np.float32)


@mistake(
    ValueError,
    "MultiHeadAttention: num_heads 0 is not accepted; give a positive integer {line}",
)
def no_heads() -> None:
    nn.MultiHeadAttention(0, 4)  # <-


@mistake(
    ValueError,
    "MultiHeadAttention: attention_axes (1, 2) is not supported; attention is along axis 1 of "
    "[batch, length, features], so reshape the other axes into the batch {line}",
)
def several_axes() -> None:
    nn.MultiHeadAttention(2, 4, attention_axes=(1, 2))  # <-


@mistake(
    ValueError,
    "GroupedQueryAttention: 3 query heads do not split into 2 groups of one size; give a multiple "
    "of num_key_value_heads {line}",
)
def uneven_groups() -> None:
    nn.GroupedQueryAttention(4, 3, 2)  # <-


@mistake(
    ValueError,
    "MultiHeadAttention: dropout 1 is not accepted; give a number from 0 up to, but not, 1 {line}",
)
def all_dropped() -> None:
    nn.MultiHeadAttention(2, 4, dropout=1)  # <-


@mistake(
    ValueError,
    "rotary_embedding: dim 3 is odd, but its features are pairs; give an even number {line}",
)
def odd_pairs() -> None:
    nn.rotary_embedding(np.ones((1, 2, 1, 3), np.float32))  # <-


@pytest.mark.parametrize(("fn", "error", "expected"), mistake.cases)
def test_mistakes(fn: Callable[[], Any], error: type[Exception], expected: str) -> None:
    check(fn, error, expected)


def test_inputs_of_another_rank_and_odd_masks_are_refused() -> None:
    layer = nn.MultiHeadAttention(2, 4)
    with pytest.raises(ValueError, match=r"query must be \[batch, length, features\], but its"):
        layer(X[0], X)
    with pytest.raises(ValueError, match=r"value_mask must be \[batch, length\], but its shape"):
        layer(X, X, value_mask=np.ones((2, 1, 3), bool))
    batch, length = X.shape[:2]
    for name, whose in (("query_mask", "query"), ("value_mask", "key"), ("key_mask", "key")):
        for shape in ((batch, length + 1), (batch + 1, length)):
            expected = (
                rf"{name} has the shape \[{shape[0]}, {shape[1]}\], but {whose} has "
                rf"\[batch, length\] = \[{batch}, {length}\]; .*\[test_attention_layers.py:\d+\]"
            )
            with pytest.raises(ValueError, match=expected):
                layer(X, X, **{name: np.ones(shape, bool)})


def test_the_name_in_keras_leads_to_ours() -> None:
    with pytest.raises(AttributeError, match=r"did you mean `nn.GroupedQueryAttention`"):
        _ = nn.GroupQueryAttention
