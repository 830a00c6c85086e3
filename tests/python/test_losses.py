# SPDX-License-Identifier: Apache-2.0
"""ostria.losses against plain NumPy: values, gradients, weights, reductions, messages."""

from __future__ import annotations

import re

import numpy as np
import pytest
import reference_losses as ref

import ostria as ost
from ostria import losses

RNG = np.random.default_rng(0)
N, C = 7, 5
CLASSES = RNG.integers(0, C, N)
ONE_HOT = np.eye(C)[CLASSES]
LOGITS = RNG.normal(size=(N, C)) * 3
PROBS = np.exp(LOGITS) / np.exp(LOGITS).sum(-1, keepdims=True)
BITS = RNG.integers(0, 2, (N, C))
REAL, GUESS = RNG.normal(size=(N, C)), RNG.normal(size=(N, C))

ROWS = {
    "mse": (losses.mean_squared_error, ref.mse, REAL, GUESS, {}),
    "mae": (losses.mean_absolute_error, ref.mae, REAL, GUESS, {}),
    "huber": (losses.huber, ref.huber, REAL, GUESS, {}),
    "huber_delta": (losses.huber, ref.huber, REAL, GUESS, {"delta": 0.3}),
    "binary": (losses.binary_crossentropy, ref.binary_crossentropy, BITS, PROBS, {}),
    "binary_logits": (
        losses.binary_crossentropy,
        ref.binary_crossentropy,
        BITS,
        LOGITS,
        {"from_logits": True},
    ),
    "binary_smooth": (
        losses.binary_crossentropy,
        ref.binary_crossentropy,
        BITS,
        LOGITS,
        {"from_logits": True, "label_smoothing": 0.2},
    ),
    "categorical": (
        losses.categorical_crossentropy,
        ref.categorical_crossentropy,
        ONE_HOT,
        2 * PROBS,
        {},
    ),
    "categorical_logits": (
        losses.categorical_crossentropy,
        ref.categorical_crossentropy,
        ONE_HOT,
        LOGITS,
        {"from_logits": True},
    ),
    "categorical_smooth": (
        losses.categorical_crossentropy,
        ref.categorical_crossentropy,
        ONE_HOT,
        PROBS,
        {"label_smoothing": 0.1},
    ),
    "sparse": (
        losses.sparse_categorical_crossentropy,
        ref.sparse_categorical_crossentropy,
        CLASSES,
        2 * PROBS,
        {},
    ),
    "sparse_logits": (
        losses.sparse_categorical_crossentropy,
        ref.sparse_categorical_crossentropy,
        CLASSES,
        LOGITS,
        {"from_logits": True},
    ),
}


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", ROWS)
def test_values_are_the_references(name, dtype):
    fn, reference, y, p, options = ROWS[name]
    got = fn(y, p.astype(dtype), **options)
    assert got.shape == (N,) and got.dtype == np.dtype(dtype).name
    tolerance = 1e-5 if dtype == np.float32 else 1e-12
    np.testing.assert_allclose(got.numpy(), reference(y, p, **options), tolerance, tolerance)


@pytest.mark.parametrize("name", ROWS)
def test_gradients_are_central_differences(name):
    fn, reference, y, p, options = ROWS[name]
    got = ost.grad(lambda x: ost.sum(fn(y, x, **options)))(ost.asarray(p)).numpy()
    step, want = 1e-6, np.zeros_like(p)
    for at in np.ndindex(p.shape):
        up, down = p.copy(), p.copy()
        up[at] += step
        down[at] -= step
        want[at] = (reference(y, up, **options) - reference(y, down, **options)).sum() / (2 * step)
    np.testing.assert_allclose(got, want, 1e-5, 1e-7)


def test_binary_crossentropy_of_large_logits_is_exact():
    logits = np.array([[-200.0], [200.0], [-200.0], [200.0], [30.0], [0.0]], np.float32)
    labels = np.array([[0], [1], [1], [0], [1], [1]])

    def loss(x):
        return ost.sum(losses.binary_crossentropy(labels, x, from_logits=True))

    each = losses.binary_crossentropy(labels, logits, from_logits=True).numpy()
    np.testing.assert_allclose(each[:4], [0, 0, 200, 200])
    assert each[4] == pytest.approx(np.log1p(np.exp(-30.0)), rel=1e-5)  # not rounded to 0
    gradient = ost.grad(loss)(ost.asarray(logits)).numpy().ravel()
    np.testing.assert_allclose(gradient, [0, 0, -1, 1, -np.exp(-30.0), -0.5], 1e-5, 1e-30)


