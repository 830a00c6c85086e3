# SPDX-License-Identifier: Apache-2.0
"""Metrics that are means of losses, R2Score and metrics by name: values, weights, merging."""

from __future__ import annotations

import numpy as np
import pytest
from mistakes import Mistakes, check

import ostria as ost
from ostria import losses, metrics

RNG = np.random.default_rng(0)
N, C = 11, 4
REAL, GUESS = RNG.normal(size=(N, C)), RNG.normal(size=(N, C))
PROBS = np.exp(GUESS) / np.exp(GUESS).sum(-1, keepdims=True)
CLASSES = RNG.integers(0, C, N)
ONE_HOT = np.eye(C)[CLASSES]
BITS = RNG.integers(0, 2, (N, C))
COUNTS, RATES = RNG.integers(0, 5, (N, C)), RNG.uniform(0.2, 4, (N, C))
WEIGHTS = RNG.random(N)
mistake = Mistakes()

ROWS = {
    "mape": (metrics.MeanAbsolutePercentageError, losses.mean_absolute_percentage_error,
             REAL, GUESS, {}),
    "msle": (metrics.MeanSquaredLogarithmicError, losses.mean_squared_logarithmic_error,
             COUNTS, RATES, {}),
    "log_cosh": (metrics.LogCoshError, losses.log_cosh, REAL, GUESS, {}),
    "poisson": (metrics.Poisson, losses.poisson, COUNTS, RATES, {}),
    "kld": (metrics.KLDivergence, losses.kl_divergence, PROBS[::-1].copy(), PROBS, {}),
    "hinge": (metrics.Hinge, losses.hinge, 2 * BITS - 1, GUESS, {}),
    "squared_hinge": (metrics.SquaredHinge, losses.squared_hinge, 2 * BITS - 1, GUESS, {}),
    "class_hinge": (metrics.CategoricalHinge, losses.categorical_hinge, ONE_HOT, GUESS, {}),
    "binary": (metrics.BinaryCrossentropy, losses.binary_crossentropy, BITS, GUESS,
               {"from_logits": True, "label_smoothing": 0.2}),
    "classes": (metrics.CategoricalCrossentropy, losses.categorical_crossentropy, ONE_HOT, GUESS,
                {"from_logits": True, "label_smoothing": 0.2}),
    "sparse": (metrics.SparseCategoricalCrossentropy, losses.sparse_categorical_crossentropy,
               CLASSES, PROBS, {"from_logits": False}),
}  # fmt: skip


@pytest.mark.parametrize("name", ROWS)
def test_means_of_losses(name):
    kind, fn, y, p, options = ROWS[name]
    each = fn(y, p, **options).numpy()
    whole, parts = kind(**options), [kind(**options), kind(**options)]
    step = ost.compile(whole.update_state, dynamic_batch=True)
    for rows in (slice(0, 4), slice(4, N), slice(N, N)):
        step(y[rows], p[rows])
        parts[rows.start == 4].update_state(y[rows], p[rows])
    assert whole.result().item() == pytest.approx(each.mean(), rel=1e-9)
    parts[0].merge_state([parts[1]])
    assert parts[0].result().item() == pytest.approx(each.mean(), rel=1e-9)
    want = (each * WEIGHTS).sum() / WEIGHTS.sum()
    assert kind(**options)(y, p, WEIGHTS).item() == pytest.approx(want, rel=1e-9)
    assert kind(**options).result().item() == 0


def test_cosines_are_1_for_one_direction():
    cosines = np.sum(REAL * GUESS, -1) / np.linalg.norm(REAL, axis=-1)
    cosines /= np.linalg.norm(GUESS, axis=-1)
    got = metrics.CosineSimilarity()(REAL, GUESS).item()
    assert got == pytest.approx(cosines.mean(), rel=1e-9)
    assert metrics.CosineSimilarity(axis=0)(REAL, 2 * REAL).item() == pytest.approx(1)


def test_an_ignored_class_does_not_count():
    each = losses.sparse_categorical_crossentropy(CLASSES, GUESS, True).numpy()
    kept = CLASSES != 2
    assert 0 < kept.sum() < N
    metric = metrics.SparseCategoricalCrossentropy(from_logits=True, ignore_class=2)
    assert metric(CLASSES, GUESS).item() == pytest.approx(each[kept].mean(), rel=1e-9)
    metric.reset_state()
    want = (each * WEIGHTS)[kept].sum() / WEIGHTS[kept].sum()
    assert metric(CLASSES[:, None], GUESS, WEIGHTS).item() == pytest.approx(want, rel=1e-9)


def test_other_options_do_not_merge():
    with pytest.raises(ValueError, match="cannot merge"):
        metrics.CosineSimilarity(axis=0).merge_state([metrics.CosineSimilarity()])
    with pytest.raises(ValueError, match="cannot merge"):
        metrics.R2Score(None).merge_state([metrics.R2Score()])


# --- R2Score --------------------------------------------------------------------------------------

