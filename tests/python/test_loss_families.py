# SPDX-License-Identifier: Apache-2.0
"""Losses beside the common ones: published formulas in NumPy, golden values, extremes."""

from __future__ import annotations

import numpy as np
import pytest
import reference_losses as ref
from mistakes import Mistakes, check

import ostria as ost
from ostria import losses

RNG = np.random.default_rng(0)
N, C = 7, 5
EPS = 1e-7
ONE_HOT = np.eye(C)[RNG.integers(0, C, N)]
LOGITS = RNG.normal(size=(N, C)) * 3
PROBS = np.exp(LOGITS) / np.exp(LOGITS).sum(-1, keepdims=True)
SIGMOID = 1 / (1 + np.exp(-LOGITS))
BITS = RNG.integers(0, 2, (N, C))
REAL, GUESS = RNG.normal(size=(N, C)), RNG.normal(size=(N, C))
COUNTS, RATES = RNG.integers(0, 5, (N, C)), RNG.uniform(0.2, 4, (N, C))
mistake = Mistakes()


def focal(y, p, balance=None, gamma=2.0):
    bce = -(y * np.log(p) + (1 - y) * np.log(1 - p))
    weight = 1 if balance is None else y * balance + (1 - y) * (1 - balance)
    return np.mean(weight * (1 - (y * p + (1 - y) * (1 - p))) ** gamma * bce, -1)


def categorical_focal(y, p, alpha=0.25, gamma=2.0):
    return np.sum(alpha * (1 - p) ** gamma * -y * np.log(p), -1)


def hinge(y, p, power=1):
    y = 2.0 * y - 1 if np.isin(y, (0, 1)).all() else y
    return np.mean(np.maximum(1 - y * p, 0) ** power, -1)


def categorical_hinge(y, p):
    return np.maximum(((1 - y) * p).max(-1) - (y * p).sum(-1) + 1, 0)


def kl(y, p):
    y, p = np.clip(y, EPS, 1), np.clip(p, EPS, 1)
    return np.sum(y * np.log(y / p), -1)


def cosine(y, p, axis=-1):
    norms = np.linalg.norm(y, axis=axis) * np.linalg.norm(p, axis=axis)
    return -np.sum(y * p, axis) / norms


def overlap(y, p, alpha, beta, axis=None):
    hits = np.sum(y * p, axis)
    wrong, missed = np.sum((1 - y) * p, axis), np.sum(y * (1 - p), axis)
    return 1 - hits / (hits + alpha * wrong + beta * missed)


