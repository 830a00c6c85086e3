# SPDX-License-Identifier: Apache-2.0
"""ostria.metrics against plain NumPy and scikit-learn: in batches, weighted, merged, compiled."""

from __future__ import annotations

import re

import numpy as np
import pytest
import reference_metrics as ref

import ostria as ost
from ostria import metrics

RNG = np.random.default_rng(1)
N, C = 53, 4
CLASSES = RNG.integers(0, C, N)
ONE_HOT = np.eye(C)[CLASSES]
SCORES = RNG.random((N, C))
BITS = RNG.integers(0, 2, N)
CHANCES = np.clip(0.3 * BITS + RNG.random(N) * 0.8, 0, 1).astype(np.float32)
REAL, GUESS = RNG.normal(size=(N, 3)), RNG.normal(size=(N, 3))
WEIGHTS = RNG.random(N)
PREDICTED = SCORES.argmax(-1)


def fbeta(**options):
    return lambda y, p, weight=None: ref.fbeta(y, p, **options, weight=weight)


def auc(**options):
    return lambda y, p, weight=None: ref.auc(y, p, **options, weight=weight)


ROWS = {
    "accuracy": (lambda: metrics.Accuracy(), ref.accuracy, CLASSES, PREDICTED),
    "binary": (lambda: metrics.BinaryAccuracy(), ref.binary_accuracy, BITS, CHANCES),
    "binary_columns": (lambda: metrics.BinaryAccuracy(), ref.binary_accuracy, ONE_HOT, SCORES),
    "categorical": (
        lambda: metrics.CategoricalAccuracy(),
        ref.categorical_accuracy,
        ONE_HOT,
        SCORES,
    ),
    "sparse": (
        lambda: metrics.SparseCategoricalAccuracy(),
        ref.sparse_categorical_accuracy,
        CLASSES,
        SCORES,
    ),
    "top_2": (
        lambda: metrics.SparseTopKCategoricalAccuracy(k=2),
        lambda y, p, weight=None: ref.sparse_top_k_categorical_accuracy(y, p, 2, weight),
        CLASSES,
        SCORES,
    ),
    "precision": (lambda: metrics.Precision(), ref.precision, BITS, CHANCES),
    "recall": (lambda: metrics.Recall(), ref.recall, BITS, CHANCES),
    "recall_0.3": (
        lambda: metrics.Recall(0.3),
        lambda y, p, weight=None: ref.recall(y, p, 0.3, weight),
        BITS,
        CHANCES,
    ),
    "f1": (lambda: metrics.F1Score(), fbeta(), ONE_HOT, SCORES),
    "f1_micro": (lambda: metrics.F1Score("micro"), fbeta(average="micro"), ONE_HOT, SCORES),
    "f1_macro": (lambda: metrics.F1Score("macro"), fbeta(average="macro"), ONE_HOT, SCORES),
    "fbeta_weighted": (
        lambda: metrics.FBetaScore("weighted", 2.0, 0.5),
        fbeta(average="weighted", beta=2.0, threshold=0.5),
        ONE_HOT,
        SCORES,
    ),
    "auc": (lambda: metrics.AUC(), auc(), BITS, CHANCES),
    "auc_pr": (lambda: metrics.AUC(curve="PR"), auc(curve="PR"), BITS, CHANCES),
    "auc_pr_major": (
        lambda: metrics.AUC(50, "PR", "majoring"),
        auc(num_thresholds=50, curve="PR", summation="majoring"),
        BITS,
        CHANCES,
    ),
    "auc_minor": (
        lambda: metrics.AUC(50, "ROC", "minoring"),
        auc(num_thresholds=50, summation="minoring"),
        BITS,
        CHANCES,
    ),
    "confusion": (
        lambda: metrics.ConfusionMatrix(C),
        lambda y, p, weight=None: ref.confusion_matrix(y, p, C, weight),
        CLASSES,
        PREDICTED,
    ),
    "mse": (lambda: metrics.MeanSquaredError(), ref.mean_squared_error, REAL, GUESS),
    "mae": (lambda: metrics.MeanAbsoluteError(), ref.mean_absolute_error, REAL, GUESS),
    "rmse": (lambda: metrics.RootMeanSquaredError(), ref.root_mean_squared_error, REAL, GUESS),
}
CUTS = [(0, 20), (20, 20), (20, 50), (50, N)]  # one batch is empty