Y = RNG.normal(size=(N, 3)) * [1, 2, 5] + [0, 10, -3]
P = Y + RNG.normal(size=(N, 3))


def r2(y, p, weight=None):
    w = np.ones((len(y), 1)) if weight is None else weight[:, None]
    mean = (w * y).sum(0) / w.sum()
    spread = (w * (y - mean) ** 2).sum(0)
    return 1 - (w * (y - p) ** 2).sum(0) / spread, spread


@pytest.mark.parametrize("weight", [None, WEIGHTS])
def test_r2_of_several_outputs(weight):
    scores, spread = r2(Y, P, weight)
    for aggregation, want in {
        None: scores,
        "uniform_average": scores.mean(),
        "variance_weighted_average": (scores * spread).sum() / spread.sum(),
    }.items():
        got = metrics.R2Score(aggregation)(Y, P, weight).numpy()
        np.testing.assert_allclose(got, want, 1e-10)


def test_r2_adds_up_and_merges():
    whole, parts = metrics.R2Score(), [metrics.R2Score(), metrics.R2Score()]
    step = ost.compile(whole.update_state, dynamic_batch=True)
    for rows in (slice(0, 4), slice(4, N), slice(N, N)):
        step(Y[rows], P[rows])
        parts[rows.start == 4].update_state(Y[rows], P[rows])
    empty = metrics.R2Score()
    empty.merge_state(parts)
    want = r2(Y, P)[0].mean()
    assert whole.result().item() == pytest.approx(want, rel=1e-10)
    assert empty.result().item() == pytest.approx(want, rel=1e-10)
    whole.reset_state()
    assert whole.result().item() == 0


def test_adjusted_r2():
    plain = r2(Y[:, :1], P[:, :1])[0][0]
    got = metrics.R2Score(num_regressors=2)(Y[:, :1], P[:, :1]).item()
    assert got == pytest.approx(1 - (1 - plain) * (N - 1) / (N - 3), rel=1e-10)
    for few in (N - 1, N + 5):  # no more examples than regressors + 1: the plain score
        got = metrics.R2Score(num_regressors=few)(Y[:, :1], P[:, :1]).item()
        assert got == pytest.approx(plain, rel=1e-10)


def test_an_output_that_never_varies_scores_0():
    assert metrics.R2Score()(np.full((9, 1), 0.1), np.full((9, 1), 0.3)).item() == 0
    assert metrics.R2Score().result().item() == 0


# --- By name --------------------------------------------------------------------------------------


def test_names():
    for name, kind in {
        "mse": metrics.MeanSquaredError,
        "MAPE": metrics.MeanAbsolutePercentageError,
        "mean_squared_logarithmic_error": metrics.MeanSquaredLogarithmicError,
        "kl_divergence": metrics.KLDivergence,
        "KLD": metrics.KLDivergence,
        "logcosh": metrics.LogCoshError,
        "accuracy": metrics.Accuracy,
        "acc": metrics.Accuracy,
        "AUC": metrics.AUC,
        "sparse_categorical_accuracy": metrics.SparseCategoricalAccuracy,
        "R2Score": metrics.R2Score,
        "cosine_similarity": metrics.CosineSimilarity,
    }.items():
        assert type(metrics.get(name)) is kind
    assert metrics.get("mse") is not metrics.get("mse")
    own = metrics.Mean()
    assert metrics.get(own) is own and metrics.get(None) is None
    assert isinstance(metrics.get(metrics.Sum), metrics.Sum)


def test_an_unknown_metric_is_guessed():
    with pytest.raises(ValueError, match="metric 'mean_square_error' is not known; did you mean "
                       r"'MeanSquaredError'. .* \[test_loss_metrics\.py:\d+\]"):  # fmt: skip
        metrics.get("mean_square_error")


@mistake(
    TypeError,
    "metrics.get: 3 is not accepted; give a name such as 'mse', or an object of ost.metrics {line}",
)
def no_metric() -> None:
    metrics.get(3)  # <-


@mistake(
    ValueError,
    "r2_score: class_aggregation 'uniform_averag' is not known; did you mean "
    "'uniform_average'? Accepted: uniform_average, variance_weighted_average, None. {line}",
)
def r2_aggregation() -> None:
    metrics.R2Score("uniform_averag")  # <-


@mistake(
    ValueError,
    "r2_score: num_regressors -1 is not accepted; give an integer that is not negative {line}",
)
def r2_regressors() -> None:
    metrics.R2Score(num_regressors=-1)  # <-


@mistake(
    ValueError,
    "r2_score: y_pred has shape [11], but [examples, outputs] is needed; use "
    "ost.expand_dims(x, axis=-1) for one output {line}",
)
def r2_of_vectors() -> None:
    metrics.R2Score()(Y[:, 0], P[:, 0])  # <-


@pytest.mark.parametrize("fn, error, message", mistake.cases)
def test_messages(fn, error, message) -> None:
    check(fn, error, message)