SMOOTH = 0.8 * ONE_HOT + 0.2 / C
ALPHAS = np.linspace(0.1, 0.5, C)
ROWS = {
    "focal": (losses.binary_focal_crossentropy, BITS, SIGMOID, {}, focal(BITS, SIGMOID)),
    "focal_logits": (
        losses.binary_focal_crossentropy, BITS, LOGITS,
        {"from_logits": True, "gamma": 1.5}, focal(BITS, SIGMOID, gamma=1.5),
    ),
    "focal_balanced": (
        losses.binary_focal_crossentropy, BITS, LOGITS,
        {"from_logits": True, "apply_class_balancing": True, "alpha": 0.3,
         "label_smoothing": 0.1}, focal(0.9 * BITS + 0.05, SIGMOID, 0.3),
    ),
    "focal_axis": (
        losses.binary_focal_crossentropy, BITS, SIGMOID, {"axis": 0}, focal(BITS.T, SIGMOID.T),
    ),
    "class_focal": (
        losses.categorical_focal_crossentropy, ONE_HOT, 2 * PROBS, {},
        categorical_focal(ONE_HOT, PROBS),
    ),
    "class_focal_logits": (
        losses.categorical_focal_crossentropy, ONE_HOT, LOGITS,
        {"from_logits": True, "gamma": 0.5, "label_smoothing": 0.2, "alpha": list(ALPHAS)},
        categorical_focal(SMOOTH, PROBS, ALPHAS, 0.5),
    ),
    "class_focal_axis": (
        losses.categorical_focal_crossentropy, ONE_HOT.T, LOGITS.T,
        {"from_logits": True, "axis": 0, "alpha": list(ALPHAS)},
        categorical_focal(ONE_HOT, PROBS, ALPHAS),
    ),
    "hinge": (losses.hinge, 2 * BITS - 1, GUESS, {}, hinge(2 * BITS - 1, GUESS)),
    "hinge_bits": (losses.hinge, BITS, GUESS, {}, hinge(BITS, GUESS)),
    "squared_hinge": (losses.squared_hinge, BITS, GUESS, {}, hinge(BITS, GUESS, 2)),
    "class_hinge": (
        losses.categorical_hinge, ONE_HOT, GUESS, {}, categorical_hinge(ONE_HOT, GUESS),
    ),
    "kl": (losses.kl_divergence, PROBS[::-1], PROBS, {}, kl(PROBS[::-1], PROBS)),
    "kl_zeros": (losses.kl_divergence, ONE_HOT, PROBS, {}, kl(ONE_HOT, PROBS)),
    "poisson": (
        losses.poisson, COUNTS, RATES, {}, np.mean(RATES - COUNTS * np.log(RATES + EPS), -1),
    ),
    "cosine": (losses.cosine_similarity, REAL, GUESS, {}, cosine(REAL, GUESS)),
    "cosine_axis": (
        losses.cosine_similarity, REAL, GUESS, {"axis": 0}, cosine(REAL, GUESS, 0),
    ),
    "log_cosh": (
        losses.log_cosh, REAL, 2 * GUESS, {}, np.mean(np.log(np.cosh(2 * GUESS - REAL)), -1),
    ),
    "mape": (
        losses.mean_absolute_percentage_error, REAL, GUESS, {},
        100 * np.mean(np.abs((REAL - GUESS) / REAL), -1),
    ),
    "msle": (
        losses.mean_squared_logarithmic_error, COUNTS, RATES, {},
        np.mean((np.log1p(RATES) - np.log1p(np.maximum(COUNTS, EPS))) ** 2, -1),
    ),
    "dice": (losses.dice, BITS, SIGMOID, {}, overlap(BITS, SIGMOID, 0.5, 0.5)),
    "dice_axis": (
        losses.dice, BITS, SIGMOID, {"axis": 1}, overlap(BITS, SIGMOID, 0.5, 0.5, 1),
    ),
    "tversky": (
        losses.tversky, BITS, SIGMOID, {"alpha": 0.2, "beta": 0.9},
        overlap(BITS, SIGMOID, 0.2, 0.9),
    ),
    "class_axis": (
        losses.categorical_crossentropy, ONE_HOT.T, LOGITS.T, {"from_logits": True, "axis": 0},
        ref.categorical_crossentropy(ONE_HOT, LOGITS, True),
    ),
    "binary_axis": (
        losses.binary_crossentropy, BITS, SIGMOID, {"axis": 0},
        ref.binary_crossentropy(BITS.T, SIGMOID.T),
    ),
}  # fmt: skip


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", ROWS)
def test_values_are_those_of_the_formulas(name, dtype):
    fn, y, p, options, want = ROWS[name]
    got = fn(y, p.astype(dtype), **options)
    assert got.dtype == np.dtype(dtype).name and got.shape == np.shape(want)
    relative, absolute = (2e-5, 2e-6) if dtype == np.float32 else (1e-7, 1e-9)
    np.testing.assert_allclose(got.numpy(), want, relative, absolute)


@pytest.mark.parametrize("name", ROWS)
def test_gradients_are_central_differences(name):
    fn, y, p, options, _ = ROWS[name]
    got = ost.grad(lambda x: ost.sum(fn(y, x, **options)))(ost.asarray(p)).numpy()
    step, want = 1e-6, np.zeros_like(p)
    for at in np.ndindex(p.shape):
        moved = [p.copy(), p.copy()]
        moved[0][at] += step
        moved[1][at] -= step
        up, down = (fn(y, m, **options).numpy().sum() for m in moved)
        want[at] = (up - down) / (2 * step)
    np.testing.assert_allclose(got, want, 1e-5, 1e-6)


GOLDEN = [  # of Keras's documentation
    (losses.binary_focal_crossentropy, [[0, 1], [0, 0]], [[0.6, 0.4], [0.4, 0.6]],
     [0.330, 0.206], 2e-3),
    (losses.categorical_focal_crossentropy, [[0, 1, 0], [0, 0, 1]],
     [[0.05, 0.9, 0.05], [0.1, 0.85, 0.05]], [2.63401289e-04, 6.75912094e-01], 1e-5),
    (losses.cosine_similarity, [[0.0, 1.0], [1.0, 1.0], [1.0, 1.0]],
     [[1.0, 0.0], [1.0, 1.0], [-1.0, -1.0]], [0.0, -1.0, 1.0], 1e-6),
]  # fmt: skip


