# SPDX-License-Identifier: Apache-2.0
"""Metric: sums in Variables, so they run inside the compiled step and are part of a checkpoint.

State adds up over batches and over replicas: `merge_state` is addition. It is float64, because a
float32 count stops at 16,777,216 examples.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from ostria import _functions as F
from ostria import _native, _replicas, _targets
from ostria._errors import at_line
from ostria.nn.module import snake_case

_ops = _native.ops
_F64 = _native.float64


class Metric:
    """Base of metrics. Subclasses define `update_state` and `result`; `add_state` makes state.

    State has the names `metrics/<name>/<state>`.
    """

    def __init__(self, name: str | None = None):
        self.name = name or snake_case(type(self).__name__)
        self._state: dict[str, Any] = {}

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        if "result" in cls.__dict__:
            cls.result = _of_all_processes(cls.result)  # type: ignore[assignment]

    def add_state(self, name: str, shape: tuple[int, ...] = ()) -> Any:
        """Makes a float64 Variable of zeros, which `merge_state` adds up; also while tracing."""
        variable = _native.Variable(
            np.zeros(shape),
            name=f"metrics/{self.name}/{name}",
            trainable=False,
            aggregation="sum",
        )
        self._state[name] = variable
        return variable

    @property
    def variables(self) -> list[Any]:
        """The state, in order of creation; some metrics make it at the first update."""
        return list(self._state.values())

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        """Adds a batch; inside a compiled function this is part of the step.

        Args:
            y_true, y_pred: see the class.
            sample_weight: None, a scalar, or one number per example.
        """
        raise NotImplementedError(at_line(f"{type(self).__name__} has no update_state()"))

    def result(self) -> Any:
        """The metric of everything since `reset_state`, a float64 tensor; 0 without data.

        Of a metric that replicas in several processes update, it is that of all of them, and every
        process calls it, not the chief alone.

        Raises:
            DistributedError: other processes do not call it, or one failed.
            RuntimeError: the strategy of those processes was closed.
        """
        raise NotImplementedError(at_line(f"{type(self).__name__} has no result()"))

    def reset_state(self) -> None:
        """Forgets everything."""
        for variable in self.variables:
            variable.assign(np.zeros(variable.shape))

    def merge_state(self, metrics: Iterable[Metric]) -> None:
        """Adds what other metrics of this class have seen.

        Raises:
            ValueError: another class or other options.
        """
        for other in metrics:
            if type(other) is not type(self) or other._options() != self._options():
                raise ValueError(
                    at_line(
                        f"{self.name}: cannot merge {_describe(other)} into {_describe(self)}; "
                        "both "
                        "must have one class and equal options"
                    )
                )
            if not other._state:
                continue  # has seen nothing
            for key, theirs in other._state.items():
                if key not in self._state:
                    self._adopt(other)
                self._add(self._state[key], theirs.value())

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """`update_state`, then `result`."""
        self.update_state(*args, **kwargs)
        return self.result()

    def _options(self) -> dict[str, Any]:
        """What must agree for states to be added."""
        return {}

    def _adopt(self, other: Any) -> None:
        """Makes the state that `other` made at its first update."""

    def _add(self, variable: Any, amount: Any) -> None:
        variable.assign(variable.value() + amount)


def _of_all_processes(result: Callable[[Any], Any]) -> Callable[[Any], Any]:
    @functools.wraps(result)
    def everywhere(self: Metric) -> Any:
        with _replicas.of_all_processes(self.variables):
            return result(self)

    return everywhere


def _describe(metric: Metric) -> str:
    options = ", ".join(f"{k}={v!r}" for k, v in metric._options().items())
    return f"{type(metric).__name__}({options})"


def divide(a: Any, b: Any) -> Any:
    """a / b, and 0 where b is 0."""
    empty = b == 0.0
    return _ops.where(empty, 0.0, a / _ops.where(empty, 1.0, b))


def example_weights(name: str, sample_weight: Any, values: Any) -> Any:
    """Weights of the shape of `values` (float64), ones when none are given."""
    ones = _ops.full(shape=values.shape, dtype=_F64, value=1.0)
    return (
        ones if sample_weight is None else ones * _targets.weights_like(name, sample_weight, ones)
    )


def _size(values: Any) -> Any:
    return _ops.dim_product(shape=values.shape, dtype=_F64)


class Reduce(Metric):
    """A weighted sum of values and the sum of weights: base of all metrics that are a mean."""

    def __init__(self, name: str | None = None):
        super().__init__(name)
        self.total = self.add_state("total")
        self.count = self.add_state("count")

    def _accumulate(self, values: Any, sample_weight: Any) -> None:
        """Values [N, …] are averaged down to the rank of the weights, [N] without any."""
        values = F.cast(values, _F64)
        rank = min(values.ndim, 1 if sample_weight is None else max(1, np.ndim(sample_weight)))
        if values.ndim > rank:
            values = _ops.mean(values, tuple(range(rank, values.ndim)), False)
        if sample_weight is None:
            count = values.size
            known = isinstance(count, int)
            self._add(self.total, _ops.sum(values))
            self._add(self.count, float(count) if known else _size(values))
            return
        weights = example_weights(self.name, sample_weight, values)
        self._add(self.total, _ops.sum(values * weights))
        self._add(self.count, _ops.sum(weights))

    def result(self) -> Any:
        return divide(self.total.value(), self.count.value())


class MeanOf(Reduce):
    """The mean of a function of (y_true, y_pred) that gives one value per example or element."""

    def __init__(self, fn: Callable[[Any, Any], Any], name: str | None = None):
        super().__init__(name)
        self._fn = fn

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        self._accumulate(self._fn(y_true, y_pred), sample_weight)