def test_probabilities_of_zero_and_one_are_finite():
    p = np.array([[0.0, 1.0], [1.0, 0.0]], np.float32)
    for each in (
        losses.binary_crossentropy([[1, 0], [0, 1]], p),
        losses.categorical_crossentropy([[1, 0], [0, 1]], p),
        losses.sparse_categorical_crossentropy([0, 1], p),
    ):
        assert (each.numpy() > 15).all() and np.isfinite(each.numpy()).all()


def test_rank_one_holds_one_value_per_example():
    got = losses.mean_squared_error([1.0, 2.0], np.array([1.0, 4.0], np.float32))
    assert got.numpy().tolist() == [0.0, 4.0]
    weighted = losses.MeanSquaredError()([1.0, 2.0], np.array([1.0, 4.0], np.float32), [5.0, 0.5])
    assert weighted.item() == 1.0


@pytest.mark.parametrize(
    "reduction", ["sum_over_batch_size", "sum", "mean", "mean_with_sample_weight", "none"]
)
@pytest.mark.parametrize("weight", [None, np.float32(2.0), np.arange(N), RNG.random(N)])
def test_reductions_and_weights_are_keras(reduction, weight):
    got = losses.MeanSquaredError(reduction)(REAL, GUESS, weight).numpy()
    want = ref.reduce(ref.mse(REAL, GUESS), weight, reduction)
    np.testing.assert_allclose(got, want, 1e-12)


def test_weights_of_the_first_axes_reach_the_others():
    y, p = RNG.normal(size=(2, 3, 4, 5))  # losses [3, 4]
    for shape in ((3,), (3, 4)):
        weight = RNG.random(shape)
        full = weight if len(shape) == 2 else np.repeat(weight[:, None], 4, axis=1)
        got = losses.MeanSquaredError()(y, p, weight).item()
        assert got == pytest.approx((ref.mse(y, p) * full).mean(), rel=1e-12)


@pytest.mark.parametrize(
    "loss, y, p",
    [
        (losses.MeanSquaredError(), np.zeros((0, 3)), np.zeros((0, 3))),
        (losses.MeanSquaredError(), np.zeros(0), np.zeros(0)),
        (losses.BinaryCrossentropy(from_logits=True), np.zeros((0, 1)), np.zeros((0, 1))),
        (losses.CategoricalCrossentropy(), np.zeros((0, 3)), np.zeros((0, 3))),
        (losses.SparseCategoricalCrossentropy(), np.zeros(0, np.int64), np.zeros((0, 3))),
        (losses.SparseCategoricalCrossentropy(True), np.zeros(0, np.int64), np.zeros((0, 3))),
    ],
)
def test_no_rows_cost_nothing(loss, y, p):
    assert loss(y, p).item() == 0.0
    assert loss(y, p, np.zeros(0)).item() == 0.0


def test_mean_with_sample_weight_of_zero_weights_is_zero():
    assert losses.MeanSquaredError("mean_with_sample_weight")(REAL, GUESS, np.zeros(N)).item() == 0


def test_one_trace_serves_every_batch_size():
    @ost.compile(dynamic_batch=True)
    def step(y, p, w):
        return losses.SparseCategoricalCrossentropy(from_logits=True)(y, p, w)

    for n in (N, 3, 0):
        got = step(CLASSES[:n], LOGITS[:n], np.ones(n)).item()
        want = ref.reduce(ref.sparse_categorical_crossentropy(CLASSES[:n], LOGITS[:n], True))
        assert got == pytest.approx(want, rel=1e-12)
    assert step.num_traces == 1


def test_sequences_of_class_numbers_and_small_integer_labels():
    logits = RNG.normal(size=(2, 3, C))
    labels = RNG.integers(0, C, (2, 3))
    want = ref.sparse_categorical_crossentropy(labels, logits, True)
    for y in (labels.astype(np.uint8), labels[..., None]):
        for from_logits, p in ((True, logits), (False, np.exp(logits))):
            got = losses.sparse_categorical_crossentropy(y, p, from_logits).numpy()
            np.testing.assert_allclose(got, want, 1e-12)


