# SPDX-License-Identifier: Apache-2.0
"""AUC of predictions that are no scores: an error eagerly, NaN from a compiled step."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from mistakes import Mistakes, check

import ostria as ost
from ostria.metrics import AUC

mistake = Mistakes()

Y = np.array([0, 1, 0, 1])
GOOD = np.array([0.1, 0.4, 0.35, 0.8], np.float32)
REMEDY = "mend the model or the input, or give such examples sample_weight 0"


def scores(*changes: tuple[int, float]) -> np.ndarray:
    p = GOOD.copy()
    for i, value in changes:
        p[i] = value
    return p


@mistake(
    ValueError,
    "auc: y_pred[2] is 1.5, but scores are numbers in [0, 1]; for logits use from_logits=True or "
    f"ost.sigmoid; {REMEDY} {{line}}",
)
def logits_as_scores() -> None:
    AUC()(Y, scores((2, 1.5)))  # <-


@mistake(
    ValueError,
    "auc: y_pred[0, 1] is nan, but scores are numbers in [0, 1]; for logits use from_logits=True "
    f"or ost.sigmoid; {REMEDY} {{line}}",
)
def nan_as_a_score() -> None:
    AUC()(Y[None], scores((1, math.nan))[None])  # <-


@mistake(ValueError, f"auc: y_pred[3] is nan, but scores are numbers in [0, 1]; {REMEDY} {{line}}")
def nan_as_a_logit() -> None:
    AUC(from_logits=True)(Y, scores((3, math.nan)))  # <-


@pytest.mark.parametrize(("fn", "error", "expected"), mistake.cases)
def test_message(fn: Any, error: type[BaseException], expected: str) -> None:
    check(fn, error, expected)


@pytest.mark.parametrize("curve", ["ROC", "PR"])
@pytest.mark.parametrize("method", ["interpolation", "minoring", "majoring"])
@pytest.mark.parametrize("change", [(0, math.nan), (1, math.nan), (0, -0.5), (1, 2.0)])
def test_a_compiled_step_makes_it_nan(curve: str, method: str, change: tuple[int, float]) -> None:
    metric = AUC(curve=curve, summation_method=method)
    step = ost.compile(metric.update_state)
    step(ost.asarray(Y), ost.asarray(GOOD))
    want = metric.result().item()
    assert want >= 0.5
    step(ost.asarray(Y), ost.asarray(scores(change)))
    step(ost.asarray(Y), ost.asarray(GOOD))
    assert math.isnan(metric.result().item())
    metric.reset_state()
    step(ost.asarray(Y), ost.asarray(GOOD))
    assert metric.result().item() == want


@pytest.mark.parametrize("is_compiled", [False, True])
def test_what_weighs_nothing_may_have_any_score(is_compiled: bool) -> None:
    metric = AUC()
    update = ost.compile(metric.update_state) if is_compiled else metric.update_state
    weights = np.array([1.0, 1.0, 0.0, 1.0])
    update(ost.asarray(Y), ost.asarray(scores((2, math.nan))), ost.asarray(weights))
    assert metric.result().item() == pytest.approx(1.0, abs=1e-6)


def test_the_rounding_of_a_softmax_is_no_mistake() -> None:
    over, exact = AUC(), AUC()
    p = np.array([-1e-7, 1 + 2e-7, 0.5, 1.0], np.float32)
    assert over(Y, p).item() == exact(Y, np.clip(p, 0, 1)).item()
