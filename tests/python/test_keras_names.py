# SPDX-License-Identifier: Apache-2.0
"""Arguments and classes that Keras has under these names, and what it means by them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from mistakes import Mistakes, check

import ostria as ost
from ostria import nn

inits = nn.initializers
X = np.random.default_rng(0).standard_normal((5, 4)).astype(np.float32)
mistake = Mistakes()


# --- Normalisation --------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [nn.BatchNormalization, nn.LayerNormalization])
@pytest.mark.parametrize("axis", [-1, 1, [-1], (1,)], ids=str)
def test_the_axis_may_be_the_last(kind: Any, axis: Any) -> None:
    np.testing.assert_array_equal(kind(axis)(X).numpy(), kind()(X).numpy())


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("kind", [nn.BatchNormalization, nn.LayerNormalization])
@pytest.mark.parametrize("center", [False, True])
@pytest.mark.parametrize("scale", [False, True])
def test_only_what_is_asked_for_has_weights(
    kind: Any, center: bool, scale: bool, training: bool
) -> None:
    layer = kind(center=center, scale=scale)
    layer(X)
    names = [v.name for v in layer.trainable_variables]
    assert names == ["gamma"] * scale + ["beta"] * center
    assert (layer.gamma is not None, layer.beta is not None) == (scale, center)
    full = kind()
    full(X)
    values = {v.name: np.random.default_rng(1).random(4, np.float32) + 0.5 for v in full.variables}
    for absent, there, neutral in (("gamma", scale, 1.0), ("beta", center, 0.0)):
        if not there:
            values[absent] = np.full(4, neutral, np.float32)
    full.load_state_dict(values)
    layer.load_state_dict({v.name: values[v.name] for v in layer.variables})
    y, expected = layer(X, training=training), full(X, training=training)
    np.testing.assert_allclose(y.numpy(), expected.numpy(), rtol=1e-5, atol=1e-6)


def test_normalisation_takes_initializers() -> None:
    layer = nn.BatchNormalization(
        beta_initializer=inits.Constant(2.0),
        gamma_initializer=inits.Constant(3.0),
        moving_mean_initializer="ones",
        moving_variance_initializer=inits.Constant(4.0),
    )
    layer(X)
    assert [(v.name, float(v[0])) for v in layer.variables] == [
        ("gamma", 3.0), ("beta", 2.0), ("moving_mean", 1.0), ("moving_variance", 4.0),
    ]  # fmt: skip
    norm = nn.LayerNormalization(beta_initializer="ones", gamma_initializer="zeros")
    assert (norm(X).numpy() == 1).all()


@pytest.mark.parametrize("how", ["eager", "compiled", "dynamic"])
def test_a_batch_of_no_rows_leaves_the_moving_averages(how: str) -> None:
    layer = nn.BatchNormalization()
    call: Callable[[Any], Any] = lambda x: layer(x, training=True)  # noqa: E731
    if how != "eager":
        call = ost.compile(call, dynamic_batch=how == "dynamic")
    call(X + 3)
    before = [layer.moving_mean.numpy().copy(), layer.moving_variance.numpy().copy()]
    np.testing.assert_allclose(before[0], 0.01 * (X + 3).mean(0), rtol=1e-5)
    assert call(X[:0]).shape == (0, 4)
    np.testing.assert_array_equal(layer.moving_mean.numpy(), before[0])
    np.testing.assert_array_equal(layer.moving_variance.numpy(), before[1])
    call(X + 3)
    assert not np.array_equal(layer.moving_mean.numpy(), before[0])


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("kind", [nn.BatchNormalization, nn.LayerNormalization])
def test_another_number_of_features_is_refused(kind: Any, training: bool) -> None:
    layer = kind()
    layer(X)
    for width in (1, 3):
        with pytest.raises(ValueError, match="its weights are for 4 features, but the last size"):
            layer(X[:, :width], training=training)


# --- Dropout --------------------------------------------------------------------------------------

ONES = np.ones((16, 16), np.float32)


def masks(layer: Any, times: int = 2) -> list[Any]:
    return [layer(ONES, training=True).numpy() for _ in range(times)]


@pytest.mark.parametrize("compiled", [False, True], ids=["eager", "compiled"])
def test_a_seeded_dropout_draws_alone(compiled: bool) -> None:
    def run(seed: int, default: int) -> list[Any]:
        ost.random.seed(default)
        layer = nn.Dropout(0.5, seed)
        call = ost.compile(lambda x: layer(x, training=True)) if compiled else None
        return [call(ONES).numpy() for _ in range(2)] if call else masks(layer)

    first, second = run(7, 0)
    assert not np.array_equal(first, second)
    np.testing.assert_array_equal(run(7, 1), [first, second])
    assert not np.array_equal(run(8, 0)[0], first)
    before = ost.random.default_generator().variable.numpy().tolist()
    masks(nn.Dropout(0.5, seed=7))
    assert ost.random.default_generator().variable.numpy().tolist() == before
    ost.random.seed(0)


def test_the_state_of_a_seeded_dropout_is_saved_but_not_trained() -> None:
    model = nn.Sequential([nn.Dropout(0.5, seed=3), nn.Dropout(0.5, seed=3)])
    model(ONES)
    assert list(model.state_dict()) == ["dropout/generator", "dropout_1/generator"]
    assert model.trainable_variables == []
    a, b = (masks(layer, 1)[0] for layer in model.layers)
    assert not np.array_equal(a, b)
    state = {name: v.numpy().copy() for name, v in model.state_dict().items()}
    next_masks = masks(model)
    model.load_state_dict(state)
    np.testing.assert_array_equal(masks(model), next_masks)


def test_a_seeded_dropout_made_anew_goes_on_where_it_was() -> None:
    from ostria import _scope

    def run() -> Any:
        with sharing:  # as a model_fn is called
            return nn.Dropout(0.5, seed=7)(ONES, training=True).numpy()

    sharing = _scope.Sharing()
    kept = nn.Sequential([nn.Dropout(0.5, seed=7, name="dropout")]).layers[0]
    for expected in masks(kept, 3):
        np.testing.assert_array_equal(run(), expected)


# --- Initializers ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        (inits.Zeros, "zeros"), (inits.Ones, "ones"),
        (inits.RandomUniform, "random_uniform"), (inits.RandomNormal, "random_normal"),
        (inits.TruncatedNormal, "truncated_normal"),
        (inits.GlorotUniform, "glorot_uniform"), (inits.GlorotNormal, "glorot_normal"),
        (inits.HeUniform, "he_uniform"), (inits.HeNormal, "he_normal"),
        (inits.LecunUniform, "lecun_uniform"), (inits.LecunNormal, "lecun_normal"),
    ],
)  # fmt: skip
def test_a_class_is_what_its_name_is(kind: Any, name: str) -> None:
    def values(initializer: Any) -> Any:
        return inits.get(initializer)((6, 5), "float32", "a/kernel").numpy()

    np.testing.assert_array_equal(values(kind()), values(name))
    np.testing.assert_array_equal(values(kind), values(name))
    if kind not in (inits.Zeros, inits.Ones):
        np.testing.assert_array_equal(values(kind(seed=5)), values(kind(seed=5)))
        assert not np.array_equal(values(kind(seed=5)), values(kind(seed=6)))


def test_limits_of_the_random_initializers() -> None:
    shape = (100, 100)
    uniform = inits.RandomUniform(minval=2.0, maxval=3.0)(shape, "float32", "k").numpy()
    assert 2 <= uniform.min() < 2.01 and 2.99 < uniform.max() < 3
    normal = inits.RandomNormal(mean=5.0, stddev=2.0)(shape, "float32", "k").numpy()
    assert abs(normal.mean() - 5) < 0.1 and abs(normal.std() - 2) < 0.1
    assert abs(inits.TruncatedNormal(5.0, 2.0)(shape, "float32", "k").numpy() - 5).max() <= 4


def test_padding_in_capitals() -> None:
    x = np.random.default_rng(0).random((1, 5, 5, 2), np.float32)
    for padding in ("same", "valid"):
        for layer in (nn.MaxPool2D, nn.AvgPool2D):
            expected = layer(2, padding=padding)(x).numpy()
            np.testing.assert_array_equal(layer(2, padding=padding.upper())(x).numpy(), expected)
        assert nn.Conv2D(3, 2, padding=padding.upper())(x).shape == (
            nn.Conv2D(3, 2, padding=padding)(x).shape
        )


# --- Messages -------------------------------------------------------------------------------------


@mistake(
    ValueError,
    "batch_normalization: axis 1 is not the last one of an input of shape [1, 8, 8, 3]; only the "
    "last axis, axis=-1, can be that of the features (of images: NHWC); move it there with "
    "ost.transpose (layer 'batch_normalization', BatchNormalization) {line}",
)
def normalisation_over_another_axis() -> None:
    nn.BatchNormalization(axis=1)(ost.zeros((1, 8, 8, 3)))  # <-


@mistake(
    TypeError,
    "BatchNormalization: axis 0.9 is not accepted; give -1, the last axis {line}",
)
def momentum_where_the_axis_goes() -> None:
    nn.BatchNormalization(0.9)  # <-


@mistake(
    ValueError,
    "Dropout: seed and generator exclude each other; give at most one {line}",
)
def seed_and_generator() -> None:
    nn.Dropout(0.5, seed=1, generator=ost.random.Generator(2))  # <-


@mistake(
    ValueError,
    "seed: 'x' is not accepted; give an integer from 0 to 2**63 - 1 {line}",
)
def seed_of_another_type() -> None:
    inits.HeNormal(seed="x")  # <-


@mistake(
    TypeError,
    "RandomUniform: unknown keyword 'min_val'; did you mean 'minval'? Accepted: minval, maxval, "
    "seed. {line}",
)
def keyword_of_an_initializer() -> None:
    inits.RandomUniform(min_val=0.0)  # <-


@mistake(
    TypeError,
    "MaxPool2D: unknown keyword 'data_format': images are NHWC, 'channels_last'; bring others "
    "there with ost.transpose. Accepted: pool_size, strides, padding, name. {line}",
)
def images_with_channels_first() -> None:
    nn.MaxPool2D(2, data_format="channels_first")  # <-


@mistake(
    TypeError,
    "Conv2D: unknown keyword 'data_format': images are NHWC, 'channels_last'; bring others there "
    "with ost.transpose. Accepted: filters, kernel_size, strides, padding, dilation_rate, groups, "
    "activation, use_bias, kernel_initializer, bias_initializer, kernel_regularizer, "
    "bias_regularizer, activity_regularizer, kernel_constraint, bias_constraint, dtype, name. "
    "{line}",
)
def convolution_with_a_data_format() -> None:
    nn.Conv2D(3, 3, data_format="channels_last")  # <-


@mistake(
    TypeError,
    "TruncatedNormal: unknown keyword 'std'. Accepted: mean, stddev, seed. {line}",
)
def keyword_of_an_inherited_constructor() -> None:
    inits.TruncatedNormal(std=1.0)  # <-


@mistake(
    AttributeError,
    "module 'ostria.nn' has no attribute 'GlobalMaxPool2D'; did you mean `nn.GlobalMaxPooling2D`? "
    "{line}",
)
def second_name_of_a_layer() -> None:
    nn.GlobalMaxPool2D()  # <-


@mistake(
    AttributeError,
    "module 'ostria.nn' has no attribute 'Embeding'; did you mean `nn.Embedding`? {line}",
)
def misspelt_name_of_a_layer() -> None:
    nn.Embeding(2, 3)  # <-


@pytest.mark.parametrize(("fn", "error", "expected"), mistake.cases)
def test_message(fn: Any, error: type[BaseException], expected: str) -> None:
    check(fn, error, expected)


def test_every_second_name_leads_to_a_layer() -> None:
    for name, ours in nn._OTHER_NAMES.items():
        assert hasattr(nn, ours) and not hasattr(nn, name)
