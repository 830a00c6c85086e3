# SPDX-License-Identifier: Apache-2.0
"""R2Score: the share of the variance of y_true that predictions explain."""

from __future__ import annotations

from typing import Any

from ostria import _functions as F
from ostria import _keywords, _native, _targets
from ostria._errors import at_line
from ostria.metrics._metric import Metric, divide, example_weights

_ops = _native.ops
_F64 = _native.float64
_AGGREGATIONS = ("uniform_average", "variance_weighted_average")


@_keywords.checked_init
class R2Score(Metric):
    """1 - sum((y_true - y_pred)²) / sum((y_true - mean(y_true))²), both [N, outputs].

    An output that never varies scores 0, and so does no data.

    Args:
        class_aggregation: 'uniform_average' of the outputs, 'variance_weighted_average', or None
            for one score each.
        num_regressors: of the model, for the adjusted score; 0 for the plain one. With no more
            examples than that + 1 it is the plain one too.

    Example:
        >>> import ostria as ost
        >>> score = ost.metrics.R2Score()([[1.0], [4.0], [3.0]], ost.asarray([[2.0], [4.0], [4.0]]))
        >>> round(score.item(), 7)
        0.5714286
    """

    def __init__(
        self,
        class_aggregation: str | None = "uniform_average",
        num_regressors: int = 0,
        name: str | None = None,
    ):
        super().__init__(name)
        if class_aggregation is not None and class_aggregation not in _AGGREGATIONS:
            what = f"{self.name}: class_aggregation"
            raise ValueError(
                at_line(_keywords.unknown_name(what, class_aggregation, (*_AGGREGATIONS, "None")))
            )
        if not isinstance(num_regressors, int) or num_regressors < 0:
            raise ValueError(
                at_line(
                    f"{self.name}: num_regressors {num_regressors!r} is not accepted; give an "
                    "integer that is not negative"
                )
            )
        self.class_aggregation, self.num_regressors = class_aggregation, num_regressors
        self._examples = self.add_state("num_samples")

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        y_pred = _targets.predictions(self.name, y_pred)
        y = F.cast(_targets.matching(self.name, y_true, y_pred), _F64)
        if y.ndim != 2:
            raise ValueError(
                at_line(
                    f"{self.name}: y_pred has shape {list(y_pred.shape)}, but [examples, outputs] "
                    "is needed; use ost.expand_dims(x, axis=-1) for one output"
                )
            )
        self._make(_targets.static_size(self.name, y_pred, -1))
        weights = example_weights(self.name, sample_weight, y)
        error = F.cast(y_pred, _F64) - y
        self._add_up("weight", weights)
        self._add_up("sum", weights * y)
        self._add_up("squared_sum", weights * _ops.square(y))
        self._add_up("residual", weights * _ops.square(error))
        self._add(self._examples, _ops.dim_product(shape=y.shape[:1], dtype=_F64))

    def _make(self, outputs: int) -> None:
        for name in ("weight", "sum", "squared_sum", "residual"):
            if name not in self._state:
                self.add_state(name, (outputs,))

    def _adopt(self, other: Any) -> None:
        self._make(other._state["weight"].shape[0])

    def _add_up(self, name: str, values: Any) -> None:
        self._add(self._state[name], _ops.sum(values, 0, False))

    def result(self) -> Any:
        if "weight" not in self._state:
            return _ops.full(shape=(), dtype=_F64, value=0.0)
        state = {name: variable.value() for name, variable in self._state.items()}
        squares = state["squared_sum"]
        spread = squares - divide(_ops.square(state["sum"]), state["weight"])
        spread = _ops.where(spread > 1e-14 * squares, spread, 0.0)  # else it is rounding
        scores = divide(spread - state["residual"], spread)
        if self.class_aggregation == "uniform_average":
            scores = _ops.mean(scores)
        elif self.class_aggregation == "variance_weighted_average":
            scores = divide(_ops.sum(spread * scores), _ops.sum(spread))
        if self.num_regressors == 0:
            return scores
        left = state["num_samples"] - 1.0 - self.num_regressors
        adjusted = 1.0 - divide((1.0 - scores) * (state["num_samples"] - 1.0), left)
        return _ops.where(left > 0.0, adjusted, scores)

    def _options(self) -> dict[str, Any]:
        return {
            "class_aggregation": self.class_aggregation,
            "num_regressors": self.num_regressors,
        }