@pytest.mark.parametrize("weight", [None, WEIGHTS], ids=["plain", "weighted"])
@pytest.mark.parametrize("name", ROWS)
def test_batches_add_up_to_the_reference(name, weight):
    make, reference, y, p = ROWS[name]
    want = reference(y, p, weight=weight)
    metric = make()
    assert np.all(metric.result().numpy() == 0)  # no data yet
    for a, b in CUTS:
        metric.update_state(y[a:b], p[a:b], None if weight is None else weight[a:b])
    np.testing.assert_allclose(metric.result().numpy(), want, 1e-9, 1e-12)
    metric.reset_state()
    assert np.all(metric.result().numpy() == 0)
    metric.update_state(y, p, weight)
    np.testing.assert_allclose(metric.result().numpy(), want, 1e-9, 1e-12)


@pytest.mark.parametrize("name", ROWS)
def test_compiled_updates_are_the_eager_ones(name):
    make, reference, y, p = ROWS[name]
    metric = make()

    @ost.compile(dynamic_batch=True)
    def update(labels, scores, weight):
        metric.update_state(labels, scores, weight)

    for a, b in CUTS:
        update(y[a:b], p[a:b], WEIGHTS[a:b])
    assert update.num_traces == 1
    want = reference(y, p, weight=WEIGHTS)
    np.testing.assert_allclose(metric.result().numpy(), want, 1e-9, 1e-12)
    result = ost.compile(metric.result)
    np.testing.assert_allclose(result().numpy(), want, 1e-9, 1e-12)


@pytest.mark.parametrize("name", ROWS)
def test_merging_is_seeing_all_data(name):
    make, reference, y, p = ROWS[name]
    parts = [make() for _ in CUTS]
    for part, (a, b) in zip(parts, CUTS, strict=True):
        if b > a:
            part.update_state(y[a:b], p[a:b], WEIGHTS[a:b])
    total = make()
    total.merge_state(parts)
    want = reference(y, p, weight=WEIGHTS)
    np.testing.assert_allclose(total.result().numpy(), want, 1e-9, 1e-12)


def test_metrics_of_other_options_do_not_merge():
    with pytest.raises(
        ValueError, match=r"cannot merge Precision\(thresholds=\(0.5,\), .*both must have"
    ):
        metrics.Precision(0.25).merge_state([metrics.Precision()])
    with pytest.raises(ValueError, match=r"cannot merge Sum\(\) into Mean\(\)"):
        metrics.Mean().merge_state([metrics.Sum()])


def test_mean_and_sum_of_values():
    values, weight = RNG.random((6, 2)), RNG.random(6)
    mean, total = metrics.Mean(), metrics.Sum()
    for metric in (mean, total):
        metric.update_state(values, weight)
        metric.update_state(3.0)
    rows = values.mean(1)
    assert mean.result().item() == pytest.approx(((rows * weight).sum() + 3) / (weight.sum() + 1))
    assert total.result().item() == pytest.approx((values * weight[:, None]).sum() + 3)
    each = metrics.Mean()
    element_weights = RNG.random((6, 2))
    each.update_state(values, element_weights)
    assert each.result().item() == pytest.approx(np.average(values, weights=element_weights))


def test_counts_do_not_stop_at_float32():
    metric = metrics.Mean()
    metric.update_state(0.0, 2.0**24)
    metric.update_state(np.ones(1), np.ones(1))
    assert metric.count.numpy() == 2**24 + 1


