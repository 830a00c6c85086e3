# SPDX-License-Identifier: Apache-2.0
"""What a Trainer trains: three functions that it traces, and the metrics that they update.

A task says what one batch means; the Trainer says when. Tasks run inside a trace only, so they must
not look at values.
"""

from __future__ import annotations

import copy
import types
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np

from ostria import _native, _replicas
from ostria._errors import at_line
from ostria.losses import reduce
from ostria.train._input import leaves, split_batch


class Task:
    """Base of tasks. ``batch`` is an element of the input, as a tuple.

    Attributes:
      train_metrics, eval_metrics: name to metric. They must not share Variables: an evaluation in
        the middle of training must leave no trace in it.
    """

    def __init__(self) -> None:
        self.train_metrics: dict[str, Any] = {}
        self.eval_metrics: dict[str, Any] = {}

    @property
    def variables(self) -> list[Any]:
        """Variables to save besides those that a training step touches."""
        return []

    def train(self, batch: tuple[Any, ...]) -> Any:
        """One update; returns the loss, a float scalar."""
        raise NotImplementedError(
            at_line(
                f"train: {type(self).__name__} defines no train(); define `def train(self, batch): "
                "…` that returns the loss, or give StepTask a function"
            )
        )

    def evaluate(self, batch: tuple[Any, ...]) -> Any:
        """Updates ``eval_metrics``; returns the loss, a float scalar."""
        raise NotImplementedError(
            at_line(
                f"evaluate: {type(self).__name__} defines no evaluate(); define `def "
                "evaluate(self, batch): …` that returns the loss, or give StepTask evaluate="
            )
        )

    def predict(self, features: Any) -> Any:
        """A tensor, or a dict of tensors, with one row per example."""
        raise NotImplementedError(
            at_line(
                f"predict: {type(self).__name__} defines no predict(); define `def predict(self, "
                "features): …`, or give StepTask predict="
            )
        )


class ModelTask(Task):
    """A model, what it minimises, how, and what is measured.

    Args:
      model: an ``nn.Module`` (or function) from features to predictions.
      loss: ``loss(labels, predictions)`` or, where batches carry weights, ``loss(labels,
        predictions, weights)``; a scalar, or one number per example, which is averaged. Inside a
        replica of a strategy, a scalar of a function of your own is taken for a mean over its rows.
      optimizer: an ``optim`` optimizer; needed to train only.
      metrics: metrics by name, or a list of metrics, which have names. They are used in
        evaluations; training has copies of its own.
    """

    def __init__(
        self, model: Any, loss: Any = None, optimizer: Any = None, metrics: Any = None
    ) -> None:
        super().__init__()
        if not callable(model):
            raise TypeError(
                at_line(
                    "Trainer: model must be an nn.Module or a function of features, given: "
                    f"{model!r}; give an object such as nn.Dense(10)"
                )
            )
        if loss is not None and not callable(loss):
            raise TypeError(
                at_line(
                    f"Trainer: loss must be a function of (labels, predictions), given: {loss!r}; "
                    "take one of ost.losses, such as ost.losses.MeanSquaredError()"
                )
            )
        if optimizer is not None and not callable(getattr(optimizer, "minimize_batch", None)):
            raise TypeError(
                at_line(
                    f"Trainer: optimizer must be one of ost.optim, given: {optimizer!r}; give an "
                    "object such as ost.optim.Adam(1e-3)"
                )
            )
        self.model, self.loss, self.optimizer = model, loss, optimizer
        self.eval_metrics = named_metrics(metrics)
        self.train_metrics = {name: _copy_of(m) for name, m in self.eval_metrics.items()}

    @property
    def variables(self) -> list[Any]:
        return list(getattr(self.model, "variables", ()))

    def train(self, batch: tuple[Any, ...]) -> Any:
        if self.optimizer is None:
            raise ValueError(
                at_line(
                    "train: training needs an optimizer, but none was given; pass optimizer=, "
                    "such as ost.optim.Adam(1e-3)"
                )
            )

        def loss_of(*part: Any) -> Any:
            features, labels, weights = split_batch(part)
            predictions = self._call(features, training=True)
            with _MayNeedLabels("train", features, labels):
                loss = self._loss(labels, predictions, weights)
                _update(self.train_metrics, labels, predictions, weights)
            return loss

        share = self.optimizer.minimize_batch(
            loss_of, lambda: some(self.model.trainable_variables), batch
        )
        return _replicas.total(share)

    def evaluate(self, batch: tuple[Any, ...]) -> Any:
        features, labels, weights = split_batch(batch)
        predictions = self._call(features, training=False)
        with _MayNeedLabels("evaluate", features, labels):
            _update(self.eval_metrics, labels, predictions, weights)
            return _replicas.total(self._loss(labels, predictions, weights))

    def predict(self, features: Any) -> Any:
        return self._call(features, training=False)

    def _call(self, features: Any, training: bool) -> Any:
        from ostria.nn import Module

        if isinstance(self.model, Module):
            return self.model(features, training=training)
        return self.model(features)

    def _loss(self, labels: Any, predictions: Any, weights: Any) -> Any:
        if self.loss is None:
            raise ValueError(
                at_line(
                    "train, evaluate: training and evaluation need a loss, but none was given; "
                    "pass loss=, such as ost.losses.MeanSquaredError()"
                )
            )
        args = (labels, predictions) if weights is None else (labels, predictions, weights)
        replicas = _replicas.count()
        if replicas > 1:
            loss = self._share(args, predictions)
        else:
            loss = self.loss(*args)
            if loss.ndim:
                loss = _native.ops.mean(loss)
        for penalty in getattr(self.model, "losses", ()):
            loss = loss + (penalty if replicas == 1 else penalty / float(replicas))
        return loss

    def _share(self, args: tuple[Any, ...], predictions: Any) -> Any:
        shares = _replicas.Shares()
        loss = self.loss(*args)
        if loss.ndim:
            return reduce(loss, name="loss")
        if shares.any():
            return loss
        # A mean over the rows of this replica.
        rows = next((x.shape[0] for _, x in leaves((args[0], predictions)) if len(x.shape)), 1)
        return _replicas.share_of_mean(loss, rows)