@pytest.mark.parametrize("from_logits", [True, False])
@pytest.mark.parametrize("label", [-1, C, 10**6])
def test_a_label_out_of_range_is_an_error(label, from_logits):
    y = CLASSES.copy()
    y[2] = label
    with pytest.raises(IndexError, match="out of range"):
        losses.sparse_categorical_crossentropy(y, PROBS, from_logits).numpy()


def test_half_precision_predictions_are_computed_in_float32():
    p = ost.cast(ost.asarray(GUESS), ost.bfloat16)
    got = losses.mean_squared_error(REAL, p)
    assert got.dtype == "float32"
    want = ref.mse(REAL, ost.cast(p, ost.float64).numpy())
    np.testing.assert_allclose(got.numpy(), want, 1e-5)


def test_own_losses():
    class Cubic(losses.Loss):
        def call(self, y_true, y_pred):
            return ost.abs(y_pred - y_true) ** 3.0

    assert Cubic("sum")(np.zeros(2, np.float32), np.array([1.0, 2.0], np.float32)).item() == 9.0


ERRORS = [
    (
        lambda: losses.mean_squared_error(np.zeros(8), np.zeros((8, 1))),
        ValueError,
        "mean_squared_error: y_true has shape [8], but y_pred has [8, 1]; equal shapes are needed; "
        "use y_pred[..., 0], or ost.expand_dims(y_true, axis=-1); left alone they would broadcast "
        "against each other",
    ),
    (
        lambda: losses.huber(np.zeros((4, 3)), np.zeros((4, 2))),
        ValueError,
        "huber: y_true has shape [4, 3], but y_pred has [4, 2]; equal shapes are needed; give both "
        "one shape",
    ),
    (
        lambda: losses.mean_absolute_error(np.zeros(3), np.zeros(3, np.int64)),
        TypeError,
        "mean_absolute_error: y_pred is int64[3], but predictions are floating-point; use "
        "ost.cast(y_pred, ost.float32)",
    ),
    (
        lambda: losses.sparse_categorical_crossentropy(np.zeros((4, 3), int), np.zeros((4, 3))),
        ValueError,
        "sparse_categorical_crossentropy: y_true has shape [4, 3], but y_pred of shape [4, 3] "
        "needs one class number per row; one-hot labels belong to the categorical variant",
    ),
    (
        lambda: losses.sparse_categorical_crossentropy(np.zeros(4), np.zeros((4, 3))),
        TypeError,
        "sparse_categorical_crossentropy: y_true is float64[4], but labels are integers (class "
        "numbers); use ost.cast(y_true, ost.int64), or the categorical variant for one-hot labels",
    ),
    (
        lambda: losses.MeanSquaredError()(np.zeros((4, 3)), np.zeros((4, 3)), np.zeros((4, 1))),
        ValueError,
        "MeanSquaredError: sample_weight has shape [4, 1], but the values it weighs have [4]; give "
        "one weight per example, shape [4], or a scalar",
    ),
    (
        lambda: losses.MeanSquaredError(reduction="sum_over_batchsize"),
        ValueError,
        "MeanSquaredError: reduction 'sum_over_batchsize' is not known; did you mean "
        "'sum_over_batch_size'? Accepted: sum_over_batch_size, sum, mean, mean_with_sample_weight, "
        "none.",
    ),
    (
        lambda: losses.BinaryCrossentropy(logits=True),
        TypeError,
        "BinaryCrossentropy: unknown keyword 'logits'; did you mean 'from_logits'? Accepted: "
        "from_logits, label_smoothing, reduction, name, axis.",
    ),
    (
        lambda: losses.binary_crossentropy(BITS, PROBS, label_smoothing=2.0),
        ValueError,
        "binary_crossentropy: label_smoothing 2.0 is not accepted; give a number from 0 to 1",
    ),
    (
        lambda: losses.huber(REAL, GUESS, delta=0.0),
        ValueError,
        "huber: delta 0.0 is not accepted; give a positive number",
    ),
]


@pytest.mark.parametrize("call, kind, message", ERRORS)
def test_messages(call, kind, message):
    with pytest.raises(kind) as caught:
        call()
    assert re.fullmatch(re.escape(message) + r" \[test_losses\.py:\d+\]", str(caught.value))


def test_a_missing_axis_is_refused_while_tracing_too():
    step = ost.compile(losses.MeanSquaredError(), dynamic_batch=True, name="step")
    with pytest.raises(
        ValueError, match=r"y_true has shape \[batch\], but y_pred has \[batch, 1\]"
    ):
        step(np.zeros(4), np.zeros((4, 1)))