def test_goldens_of_keras():
    metric = metrics.AUC(num_thresholds=3)
    y, p = [0, 0, 1, 1], np.array([0, 0.5, 0.3, 0.9], np.float32)
    assert metric(y, p).item() == pytest.approx(0.75, abs=1e-6)
    metric.reset_state()
    assert metric(y, p, [1, 0, 0, 1]).item() == pytest.approx(1.0, abs=1e-6)
    score = metrics.FBetaScore(beta=2.0, threshold=0.5)
    y = np.array([[1, 1, 1], [1, 0, 0], [1, 1, 0]])
    p = np.array([[0.2, 0.6, 0.7], [0.2, 0.6, 0.6], [0.6, 0.8, 0.0]], np.float32)
    np.testing.assert_allclose(score(y, p).numpy(), [0.3846154, 0.90909094, 0.8333334], 1e-6)


def test_auc_of_given_thresholds_and_logits():
    inner = [0.7, 0.2, 0.4]
    metric = metrics.AUC(thresholds=inner, from_logits=True)
    assert metric.thresholds[1:-1] == (0.2, 0.4, 0.7)
    logits = np.log(CHANCES.astype(np.float64) + 1e-3)
    scores = 1 / (1 + np.exp(-logits))
    tp = [(BITS * (scores > t)).sum() for t in metric.thresholds]
    fp = [((1 - BITS) * (scores > t)).sum() for t in metric.thresholds]
    want = -np.trapezoid(np.array(tp) / BITS.sum(), np.array(fp) / (N - BITS.sum()))
    assert metric(BITS, logits).item() == pytest.approx(want, rel=1e-12)


def test_thresholds_top_k_and_class_id():
    several = metrics.Precision([0.2, 0.5, 0.8])
    want = [ref.precision(BITS, CHANCES, t) for t in (0.2, 0.5, 0.8)]
    np.testing.assert_allclose(several(BITS, CHANCES).numpy(), want)
    hits = (np.argsort(np.argsort(-SCORES)) < 2) * ONE_HOT
    recall = metrics.Recall(top_k=2)(ONE_HOT, SCORES).item()
    assert recall == pytest.approx(hits.sum() / N)
    assert metrics.Precision(top_k=2)(ONE_HOT, SCORES).item() == pytest.approx(hits.sum() / (2 * N))
    column = metrics.Recall(class_id=2)(ONE_HOT, SCORES).item()
    assert column == pytest.approx(ref.recall(ONE_HOT[:, 2], SCORES[:, 2]))


def test_equal_scores_are_ranked_by_index():
    y = np.arange(4)
    constant = np.zeros((4, 4), np.float32)
    for k in (1, 2, 4):
        metric = metrics.SparseTopKCategoricalAccuracy(k)
        assert metric(y, constant).item() == k / 4  # not 1, although the scores tie with the first
    nan = np.full((4, 4), np.nan, np.float32)
    assert metrics.SparseTopKCategoricalAccuracy(4)(y, nan).item() == 0
    outside = metrics.SparseTopKCategoricalAccuracy(4)(np.array([4, -1, 7, 5]), constant)
    assert outside.item() == 0


def test_confusion_matrix_of_scores_and_its_range():
    metric = metrics.ConfusionMatrix(C)
    want = ref.confusion_matrix(CLASSES, PREDICTED, C)
    np.testing.assert_array_equal(metric(CLASSES, SCORES).numpy(), want)
    for y, p in ((C, 0), (-1, 0), (0, C), (0, -1)):
        with pytest.raises(IndexError, match="out of range"):
            metric.update_state(np.array([y]), np.array([p]))
    np.testing.assert_array_equal(metric.result().numpy(), want)