class StepTask(Task):
    """Functions instead of a model: each gets the parts of a batch, and does what a task does.

    Inside a replica of a strategy a function returns its share of the loss; shares are added.

    Args:
      train: updates Variables and returns the loss.
      evaluate: returns the loss; updates the metrics given as ``metrics``.
      predict: features to predictions.
      metrics: metrics that ``evaluate`` updates, by name or as a list.
      variables: Variables to save besides those that ``train`` touches.
    """

    def __init__(
        self,
        train: Callable[..., Any] | None = None,
        *,
        evaluate: Callable[..., Any] | None = None,
        predict: Callable[..., Any] | None = None,
        metrics: Any = None,
        variables: Iterable[Any] = (),
    ) -> None:
        super().__init__()
        self._train, self._evaluate, self._predict = train, evaluate, predict
        self._variables = list(variables)
        self.eval_metrics = named_metrics(metrics)

    @property
    def variables(self) -> list[Any]:
        return self._variables

    def train(self, batch: tuple[Any, ...]) -> Any:
        return _replicas.total(self._train(*batch)) if self._train else super().train(batch)

    def evaluate(self, batch: tuple[Any, ...]) -> Any:
        return (
            _replicas.total(self._evaluate(*batch)) if self._evaluate else super().evaluate(batch)
        )

    def predict(self, features: Any) -> Any:
        return self._predict(features) if self._predict else super().predict(features)


def some(variables: list[Any]) -> list[Any]:
    """``variables``, of which there must be some.

    Raises:
      ValueError: there is nothing to train.
    """
    if not variables:
        raise ValueError(
            at_line(
                "train: there is no trainable Variable: the model has no weights, or all of it is "
                "frozen (trainable=False); add a layer with weights, or set trainable=True"
            )
        )
    return variables


def named_metrics(metrics: Any) -> dict[str, Any]:
    """``metrics`` as a dict from name to metric.

    Raises:
      TypeError: something is no metric.
      ValueError: two have one name.
    """
    if metrics is None:
        return {}
    if isinstance(metrics, Mapping):
        pairs = [(str(name), metric) for name, metric in metrics.items()]
    else:
        given = list(metrics) if isinstance(metrics, Iterable) else [metrics]
        pairs = [(str(getattr(metric, "name", "")), metric) for metric in given]
    named: dict[str, Any] = {}
    for name, metric in pairs:
        if not callable(getattr(metric, "update_state", None)) or isinstance(metric, type):
            raise TypeError(
                at_line(
                    f"metrics: {metric!r} is no metric; accepted are objects of ost.metrics, in a "
                    "list or a dict by name"
                )
            )
        if name in named or name in ("loss", "global_step"):
            raise ValueError(
                at_line(
                    f"metrics: the name {name!r} is taken; give each metric a name of its own, "
                    "other than 'loss' and 'global_step'"
                )
            )
        named[name] = metric
    return named


class _MayNeedLabels:
    """Says what is missing where a loss or a metric fails because a batch has no labels.

    A class: the frames of contextlib would pass for the user's.
    """

    def __init__(self, op: str, features: Any, labels: Any) -> None:
        self._op, self._features, self._labels = op, features, labels

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: Any, error: BaseException | None, traceback: Any) -> None:
        if self._labels is None and isinstance(error, (TypeError, AttributeError)):
            raise ValueError(
                at_line(
                    f"{self._op}: the batch has no labels: it is features alone, "
                    f"{_kinds(self._features)}; let the input yield (features, labels) or "
                    "(features, labels, weights), or give a loss and metrics that need none"
                )
            ) from error


def _kinds(features: Any) -> str:
    """The arrays of ``features`` with dtype and shape, for messages."""
    return ", ".join(
        f"{name}{' ' if name else ''}{x.dtype}{list(x.shape)}" for name, x in leaves(features)
    )


def _update(metrics: dict[str, Any], labels: Any, predictions: Any, weights: Any) -> None:
    args = (labels, predictions) if weights is None else (labels, predictions, weights)
    for metric in metrics.values():
        metric.update_state(*args)


def _copy_of(metric: Any) -> Any:
    """A metric with the same options and state of its own, named alike."""
    copied = copy.copy(metric)
    made: dict[int, Any] = {}

    def own(value: Any) -> Any:
        if isinstance(value, _native.Variable):
            if value.id not in made:
                zeros = np.zeros_like(value.numpy())
                made[value.id] = _native.Variable(
                    zeros, name=value.name, trainable=False, aggregation=value.aggregation
                )
            return made[value.id]
        if isinstance(value, dict):
            return {key: own(item) for key, item in value.items()}
        if getattr(value, "__self__", None) is metric:
            return types.MethodType(value.__func__, copied)
        return value

    copied.__dict__.update({key: own(value) for key, value in metric.__dict__.items()})
    return copied
