# SPDX-License-Identifier: Apache-2.0
"""The classification report: numbers against scikit-learn, text and errors word for word."""

import json
import math

import numpy as np
import pytest

from ostria.diagnose import ClassificationReport, classification_report

LABELS = [0, 0, 0, 1, 1, 2]
PREDICTIONS = [0, 0, 1, 1, 0, 2]
NAMES = ["cat", "dog", "emu"]

TEXT = """\
accuracy  0.6667  (6 examples, 95 % interval 0.3000 to 0.9032)
baseline  0.5000  (always 'cat', the most frequent class)

class             precision  recall      f1  support
----------------------------------------------------
cat                  0.6667  0.6667  0.6667        3
dog                  0.5000  0.5000  0.5000        2
emu                  1.0000  1.0000  1.0000        1
----------------------------------------------------
macro average        0.7222  0.7222  0.7222        6
weighted average     0.6667  0.6667  0.6667        6

most frequent mistakes:
  'cat' taken for 'dog': 1 (33.3 % of its examples)
  'dog' taken for 'cat': 1 (50.0 % of its examples)"""


def message(error, *args, **kwargs):
    with pytest.raises(error) as caught:
        classification_report(*args, **kwargs)
    return str(caught.value)


def test_the_text():
    report = classification_report(LABELS, PREDICTIONS, class_names=NAMES)
    assert report.text == TEXT
    assert str(report) == TEXT


def test_the_dict_is_json():
    report = classification_report(LABELS, PREDICTIONS, class_names=NAMES)
    values = json.loads(json.dumps(report.to_dict(), allow_nan=False))
    assert values["accuracy"] == pytest.approx(4 / 6)
    assert values["baseline_accuracy"] == 0.5
    assert values["baseline_class"] == "cat"
    assert values["examples"] == 6
    assert values["classes"][1] == {
        "name": "dog",
        "precision": 0.5,
        "recall": 0.5,
        "f1": 0.5,
        "support": 2,
    }
    assert values["macro_average"]["f1"] == pytest.approx((2 / 3 + 0.5 + 1) / 3)
    assert values["confusion_matrix"] == [[2, 1, 0], [1, 1, 0], [0, 0, 1]]


def test_a_confusion_matrix_gives_the_same():
    report = classification_report(confusion_matrix=[[2, 1, 0], [1, 1, 0], [0, 0, 1]])
    again = classification_report(LABELS, PREDICTIONS)
    assert report.to_dict() == again.to_dict()
    assert report.class_names == ("0", "1", "2")


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("from_scores", [False, True])
def test_against_scikit_learn(weighted, from_scores):
    metrics = pytest.importorskip("sklearn.metrics")
    rng = np.random.default_rng(7)
    classes, count = 5, 371
    y = rng.choice(classes, count, p=[0.4, 0.3, 0.2, 0.06, 0.04])
    scores = np.round(rng.normal(size=(count, classes)) + 1.2 * np.eye(classes)[y], 1)  # with ties
    p = scores.argmax(axis=1)
    weight = rng.random(count) * 3 if weighted else None
    report = classification_report(y, scores if from_scores else p, sample_weight=weight)
    want = metrics.classification_report(
        y, p, labels=range(classes), sample_weight=weight, output_dict=True, zero_division=0
    )
    got = report.to_dict()
    assert got["accuracy"] == pytest.approx(want["accuracy"], rel=1e-12)
    for i, row in enumerate(got["classes"]):
        for mine, theirs in (
            ("precision", "precision"),
            ("recall", "recall"),
            ("f1", "f1-score"),
            ("support", "support"),
        ):
            assert row[mine] == pytest.approx(want[str(i)][theirs], rel=1e-12)
    for mine, theirs in (("macro_average", "macro avg"), ("weighted_average", "weighted avg")):
        for key, other in (("precision", "precision"), ("recall", "recall"), ("f1", "f1-score")):
            assert got[mine][key] == pytest.approx(want[theirs][other], rel=1e-12)
    np.testing.assert_allclose(
        report.confusion_matrix, metrics.confusion_matrix(y, p, sample_weight=weight), rtol=1e-12
    )
    assert (report.auc is not None) == from_scores
    if from_scores:
        for c in range(classes):
            auc = metrics.roc_auc_score(y == c, scores[:, c], sample_weight=weight)
            assert report.auc[c] == pytest.approx(auc, rel=1e-12)
            assert got["classes"][c]["auc"] == report.auc[c]
        assert report.text.splitlines()[3].endswith("support     auc")


