# SPDX-License-Identifier: Apache-2.0
"""Labels out of range: the message says whose, which and what would be right."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from mistakes import Mistakes, check

import ostria as ost
from ostria import losses, metrics

mistake = Mistakes()

REMEDY = "count classes from 0, and have as many as the labels need"


def scores() -> Any:
    return ost.ones((2, 4))


@mistake(
    IndexError,
    "sparse_categorical_crossentropy: label -1 (y_true[1]) is out of range for 4 classes; valid "
    f"labels are 0..3; {REMEDY} {{line}}",
)
def negative_label() -> None:
    losses.SparseCategoricalCrossentropy()([0, -1], scores())  # <-


@mistake(
    IndexError,
    "sparse_categorical_crossentropy: label 4 (y_true[0, 1]) is out of range for 4 classes; valid "
    f"labels are 0..3; {REMEDY} {{line}}",
)
def label_beside_logits() -> None:
    losses.sparse_categorical_crossentropy([[0, 4]], ost.ones((1, 2, 4)), from_logits=True)  # <-


@mistake(
    IndexError,
    "confusion_matrix: label 5 (y_true[0]) is out of range for 3 classes; valid labels are 0..2; "
    f"{REMEDY} {{line}}",
)
def label_of_a_confusion_matrix() -> None:
    metrics.ConfusionMatrix(3)([5], [0])  # <-


@mistake(
    IndexError,
    "confusion_matrix: label -2 (y_pred[1]) is out of range for 3 classes; valid labels are 0..2; "
    f"{REMEDY} {{line}}",
)
def prediction_of_a_confusion_matrix() -> None:
    metrics.ConfusionMatrix(3)([1, 2], [0, -2])  # <-


@pytest.mark.parametrize(("fn", "error", "expected"), mistake.cases)
def test_message(fn: Any, error: type[BaseException], expected: str) -> None:
    check(fn, error, expected)


@pytest.mark.parametrize("from_logits", [True, False])
@pytest.mark.parametrize("label", [-1, 4, 10**6])
def test_a_compiled_loss_finds_it_when_it_runs(label: int, from_logits: bool) -> None:
    step = ost.compile(lambda y, p: losses.sparse_categorical_crossentropy(y, p, from_logits))
    step(ost.asarray([0, 3]), scores())
    with pytest.raises(
        IndexError, match=rf"label {label} of row 1 .* 4 classes; labels must be in 0\.\.3 .*\.py:"
    ):
        step(ost.asarray([0, label]), scores())


@pytest.mark.parametrize(("truth", "guess", "label"), [(-1, 0, -1), (3, 0, 3), (0, 3, 3)])
def test_a_compiled_confusion_matrix_finds_it_when_it_runs(
    truth: int, guess: int, label: int
) -> None:
    metric = metrics.ConfusionMatrix(3)
    step = ost.compile(metric.update_state)
    step(ost.asarray([2]), ost.asarray([1]))
    with pytest.raises(IndexError, match=rf"label {label} of row 0 .* labels must be in 0\.\.2"):
        step(ost.asarray([truth]), ost.asarray([guess]))
    assert metric.result().numpy().tolist() == [[0, 0, 0], [0, 0, 0], [0, 1, 0]]


def test_probabilities_of_zero_and_nan_keep_their_loss_and_gradient() -> None:
    p = np.array([[0.0, 1.0], [1.0, 0.0], [np.nan, 0.5]], np.float32)

    def total(p: Any) -> Any:
        return ost.sum(losses.sparse_categorical_crossentropy([0, 0], p[:2]))

    cost = losses.sparse_categorical_crossentropy([0, 0, 0], p).numpy()
    np.testing.assert_allclose(cost, [-np.log(1e-7), 1e-7, np.nan], rtol=1e-5)
    assert np.isfinite(ost.grad(total)(ost.asarray(p)).numpy()).all()