def test_scikit_learn_agrees():
    sk = pytest.importorskip("sklearn.metrics")
    f1 = metrics.F1Score("macro")(ONE_HOT, SCORES).item()
    assert f1 == pytest.approx(sk.f1_score(CLASSES, PREDICTED, average="macro"), abs=1e-6)
    for curve, score in (("ROC", sk.roc_auc_score), ("PR", sk.average_precision_score)):
        ours = metrics.AUC(4000, curve)(BITS, CHANCES, WEIGHTS).item()
        assert ours == pytest.approx(score(BITS, CHANCES, sample_weight=WEIGHTS), abs=0.02), curve
    roc = metrics.AUC(4000)(BITS, CHANCES, WEIGHTS).item()
    assert roc == pytest.approx(sk.roc_auc_score(BITS, CHANCES, sample_weight=WEIGHTS), abs=1e-3)
    for ours, theirs in (
        (metrics.Precision, sk.precision_score),
        (metrics.Recall, sk.recall_score),
    ):
        want = theirs(BITS, CHANCES > 0.5, sample_weight=WEIGHTS)
        assert ours()(BITS, CHANCES, WEIGHTS).item() == pytest.approx(want)
    matrix = metrics.ConfusionMatrix(C)(CLASSES, SCORES, WEIGHTS).numpy()
    np.testing.assert_allclose(
        matrix, sk.confusion_matrix(CLASSES, PREDICTED, sample_weight=WEIGHTS)
    )


def test_names_are_stable():
    metric = metrics.SparseCategoricalAccuracy()
    assert [v.name for v in metric.variables] == [
        "metrics/sparse_categorical_accuracy/total",
        "metrics/sparse_categorical_accuracy/count",
    ]
    assert metrics.AUC(name="area").variables[0].name == "metrics/area/positives"
    assert metrics.F1Score().name == "f1_score" and metrics.AUC().name == "auc"
    assert not any(v.trainable for v in metric.variables)
    assert {v.dtype for v in metric.variables} == {ost.float64}


def test_state_made_while_tracing_is_kept():
    metric = metrics.F1Score("macro")
    update = ost.compile(metric.update_state)
    update(ONE_HOT, SCORES)
    update(ONE_HOT, SCORES)
    assert metric.variables[-1].numpy().sum() == 2 * N
    assert metric.result().item() == pytest.approx(ref.f1(ONE_HOT, SCORES, average="macro"))


ERRORS = [
    (lambda: metrics.AUC(curve="roc"), ValueError,
     "auc: curve 'roc' is not known; accepted are ROC, PR"),
    (lambda: metrics.AUC(num_thresholds=1), ValueError,
     "auc: num_thresholds 1 is not accepted; give at least 2"),
    (lambda: metrics.AUC(num_threshold=5), TypeError,
     "AUC: unknown keyword 'num_threshold'; did you mean 'num_thresholds'? Accepted: "
     "num_thresholds, curve, summation_method, name, thresholds, from_logits."),
    (lambda: metrics.BinaryAccuracy()(np.zeros(3), np.zeros((3, 1))), ValueError,
     "binary_accuracy: y_true has shape [3], but y_pred has [3, 1]; equal shapes are needed; use "
     "y_pred[..., 0], or ost.expand_dims(y_true, axis=-1); left alone they would broadcast against "
     "each other"),
    (lambda: metrics.Precision(1.5), ValueError, "precision: thresholds [1.5] must be in [0, 1]"),
    (lambda: metrics.Recall(class_id=4)(ONE_HOT, SCORES), ValueError,
     "recall: class_id 4 is out of range for 4 classes"),
    (lambda: metrics.F1Score()(BITS, CHANCES), ValueError,
     "f1_score: y_pred has shape [53], but [N, classes] is needed; use ost.expand_dims(y_pred, "
     "axis=-1) for one class"),
    (lambda: metrics.SparseTopKCategoricalAccuracy(k=0), ValueError,
     "sparse_top_k_categorical_accuracy: k 0 is not accepted; give a positive integer"),
    (lambda: metrics.Mean()(np.zeros(3), np.zeros(2)), ValueError,
     "mean: sample_weight has shape [2], but the values it weighs have [3]; give one weight per "
     "example, shape [3], or a scalar"),
]  # fmt: skip


@pytest.mark.parametrize("call, kind, message", ERRORS)
def test_messages(call, kind, message):
    with pytest.raises(kind) as caught:
        call()
    assert re.fullmatch(re.escape(message) + r" \[test_metrics\.py:\d+\]", str(caught.value))