def test_the_baseline_is_the_most_frequent_true_class():
    report = classification_report([0] * 9 + [1], [0] * 10)
    assert (report.accuracy, report.baseline_accuracy, report.baseline_class) == (0.9, 0.9, 0)
    assert report.text.endswith("never predicted (precision counts as 0): 1")
    assert report.macro_average["recall"] == 0.5
    assert report.weighted_average["recall"] == 0.9


def test_absent_classes_count_as_zero_and_are_named():
    report = classification_report([0, 1], [0, 1], class_names=NAMES)
    assert report.recall.tolist() == [1, 1, 0]
    assert report.macro_average["f1"] == pytest.approx(2 / 3)
    assert "without examples (recall and F1 count as 0): emu" in report.text


def test_most_confused_is_ordered_and_leaves_out_zeros():
    report = classification_report(confusion_matrix=[[5, 1, 7], [0, 5, 2], [0, 0, 5]])
    assert report.most_confused() == [(0, 2, 7), (1, 2, 2), (0, 1, 1)]
    assert report.most_confused(1) == [(0, 2, 7)]
    assert classification_report([0, 1], [0, 1]).most_confused() == []


def test_the_interval_at_the_borders():
    low, high = classification_report([0] * 10, [0] * 10).accuracy_interval
    # Wilson's interval for 10 of 10: n / (n + z^2) to 1.
    assert low == pytest.approx(10 / (10 + 1.959963984540054**2))
    assert high == pytest.approx(1.0)
    assert classification_report([0], [0], sample_weight=[2.0]).accuracy_interval is None


def test_without_examples():
    report = classification_report([], [], class_names=NAMES)
    assert math.isnan(report.accuracy)
    assert report.to_dict()["accuracy"] is None
    assert "accuracy  nan  (0 examples)" in report.text
    assert message(ValueError, [], []).startswith(
        "classification_report: no examples and no class names: nothing to report; give "
    )


def test_bool_labels_and_weights():
    report = classification_report(
        np.array([True, False]), np.array([True, True]), sample_weight=[1.5, 0.25]
    )
    assert report.confusion_matrix.tolist() == [[0, 0.25], [0, 1.5]]
    assert "1.75 examples" in report.text
    assert isinstance(report, ClassificationReport)


@pytest.mark.parametrize(
    ("error", "kwargs", "text"),
    [
        (TypeError, {"labels": [0]}, "give labels and predictions, or confusion_matrix="),
        (
            TypeError,
            {"labels": [0], "confusion_matrix": [[1]]},
            "or confusion_matrix, not both",
        ),
        (TypeError, {"lables": [0]}, "unknown keyword 'lables'; did you mean 'labels'?"),
        (
            ValueError,
            {"labels": [0, 1], "predictions": [0]},
            "2 labels but 1 predictions; they must match: ",
        ),
        (
            ValueError,
            {"labels": [[1, 0]], "predictions": [0]},
            "labels must have shape [N]; given [1, 2]; turn one-hot labels into ids with",
        ),
        (
            TypeError,
            {"labels": [0], "predictions": [0.7]},
            "predictions must be integer class ids; given float64. Scores have shape [N, C]; a",
        ),
        (ValueError, {"labels": [-1], "predictions": [0]}, "labels hold the class id -1; ids are"),
        (
            ValueError,
            {"labels": [3], "predictions": [0], "class_names": NAMES},
            "class id 3 is out of range for 3 classes (the class names); ids are 0 to 2",
        ),
        (
            ValueError,
            {"labels": [2], "predictions": [[0.1, 0.9]]},
            "class id 2 is out of range for 2 classes (the width of the scores); ids are 0 to 1",
        ),
        (
            ValueError,
            {"labels": [0], "predictions": [[0.1, float("nan")]]},
            "predictions hold NaN or infinite scores in 1 of 1 rows",
        ),
        (ValueError, {"labels": [0], "predictions": [[0.1]]}, "[N, C] with C >= 2; given float64"),
        (
            ValueError,
            {"labels": [0], "predictions": [0], "sample_weight": [-1.0]},
            "sample_weight must hold 1 finite values >= 0; given -1.0",
        ),
        (
            ValueError,
            {"confusion_matrix": [[1, 2]]},
            "a confusion matrix is square, [C, C]; given shape [1, 2]; ",
        ),
        (ValueError, {"confusion_matrix": [[-1]]}, "holds finite counts or weights >= 0; given -1"),
        (
            ValueError,
            {"confusion_matrix": [[1]], "class_names": NAMES},
            "3 class names for 1 classes; ",
        ),
    ],
)
def test_errors(error, kwargs, text):
    full = message(error, **kwargs)
    assert full.startswith("classification_report: ")
    assert text in full