@pytest.mark.parametrize("fn, y, p, want, tolerance", GOLDEN)
def test_golden_values(fn, y, p, want, tolerance):
    got = fn(y, np.float32(p)).numpy()
    np.testing.assert_allclose(got, want, rtol=tolerance, atol=1e-7)


EXTREME = np.array([[-300.0, 300.0], [300.0, -300.0], [0.0, 300.0], [-9e4, 9e4]], np.float32)
LABELS = np.array([[1, 0], [1, 0], [0, 1], [0, 1]])


@pytest.mark.parametrize("gamma", [0.0, 0.5, 1.0, 2.0])
def test_focal_losses_of_extreme_logits_are_exact_and_finite(gamma):
    def binary(x):
        return losses.binary_focal_crossentropy(LABELS, x, gamma=gamma, from_logits=True)

    def classes(x):
        return losses.categorical_focal_crossentropy(
            LABELS, x, alpha=1.0, gamma=gamma, from_logits=True
        )

    with np.errstate(all="ignore"):
        half = np.log(2) * 0.5**gamma / 2
    np.testing.assert_allclose(binary(EXTREME).numpy(), [300, 0, half, 0], 1e-5, 1e-6)
    np.testing.assert_allclose(classes(EXTREME).numpy(), [600, 0, 0, 0], 1e-5, 1e-6)
    for fn in (binary, classes):
        slope = ost.grad(lambda x, fn=fn: ost.sum(fn(x)))(ost.asarray(EXTREME)).numpy()
        assert np.isfinite(slope).all()
        np.testing.assert_allclose(slope[0], [-1, 1] if fn is classes else [-0.5, 0.5], 1e-5)


def test_log_cosh_is_exact_for_small_and_large_errors():
    errors = np.float32([1e-5, -1e-3, 0.0, 1e30, -500.0])
    got = losses.log_cosh(np.zeros(5, np.float32), errors).numpy()
    np.testing.assert_allclose(got, [5e-11, 5e-7, 0, 1e30, 500 - np.log(2)], 2e-6)
    slope = ost.grad(lambda x: ost.sum(losses.log_cosh(np.zeros(5), x)))(ost.asarray(errors))
    np.testing.assert_allclose(slope.numpy(), np.tanh(np.float64(errors)), 2e-6, 1e-12)


def test_cosines_of_huge_tiny_and_absent_vectors():
    y = np.float32([[3e30, 4e30], [3e-6, 4e-6], [0, 0]])
    p = np.float32([[3e25, 4e25], [4e-6, -3e-6], [1, 2]])
    got = losses.cosine_similarity(y, p).numpy()
    np.testing.assert_allclose(got, [-1, 0, 0], 1e-6, 1e-6)
    slope = ost.grad(lambda x: ost.sum(losses.cosine_similarity(p, x)))(ost.asarray(y)).numpy()
    assert np.isfinite(slope).all()


def test_probabilities_of_zero_and_one_are_finite():
    p = np.float32([[0.0, 1.0], [1.0, 0.0]])
    for fn in (
        losses.binary_focal_crossentropy,
        losses.categorical_focal_crossentropy,
        losses.kl_divergence,
        losses.poisson,
        losses.mean_absolute_percentage_error,
        losses.dice,
    ):
        value = fn([[1, 0], [1, 0]], p)
        slope = ost.grad(lambda x, fn=fn: ost.sum(fn([[1, 0], [1, 0]], x)))(ost.asarray(p))
        assert np.isfinite(value.numpy()).all() and np.isfinite(slope.numpy()).all(), fn.__name__


WITH_EMPTY = {
    "BinaryFocalCrossentropy": 0.0, "CategoricalFocalCrossentropy": 0.0, "CosineSimilarity": 0.0,
    "Dice": 1.0, "Hinge": 0.0, "KLDivergence": 0.0, "LogCosh": 0.0, "Poisson": 0.0, "Tversky": 1.0,
}  # fmt: skip


