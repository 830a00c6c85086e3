# SPDX-License-Identifier: Apache-2.0
"""A ``model_fn`` as a task of the Trainer: called once per mode and kind of input, inside a trace.

It may make its modules anew at each call, as is natural: layers get the same Variables by their
path (``_scope.Sharing``), provided that they are made and called in the same order. Of an optimizer
given as ``train_op`` the first is kept; the states of metrics made by several calls are added up.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

from ostria import _replicas, _scope
from ostria._errors import at_line
from ostria.estimator.specs import EstimatorSpec, ModeKeys
from ostria.train import Task
from ostria.train._input import leaves

_OPTIONAL = ("labels", "mode", "params", "config")


class ModelFnTask(Task):
    """Trains, evaluates and predicts with ``model_fn``.

    Args:
      model_fn: ``model_fn(features[, labels][, mode][, params][, config]) -> EstimatorSpec``.
      params: handed to it, a copy each time.
      config: the RunConfig, handed to it.

    Raises:
      TypeError: it cannot be called like that.
    """

    def __init__(self, model_fn: Callable[..., Any], params: dict[str, Any], config: Any) -> None:
        super().__init__()
        self._model_fn, self._params, self._config = model_fn, params, config
        self._arguments = _accepted(model_fn)
        self._sharing = _scope.Sharing()
        self._optimizer: Any = None
        self.hooks: dict[ModeKeys, tuple[Any, ...]] = {}
        self.predictions_keys: tuple[str, ...] | None = None

    @property
    def variables(self) -> list[Any]:
        return list(self._sharing.variables.values())

    def train(self, batch: tuple[Any, ...]) -> Any:
        shares = _replicas.Shares()
        with self._sharing:
            spec = self._call(batch, ModeKeys.TRAIN)
            loss = spec.loss
            if callable(getattr(spec.train_op, "apply", None)):
                self._optimizer = self._optimizer or spec.train_op
                variables = self._trainable()
                loss = _share(loss, batch, shares)
                self._optimizer.minimize(loss, variables)
            elif _replicas.count() > 1 and not shares.any():
                raise ValueError(
                    at_line(
                        "Estimator: model_fn minimizes a loss of its own on each of several "
                        "replicas, whose gradients would be added as if each had all rows; return "
                        "train_op=optimizer, or take a loss of ost.losses"
                    )
                )
        _note(self.train_metrics, spec.eval_metric_ops)
        chief_hooks = spec.training_chief_hooks if self._config.is_chief else ()
        self.hooks[ModeKeys.TRAIN] = spec.training_hooks + chief_hooks
        return _replicas.total(_scalar(loss))

    def evaluate(self, batch: tuple[Any, ...]) -> Any:
        shares = _replicas.Shares()
        with self._sharing:
            spec = self._call(batch, ModeKeys.EVAL)
        _note(self.eval_metrics, spec.eval_metric_ops)
        self.hooks[ModeKeys.EVAL] = spec.evaluation_hooks
        return _replicas.total(_scalar(_share(spec.loss, batch, shares)))

    def predict(self, features: Any) -> Any:
        with self._sharing:
            spec = self._call((features, None), ModeKeys.PREDICT)
        self.hooks[ModeKeys.PREDICT] = spec.prediction_hooks
        return spec.predictions

    def _trainable(self) -> list[Any]:
        """What the modules of this trace let an optimizer change, each Variable once."""
        found = {v.id: v for root in self._sharing.roots for v in root.trainable_variables}
        if not found:
            raise ValueError(
                at_line(
                    "Estimator: model_fn made no trainable Variable with modules of ost.nn; for "
                    "Variables of your own, pass train_op=optimizer.minimize(loss, variables)"
                )
            )
        return [found[key] for key in sorted(found)]

    def _call(self, batch: tuple[Any, ...], mode: ModeKeys) -> EstimatorSpec:
        features, labels = batch[0], batch[1] if len(batch) > 1 else None
        if len(batch) > 2:
            raise ValueError(
                at_line(
                    f"Estimator: input_fn gave a tuple of {len(batch)} parts; a model_fn takes "
                    "(features, labels): put weights among the features"
                )
            )
        given = {
            "labels": labels,
            "mode": mode,
            "params": copy.deepcopy(self._params),
            "config": self._config,
        }
        if labels is not None and "labels" not in self._arguments:
            raise ValueError(
                at_line(
                    "model_fn does not take labels, but input_fn returns labels. Estimator: add "
                    "the argument labels to model_fn, or let input_fn return features alone"
                )
            )
        spec = self._model_fn(features, **{k: given[k] for k in self._arguments})
        if not isinstance(spec, EstimatorSpec):
            raise ValueError(
                at_line(
                    f"model_fn should return an EstimatorSpec; it returned {spec!r}; Estimator: "
                    "end model_fn with `return EstimatorSpec(mode, ...)` on every path"
                )
            )
        if spec.mode != mode:
            raise ValueError(
                at_line(
                    f"Estimator: model_fn was called for mode {mode.value!r}, but the "
                    f"EstimatorSpec says {spec.mode.value!r}; pass the mode on"
                )
            )
        return spec


class _Merged:
    """Metrics of one name from several traces, as one."""

    def __init__(self, metric: Any) -> None:
        self.parts = [metric]

    @property
    def variables(self) -> list[Any]:
        return [v for part in self.parts for v in part.variables]

    def result(self) -> Any:
        first, *others = self.parts
        if others:
            first.merge_state(others)
            for other in others:
                other.reset_state()
        return first.result()

    def reset_state(self) -> None:
        for part in self.parts:
            part.reset_state()


def _note(metrics: dict[str, Any], ops: Any) -> None:
    for name, metric in ops.items():
        if isinstance(metric, type) or not callable(getattr(metric, "result", None)):
            raise TypeError(
                at_line(
                    f"EstimatorSpec: eval_metric_ops[{name!r}] must be a metric of ost.metrics "
                    f"whose update_state was called in model_fn, given: {metric!r}"
                )
            )
        if name in metrics:
            metrics[name].parts.append(metric)
        else:
            metrics[name] = _Merged(metric)


def _share(loss: Any, batch: tuple[Any, ...], shares: _replicas.Shares) -> Any:
    """What a replica has of the loss; what is none of ``ost.losses`` is a mean over its rows."""
    if _replicas.count() == 1 or shares.any():
        return loss
    rows = next((x.shape[0] for _, x in leaves(batch) if len(x.shape)), 1)
    return _replicas.share_of_mean(loss, rows)


def _scalar(loss: Any) -> Any:
    from ostria import reshape

    return loss if loss.ndim == 0 else reshape(loss, ())


def _accepted(model_fn: Callable[..., Any]) -> tuple[str, ...]:
    import inspect

    parameters = inspect.signature(model_fn).parameters
    if "features" not in parameters:
        raise ValueError(
            at_line(
                f"model_fn ({model_fn!r}) must include features argument. Estimator: its arguments "
                f"are {list(parameters)}; name the first one features; besides it may have "
                f"{', '.join(_OPTIONAL)}"
            )
        )
    unknown = [
        name
        for name, p in parameters.items()
        if name not in ("features", *_OPTIONAL)
        and p.default is p.empty
        and p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)
    ]
    if unknown:
        raise ValueError(
            at_line(
                f"model_fn ({model_fn!r}) has following not expected args: {unknown}; accepted are "
                f"features, {', '.join(_OPTIONAL)}; Estimator: give the others a default value, or "
                "pass them in params"
            )
        )
    takes_all = any(p.kind == p.VAR_KEYWORD for p in parameters.values())
    return tuple(name for name in _OPTIONAL if takes_all or name in parameters)
