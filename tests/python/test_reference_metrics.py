# SPDX-License-Identifier: Apache-2.0
"""The NumPy references themselves: published worked examples, and scikit-learn where it agrees."""

import numpy as np
import pytest
import reference_losses as losses
import reference_metrics as ref

Y, P = [0, 0, 1, 1], [0, 0.5, 0.3, 0.9]


def test_auc_worked_examples():
    assert ref.auc(Y, P, num_thresholds=3) == pytest.approx(0.75)
    assert ref.auc(Y, P, num_thresholds=3, weight=[1, 0, 0, 1]) == pytest.approx(1.0)


def test_auc_thresholds():
    thresholds = ref.auc_thresholds()
    assert len(thresholds) == 200
    assert (thresholds[0], thresholds[-1]) == (-1e-7, 1 + 1e-7)
    assert thresholds[1] == pytest.approx(1 / 199)
    assert ref.auc_thresholds(3).tolist() == [-1e-7, 0.5, 1 + 1e-7]


def test_fbeta_worked_example():
    y = [[1, 1, 1], [1, 0, 0], [1, 1, 0]]
    p = [[0.2, 0.6, 0.7], [0.2, 0.6, 0.6], [0.6, 0.8, 0.0]]
    want = [0.3846154, 0.90909094, 0.8333334]
    assert ref.fbeta(y, p, beta=2.0, threshold=0.5) == pytest.approx(want, rel=1e-6)


def test_thresholds_are_exclusive_and_empty_is_zero():
    assert ref.precision([1], [0.5]) == 0.0
    assert ref.recall([1], [0.5]) == 0.0
    assert ref.binary_accuracy([0], [0.5]) == 1.0
    assert ref.mean([]) == 0.0
    assert ref.auc([1, 1], [0.2, 0.9]) == 0.0  # no negatives: no false positive rate


def test_top_k_ranks_ties_by_index():
    top_k = ref.sparse_top_k_categorical_accuracy
    scores = [[0.1, 0.7, 0.7, 0.2], [0.4, 0.3, 0.2, 0.1], [np.nan, 1, 1, 1]]
    assert top_k([1, 3, 0], scores, k=1) == pytest.approx(1 / 3)
    assert top_k([2, 3, 0], scores, k=1) == 0
    assert top_k([2, 3, 0], scores, k=2) == pytest.approx(1 / 3)
    assert top_k([3, 2, 0], scores, k=3) == pytest.approx(2 / 3)


def test_rmse_is_the_root_of_the_weighted_mean():
    assert ref.root_mean_squared_error([[0.0], [0.0]], [[3.0], [5.0]], [1, 3]) == pytest.approx(
        np.sqrt((9 + 75) / 4)
    )


@pytest.mark.parametrize("weighted", [False, True])
def test_metrics_against_scikit_learn(weighted):
    sk = pytest.importorskip("sklearn.metrics")
    rng = np.random.default_rng(3)
    y = rng.integers(0, 2, 500)
    score = np.round(1 / (1 + np.exp(-(2 * y - 1 + rng.normal(size=500)))), 2)
    w = rng.random(500) if weighted else None
    near = dict(rel=1e-12)
    assert ref.precision(y, score, weight=w) == pytest.approx(
        sk.precision_score(y, score > 0.5, sample_weight=w), **near
    )
    assert ref.recall(y, score, weight=w) == pytest.approx(
        sk.recall_score(y, score > 0.5, sample_weight=w), **near
    )
    # Scores lie on a grid coarser than the thresholds, so the sum over thresholds is exact.
    exact = sk.roc_auc_score(y, score, sample_weight=w)
    assert ref.auc(y, score, weight=w) == pytest.approx(exact, abs=1e-9)
    low, mid, high = (
        ref.auc(y, score, curve="PR", summation=s, weight=w)
        for s in ("minoring", "interpolation", "majoring")
    )
    assert low < mid < high
    assert mid == pytest.approx(sk.average_precision_score(y, score, sample_weight=w), abs=0.01)
    classes = rng.integers(0, 4, 500)
    scores = rng.random((500, 4)) + np.eye(4)[classes] * 0.3
    guess = scores.argmax(axis=1)
    np.testing.assert_allclose(
        ref.confusion_matrix(classes, guess, 4, w),
        sk.confusion_matrix(classes, guess, sample_weight=w),
        rtol=1e-12,
    )
    assert ref.sparse_categorical_accuracy(classes, scores, w) == pytest.approx(
        sk.accuracy_score(classes, guess, sample_weight=w), **near
    )
    for average in (None, "micro", "macro", "weighted"):
        assert ref.f1(np.eye(4)[classes], scores, average=average, weight=w) == pytest.approx(
            sk.f1_score(classes, guess, average=average, sample_weight=w), rel=1e-6
        )
    assert ref.sparse_top_k_categorical_accuracy(classes, scores, 2, w) == pytest.approx(
        sk.top_k_accuracy_score(classes, scores, k=2, sample_weight=w), **near
    )
    a, b = rng.normal(size=(2, 500, 3))
    assert ref.mean_squared_error(a, b, w) == pytest.approx(
        sk.mean_squared_error(a, b, sample_weight=w), **near
    )
    assert ref.mean_absolute_error(a, b, w) == pytest.approx(
        sk.mean_absolute_error(a, b, sample_weight=w), **near
    )