@pytest.mark.parametrize("name", sorted(WITH_EMPTY))
def test_a_batch_without_rows(name: str) -> None:
    """Means over nothing are 0, an overlap of nothing is none; there is no gradient either way."""
    nothing = np.zeros((0, C), np.float32)

    def loss(guess: ost.Tensor) -> ost.Tensor:
        return getattr(losses, name)()(nothing, guess)

    value, slope = ost.value_and_grad(loss)(ost.constant(nothing))
    assert value.item() == WITH_EMPTY[name]
    assert slope.shape == (0, C)


# --- Class numbers --------------------------------------------------------------------------------

NUMBERS = np.array([1, 255, 0, 4, 255, 2, 3])
SPARSE = ref.sparse_categorical_crossentropy(NUMBERS, LOGITS, True, ignore_class=255)
KEPT = (NUMBERS != 255).astype(float)
WEIGHTS = RNG.random(N)


@pytest.mark.parametrize("labels", [NUMBERS.astype(np.uint8), NUMBERS[:, None]])
@pytest.mark.parametrize("from_logits", [True, False])
def test_an_ignored_class_costs_nothing(labels, from_logits):
    p = LOGITS if from_logits else PROBS
    got = losses.sparse_categorical_crossentropy(labels, p, from_logits, ignore_class=255)
    np.testing.assert_allclose(got.numpy(), SPARSE, 1e-6)
    slope = ost.grad(
        lambda x: ost.sum(losses.sparse_categorical_crossentropy(labels, x, from_logits, 255))
    )(ost.asarray(p)).numpy()
    assert (slope[KEPT == 0] == 0).all() and (slope[KEPT == 1] != 0).any(-1).all()


@pytest.mark.parametrize("weight", [None, WEIGHTS])
@pytest.mark.parametrize(
    "reduction", ["sum_over_batch_size", "mean", "sum", "none", "mean_with_sample_weight"]
)
def test_means_are_over_the_labels_that_count(reduction, weight):
    loss = losses.SparseCategoricalCrossentropy(True, reduction, ignore_class=255)
    weights = np.ones(N) if weight is None else weight
    want = {
        "none": SPARSE * weights,
        "sum": (SPARSE * weights).sum(),
        "mean_with_sample_weight": (SPARSE * weights).sum() / (KEPT * weights).sum(),
    }.get(reduction, (SPARSE * weights).sum() / KEPT.sum())
    np.testing.assert_allclose(loss(NUMBERS, LOGITS, weight).numpy(), want, 1e-12)
    np.testing.assert_allclose(loss(NUMBERS[:, None], LOGITS, weight).numpy(), want, 1e-12)
    if reduction != "none":
        assert loss(np.full(N, 255), LOGITS, weight).item() == 0  # nothing counts


def test_classes_along_another_axis():
    labels, logits = RNG.integers(0, C, (2, 3, 4)), RNG.normal(size=(2, C, 3, 4))
    want = ref.sparse_categorical_crossentropy(labels, np.moveaxis(logits, 1, -1), True)
    got = losses.sparse_categorical_crossentropy(labels, logits, True, axis=1)
    np.testing.assert_allclose(got.numpy(), want, 1e-12)
    loss = losses.SparseCategoricalCrossentropy(True, axis=1, ignore_class=2)
    kept = labels != 2
    assert loss(labels, logits).item() == pytest.approx(want[kept].mean(), rel=1e-12)


# --- Objects, names, messages ---------------------------------------------------------------------

OBJECTS = {
    "BinaryFocalCrossentropy": (BITS, SIGMOID),
    "CategoricalFocalCrossentropy": (ONE_HOT, PROBS),
    "Hinge": (BITS, GUESS),
    "SquaredHinge": (BITS, GUESS),
    "CategoricalHinge": (ONE_HOT, GUESS),
    "KLDivergence": (PROBS, PROBS[::-1].copy()),
    "Poisson": (COUNTS, RATES),
    "CosineSimilarity": (REAL, GUESS),
    "LogCosh": (REAL, GUESS),
    "MeanAbsolutePercentageError": (REAL, GUESS),
    "MeanSquaredLogarithmicError": (COUNTS, RATES),
    "Dice": (BITS, SIGMOID),
    "Tversky": (BITS, SIGMOID),
}
FUNCTIONS = {
    "KLDivergence": "kl_divergence",
    "BinaryFocalCrossentropy": "binary_focal_crossentropy",
    "CategoricalFocalCrossentropy": "categorical_focal_crossentropy",
}


@pytest.mark.parametrize("name", OBJECTS)
def test_objects_weigh_and_reduce_their_functions(name):
    y, p = OBJECTS[name]
    snake = "".join(f"_{c.lower()}" if c.isupper() else c for c in name)[1:]
    each = losses.get(FUNCTIONS.get(name, snake))(y, p).numpy()
    loss = losses.get(name)
    assert loss(y, p).item() == pytest.approx(each.mean(), rel=1e-9)
    assert type(loss)(reduction="sum")(y, p).item() == pytest.approx(each.sum(), rel=1e-9)
    if each.ndim:  # one number for the batch has no weights
        weighed = type(loss)(reduction="none")(y, p, WEIGHTS).numpy()
        np.testing.assert_allclose(weighed, each * WEIGHTS, 1e-9)
        step = ost.compile(loss, dynamic_batch=True)
        for n in (N, 3, 0):
            want = loss(y[:n], p[:n]).item()
            assert step(y[:n], p[:n]).item() == pytest.approx(want, rel=1e-9, abs=1e-12)
        assert step.num_traces == 1


def test_options_reach_the_functions():
    for loss, fn, y, p, options in (
        (losses.BinaryFocalCrossentropy, losses.binary_focal_crossentropy, BITS, LOGITS,
         {"apply_class_balancing": True, "alpha": 0.4, "gamma": 1.0, "from_logits": True,
          "label_smoothing": 0.1, "axis": 0}),
        (losses.CategoricalFocalCrossentropy, losses.categorical_focal_crossentropy, ONE_HOT,
         LOGITS, {"alpha": 0.4, "gamma": 1.0, "from_logits": True, "label_smoothing": 0.1,
                  "axis": 0}),
        (losses.CosineSimilarity, losses.cosine_similarity, REAL, GUESS, {"axis": 0}),
        (losses.Dice, losses.dice, BITS, SIGMOID, {"axis": 1}),
        (losses.Tversky, losses.tversky, BITS, SIGMOID, {"alpha": 0.1, "beta": 0.7, "axis": 1}),
        (losses.BinaryCrossentropy, losses.binary_crossentropy, BITS, LOGITS,
         {"from_logits": True, "label_smoothing": 0.1, "axis": 0}),
        (losses.CategoricalCrossentropy, losses.categorical_crossentropy, ONE_HOT, LOGITS,
         {"from_logits": True, "label_smoothing": 0.1, "axis": 0}),
    ):  # fmt: skip
        got = loss(**options, reduction="none")(y, p).numpy()
        np.testing.assert_array_equal(got, fn(y, p, **options).numpy())


def test_keras_short_names():
    for short, fn in {
        "mse": losses.mean_squared_error,
        "MAE": losses.mean_absolute_error,
        "mape": losses.mean_absolute_percentage_error,
        "MSLE": losses.mean_squared_logarithmic_error,
        "bce": losses.binary_crossentropy,
        "KLD": losses.kl_divergence,
        "huber": losses.huber,
        "ctc": losses.ctc,
    }.items():
        assert losses.get(short) is fn
    own = losses.Huber(2.0)
    assert losses.get(own) is own and losses.get(None) is None
    assert isinstance(losses.get(losses.Dice), losses.Dice)


def test_an_unknown_loss_is_guessed():
    with pytest.raises(
        ValueError,
        match="loss 'mean_square_error' is not known; did you mean 'mean_squared_error'. Accepted: "
        r"binary_crossentropy, .* \[test_loss_families\.py:\d+\]",
    ):
        losses.get("mean_square_error")


@mistake(
    ValueError,
    "binary_focal_crossentropy: gamma -1 is not accepted; give a number of at least 0 {line}",
)
def negative_gamma() -> None:
    losses.binary_focal_crossentropy(BITS, SIGMOID, gamma=-1)  # <-


@mistake(
    ValueError,
    "dice: y_true has shape [7, 5], but y_pred has [7]; equal shapes are needed; give both one "
    "shape {line}",
)
def dice_shapes() -> None:
    losses.dice(BITS, SIGMOID[:, 0])  # <-


@pytest.mark.parametrize("fn, error, message", mistake.cases)
def test_messages(fn, error, message) -> None:
    check(fn, error, message)