# --- losses -------------------------------------------------------------------------------------

ONE_HOT, PROBABILITIES = [[0, 1, 0], [0, 0, 1]], [[0.05, 0.95, 0], [0.1, 0.8, 0.1]]


def test_loss_worked_examples():
    bce = losses.binary_crossentropy([0, 1, 0, 0], [-18.6, 0.51, 2.94, -12.8], from_logits=True)
    assert bce == pytest.approx(0.865, abs=5e-4)
    for per_example in (
        losses.categorical_crossentropy(ONE_HOT, PROBABILITIES),
        losses.sparse_categorical_crossentropy([1, 2], PROBABILITIES),
    ):
        assert per_example == pytest.approx([0.0513, 2.303], abs=5e-4)
        assert losses.reduce(per_example) == pytest.approx(1.177, abs=5e-4)
        assert losses.reduce(per_example, [0.3, 0.7]) == pytest.approx(0.814, abs=5e-4)
        assert losses.reduce(per_example, reduction="sum") == pytest.approx(2.354, abs=5e-4)
    y, p = [[0, 1], [0, 0]], [[0.6, 0.4], [0.4, 0.6]]
    assert losses.reduce(losses.huber(y, p)) == pytest.approx(0.155)
    assert losses.reduce(losses.huber(y, p), [1, 0]) == pytest.approx(0.09)
    assert losses.huber([[0.0, 0.0]], [[3.0, -0.25]], delta=0.5) == pytest.approx(
        [(0.5 * 3 - 0.125 + 0.03125) / 2]
    )
    assert losses.reduce(losses.mse(y, [[1, 1], [1, 0]])) == pytest.approx(0.5)
    assert losses.reduce(losses.mae(y, [[1, 1], [1, 0]])) == pytest.approx(0.5)


def test_losses_agree_with_each_other():
    rng = np.random.default_rng(1)
    logits, y = rng.normal(size=(50, 6)) * 3, rng.integers(0, 6, 50)
    p = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    want = losses.sparse_categorical_crossentropy(y, p)
    for got in (
        losses.sparse_categorical_crossentropy(y, logits, from_logits=True),
        losses.categorical_crossentropy(np.eye(6)[y], logits, from_logits=True),
    ):
        np.testing.assert_allclose(got, want, rtol=1e-9)
    z = rng.normal(size=(50, 1))
    np.testing.assert_allclose(
        losses.binary_crossentropy(y[:, None] > 2, z, from_logits=True),
        losses.binary_crossentropy(y[:, None] > 2, 1 / (1 + np.exp(-z))),
        rtol=1e-9,
    )
    np.testing.assert_allclose(
        losses.huber(z, 0 * z, delta=1e9), losses.mse(z, 0 * z) / 2, rtol=1e-12
    )


def test_ignored_examples_cost_nothing_and_count():
    per_example = losses.sparse_categorical_crossentropy([1, -1], PROBABILITIES, ignore_class=-1)
    assert per_example[1] == 0
    assert losses.reduce(per_example) == pytest.approx(per_example[0] / 2)


def test_label_smoothing():
    smooth = losses.categorical_crossentropy(ONE_HOT, PROBABILITIES, label_smoothing=0.3)
    log_p = np.log(np.clip(PROBABILITIES, 1e-7, 1))
    np.testing.assert_allclose(smooth, -(log_p * (np.array(ONE_HOT) * 0.7 + 0.1)).sum(1), rtol=1e-6)


def test_reductions():
    values, weight = [1.0, 3.0], [2.0, 0.0]
    assert losses.reduce(values, weight) == 1.0
    assert losses.reduce(values, weight, "mean_with_sample_weight") == 1.0
    assert losses.reduce(values, [1.0, 3.0], "mean_with_sample_weight") == 2.5
    assert losses.reduce(values, weight, "none").tolist() == [2.0, 0.0]
    assert losses.reduce([]) == 0.0
