# SPDX-License-Identifier: Apache-2.0
"""``Estimator``: TensorFlow's surface over the one Trainer.

State lives in checkpoints of ``model_dir``: train goes on from the newest, evaluate and predict use
it. The compiled steps and the Variables live as long as the Estimator, so an evaluation neither
traces again nor reads a file that memory already equals.
"""

from __future__ import annotations

import copy
import logging
import os
import re
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ostria import io
from ostria import random as ost_random
from ostria._errors import at_line
from ostria._keywords import checked_init
from ostria.estimator.cluster import EVALUATOR
from ostria.estimator.config import RunConfig
from ostria.estimator.model_fn import ModelFnTask
from ostria.estimator.run_hooks import adapt, adapt_listeners
from ostria.estimator.specs import LISTENER_METHODS, ModeKeys, check_hooks
from ostria.train import Hook, ModelTask, ProgressHook, SummaryHook, Task, Trainer

_log = logging.getLogger("ostria")


@checked_init
@dataclass(frozen=True)
class WarmStartSettings:
    """Which Variables start from another run's checkpoint.

    Attributes:
      ckpt_to_initialize_from: a checkpoint, or a folder of them.
      vars_to_warm_start: regular expression over the names of trainable Variables, or a list of
        such over the names of all.
      var_name_to_prev_var_name: names there, where they differ.
    """

    ckpt_to_initialize_from: str
    vars_to_warm_start: str | list[str] = ".*"
    var_name_to_prev_var_name: Mapping[str, str] = field(default_factory=dict)


@checked_init
class Estimator:
    """Trains, evaluates and predicts with a model, in a folder.

    The model is given in one of two ways: as ``model_fn``, as in TensorFlow, or as ``model``,
    ``loss``, ``optimizer`` and ``metrics``, which is shorter and keeps the model at hand as
    ``estimator.model``.

    A ``model_fn(features, labels, mode, params, config)`` (all but features optional) returns an
    EstimatorSpec. It is traced once per mode, and may make its layers at each call; those made in
    the same order share their weights. ``train_op`` is an optimizer (recommended), or what
    ``minimize`` returned. ``eval_metric_ops`` are metrics whose ``update_state`` was called.

    Args:
      model_fn: see above.
      model_dir: where everything is kept; None: ``config.model_dir``, else a temporary folder.
      config: a RunConfig. With its ``train_distribute``, batches of ``input_fn`` are those of all
        replicas together, unless it takes an ``input_context``; a ``model_fn`` runs on the rows of
        one replica, and a loss of its own that is not from ``ost.losses`` is taken for a mean over
        them; penalties that it adds are its share, so it divides them by the number of replicas.
      params: a dict that ``model_fn`` gets.
      warm_start_from: a checkpoint or folder of another run, or WarmStartSettings; used only while
        ``model_dir`` has no checkpoint.
      model, loss, optimizer, metrics: see ``ost.train.ModelTask``.
      on_nonfinite: see ``ost.train.Trainer``.

    Raises:
      TypeError, ValueError: arguments that contradict one another.
    """

    def __init__(
        self,
        model_fn: Callable[..., Any] | None = None,
        model_dir: str | os.PathLike[str] | None = None,
        config: RunConfig | None = None,
        params: dict[str, Any] | None = None,
        warm_start_from: str | WarmStartSettings | None = None,
        *,
        model: Any = None,
        loss: Any = None,
        optimizer: Any = None,
        metrics: Any = None,
        on_nonfinite: str = "stop",
    ) -> None:
        if config is not None and not isinstance(config, RunConfig):
            raise ValueError(
                at_line(
                    f"config must be an instance of RunConfig, but provided {config!r}; Estimator: "
                    "give config=RunConfig(...), or leave it out"
                )
            )
        if params is not None and not isinstance(params, dict):
            raise TypeError(
                at_line(
                    f"Estimator: params must be a dict, given: {params!r}; give a dict such as "
                    "{'units': 32}, or None"
                )
            )
        if (model_fn is None) == (model is None):
            raise ValueError(
                at_line(
                    "Estimator: model_fn must be provided, or model=; not both; given "
                    f"{'neither' if model is None else 'both'}"
                )
            )
        self._config = _with_model_dir(config or RunConfig(), model_dir)
        self._params = copy.deepcopy(params or {})
        if self._config.tf_random_seed is not None:
            ost_random.seed(self._config.tf_random_seed)
        task: Task
        if model_fn is not None:
            for name, value in (("loss", loss), ("optimizer", optimizer), ("metrics", metrics)):
                if value is not None:
                    raise ValueError(
                        at_line(
                            f"Estimator: {name} goes with model=, but model_fn is given, which "
                            f"decides it itself; leave {name} out, or give model= instead of "
                            "model_fn"
                        )
                    )
            task = ModelFnTask(model_fn, self._params, self._config)
        else:
            task = ModelTask(model, loss, optimizer, metrics)
        self.model = model
        self._warm_start = _warm_start_settings(warm_start_from)
        c = self._config
        self._trainer = Trainer(
            task=task,
            model_dir=c.model_dir,
            save_steps=c.save_checkpoints_steps,
            save_secs=c.save_checkpoints_secs,
            keep_max=c.keep_checkpoint_max,
            keep_every_n_hours=c.keep_checkpoint_every_n_hours,
            save_graph=c.checkpoint_save_graph_def,
            seed=c.tf_random_seed,
            on_nonfinite=on_nonfinite,
            initialize=self._initialize if self._warm_start else None,
            device=c.device,
            strategy=c.train_distribute,
            eval_strategy=c.eval_distribute,
        )
        self._progress: ProgressHook | None = None

    @property
    def model_dir(self) -> str:
        """Folder of checkpoints and event files."""
        assert self._config.model_dir is not None
        return self._config.model_dir

    @property
    def config(self) -> RunConfig:
        """The RunConfig, with ``model_dir`` filled in."""
        return self._config

    @property
    def params(self) -> dict[str, Any]:
        """A copy of the parameters."""
        return copy.deepcopy(self._params)

    @property
    def trainer(self) -> Trainer:
        """The Trainer underneath."""
        return self._trainer

    # --- Train, evaluate, predict -----------------------------------------------------------------

    def train(
        self,
        input_fn: Callable[..., Any],
        hooks: Iterable[Any] | None = None,
        steps: int | None = None,
        max_steps: int | None = None,
        saving_listeners: Iterable[Any] | None = None,
    ) -> Estimator:
        """Trains; see ``Trainer.train``.

        Args:
          input_fn: returns a Dataset, or (features, labels).
          hooks: SessionRunHooks or ``ost.train.Hook``s.
          steps: how many more steps.
          max_steps: the global step to end at; if it is reached already, nothing happens.
          saving_listeners: CheckpointSaverListeners.

        Raises:
          ValueError: both steps and max_steps.
        """
        if steps is not None and max_steps is not None:
            raise ValueError(
                at_line(
                    "Can not provide both steps and max_steps. Estimator.train: given "
                    f"steps={steps!r} and max_steps={max_steps!r}; give steps for so many more, or "
                    "max_steps for so many in all"
                )
            )
        if self._config.task_type == EVALUATOR:
            raise RuntimeError(
                at_line(
                    "Estimator.train: TF_CONFIG makes this process the evaluator, which does not "
                    "train; call train_and_evaluate or evaluate, or give it another task"
                )
            )
        observers = adapt(check_hooks("Estimator.train", "hooks", hooks))
        listeners = check_hooks(
            "Estimator.train", "saving_listeners", saving_listeners, LISTENER_METHODS
        )
        observers += adapt_listeners(listeners)
        return self._train(input_fn, observers, steps, max_steps)

    def _train(
        self,
        input_fn: Callable[..., Any],
        hooks: list[Hook],
        steps: int | None,
        max_steps: int | None,
    ) -> Estimator:
        c = self._config
        own: list[Hook] = []
        if c.log_step_count_steps is not None:
            self._progress = ProgressHook(max_steps, total_more=steps)
            own.append(self._progress)
        own.append(SummaryHook(self.model_dir, c.save_summary_steps, c.log_step_count_steps))
        own.append(_SpecHooks(self._trainer.task))
        try:
            call = _input(input_fn, ModeKeys.TRAIN, self._params, c)
            self._trainer.train(call, steps=steps, max_steps=max_steps, hooks=[*own, *hooks])
        finally:
            self._progress = None
        return self

    def evaluate(
        self,
        input_fn: Callable[..., Any],
        steps: int | None = None,
        hooks: Iterable[Any] | None = None,
        checkpoint_path: str | None = None,
        name: str | None = None,
    ) -> dict[str, Any]:
        """Evaluates the newest checkpoint, and writes the results to ``eval_dir(name)``.

        Args:
          input_fn: as for ``train``; a batch of arrays is used once.
          steps: batches; None: all.
          hooks: SessionRunHooks; each run is a batch.
          checkpoint_path: another checkpoint.
          name: keeps several evaluations apart.

        Returns:
          ``loss`` (mean over batches), the metrics, ``global_step``.

        Warns:
          RuntimeWarning: there is no checkpoint, so fresh weights are evaluated.
        """
        if steps is not None and not (isinstance(steps, int) and steps > 0):
            raise ValueError(
                at_line(
                    f"Must specify steps > 0, given: {steps!r}; Estimator.evaluate: give an "
                    "integer of at least 1, or None to read the input to its end"
                )
            )
        began = time.monotonic()
        observers = adapt(check_hooks("Estimator.evaluate", "hooks", hooks))
        call = _input(input_fn, ModeKeys.EVAL, self._params, self._config)
        results = self._trainer.evaluate(
            call,
            steps=steps,
            checkpoint_path=checkpoint_path,
            hooks=[_SpecHooks(self._trainer.task, ModeKeys.EVAL), *observers],
        )
        directory = self.eval_dir(name)

        def write() -> None:
            with io.EventWriter(directory) as events:
                for key, value in results.items():
                    if isinstance(value, float):
                        events.scalar(key, value, results["global_step"])

        self._trainer.on_chief("writing event files", write)
        if self._trainer.is_chief:
            self._say(_describe(results, name, time.monotonic() - began))
        return results

    def predict(
        self,
        input_fn: Callable[..., Any],
        predict_keys: Iterable[str] | str | None = None,
        hooks: Iterable[Any] | None = None,
        checkpoint_path: str | None = None,
        yield_single_examples: bool = True,
    ) -> Iterator[Any]:
        """Yields predictions: per example, or per batch.

        Args:
          input_fn: features, or (features, labels) of which labels are ignored.
          predict_keys: which of the predictions, if they are a dict.
          hooks: must be None or empty (a step of prediction gives nothing to fetch).
          checkpoint_path: another checkpoint than the newest.
          yield_single_examples: False yields whole batches.

        Raises:
          ValueError: an unknown key, or predictions whose first sizes differ.
        """
        if hooks:
            raise NotImplementedError(
                at_line(
                    f"Estimator.predict: hooks are not supported; given {hooks!r}; leave them out"
                )
            )
        keys = {predict_keys} if isinstance(predict_keys, str) else set(predict_keys or ())
        call = _input(input_fn, ModeKeys.PREDICT, self._params, self._config)
        for outputs in self._trainer.predict(call, checkpoint_path=checkpoint_path):
            outputs = _select(outputs, keys)
            if not yield_single_examples:
                yield outputs
            elif isinstance(outputs, dict):
                for i in range(_rows(outputs)):
                    yield {key: value[i] for key, value in outputs.items()}
            else:
                yield from outputs

    # --- Looking at checkpoints -------------------------------------------------------------------

    def latest_checkpoint(self) -> str | None:
        """Path of the newest checkpoint, or None."""
        return self._trainer.latest_checkpoint()

    def eval_dir(self, name: str | None = None) -> str:
        """Where the evaluations of that name are written: ``eval`` or ``eval_<name>``."""
        return os.path.join(self.model_dir, "eval" if not name else f"eval_{name}")

    def get_variable_names(self) -> list[str]:
        """Names in the newest checkpoint, sorted.

        Raises:
          ValueError: there is none.
        """
        return sorted(self._checkpoint().tensors)

    def get_variable_value(self, name: str) -> Any:
        """A value in the newest checkpoint, as a NumPy array.

        Raises:
          ValueError: there is no checkpoint, or no such name in it.
        """
        tensors = self._checkpoint().tensors
        if name not in tensors:
            raise ValueError(
                at_line(
                    f"Estimator.get_variable_value: there is no variable {name!r} in the "
                    f"checkpoint; it holds {', '.join(sorted(tensors))}"
                )
            )
        return tensors[name]

    def _checkpoint(self) -> Any:
        checkpoint = io.load_latest_checkpoint(self.model_dir)
        if checkpoint is None:
            raise ValueError(
                at_line(
                    f"Could not find trained model in model_dir: {self.model_dir}. Estimator: "
                    "train first, or give the model_dir of a trained one"
                )
            )
        return checkpoint

    def _say(self, text: str) -> None:
        reporter = self._progress.reporter if self._progress else None
        if reporter is not None:
            reporter.message(text)
        else:
            _log.info(text)

    def _initialize(self, variables: list[Any]) -> None:
        assert self._warm_start is not None
        weights = {v.id for v in self._trainer.task.variables if v.trainable}
        warm_start(variables, weights, self._warm_start)


def warm_start(variables: list[Any], weights: set[int], settings: WarmStartSettings) -> list[str]:
    """Assigns Variables from another run's checkpoint; returns their names.

    Args:
      variables: all there are.
      weights: ids of those that are trained, which a single regular expression is confined to.

    Raises:
      ValueError: no Variable matches, one is missing there, or has another shape.
    """
    path = settings.ckpt_to_initialize_from
    found = (
        io.load_latest_checkpoint(path) if io.list_checkpoints(path) else io.load_checkpoint(path)
    )
    assert found is not None
    wanted = settings.vars_to_warm_start
    if isinstance(wanted, str):
        chosen = [v for v in variables if v.id in weights and re.match(wanted, v.name)]
    else:
        chosen = [v for v in variables if any(re.match(pattern, v.name) for pattern in wanted)]
    if not chosen:
        raise ValueError(
            at_line(
                f"Estimator: warm start: no variable matches {wanted!r}; there are "
                f"{', '.join(v.name for v in variables)}; vars_to_warm_start takes regular "
                "expressions that match from a name's start"
            )
        )
    for variable in chosen:
        name = settings.var_name_to_prev_var_name.get(variable.name, variable.name)
        value = found.tensors.get(name)
        if value is None:
            raise ValueError(
                at_line(
                    f"Estimator: warm start: checkpoint {found.path} has no '{name}'; it holds "
                    f"{', '.join(sorted(found.tensors))}; name the right one in "
                    "var_name_to_prev_var_name, or narrow vars_to_warm_start"
                )
            )
        if tuple(value.shape) != tuple(variable.shape):
            raise ValueError(
                at_line(
                    f"Estimator: warm start: '{name}' has shape {list(value.shape)} in "
                    f"{found.path}, but '{variable.name}' needs {list(variable.shape)}; make the "
                    "layer as it was, or narrow vars_to_warm_start"
                )
            )
        variable.assign(np.asarray(value).astype(variable.dtype.numpy(), copy=False))
    names = [v.name for v in chosen]
    _log.info("Warm start from %s: %s", found.path, ", ".join(names))
    return names


class _SpecHooks(Hook):
    """The hooks that ``model_fn`` returned: known once it has been traced, that is at ``begin``."""

    def __init__(self, task: Task, mode: ModeKeys = ModeKeys.TRAIN) -> None:
        self._task, self._mode = task, mode
        self._hooks: list[Hook] = []

    def begin(self, trainer: Trainer) -> None:
        self._hooks = adapt(getattr(self._task, "hooks", {}).get(self._mode, ()))
        for hook in self._hooks:
            hook.begin(trainer)

    def before_step(self, trainer: Trainer) -> None:
        for hook in self._hooks:
            hook.before_step(trainer)

    def after_step(self, trainer: Trainer, results: Any) -> None:
        for hook in self._hooks:
            hook.after_step(trainer, results)

    def end(self, trainer: Trainer) -> None:
        for hook in self._hooks:
            hook.end(trainer)


def _with_model_dir(config: RunConfig, model_dir: Any) -> RunConfig:
    if model_dir is None:
        if config.model_dir is not None:
            return config
        if getattr(config.train_distribute, "num_workers", 1) > 1:
            raise ValueError(
                at_line(
                    f"Estimator: {config.train_distribute!r} has several processes, which go on "
                    "from checkpoints of one folder; give model_dir, a folder that all share"
                )
            )
        import tempfile

        model_dir = tempfile.mkdtemp()
        warnings.warn(
            f"Using temporary folder as model directory: {model_dir}", RuntimeWarning, stacklevel=5
        )
    elif config.model_dir is not None and os.fspath(model_dir) != config.model_dir:
        raise ValueError(
            at_line(
                "`model_dir` are set both in constructor and `RunConfig`, but with different "
                f"values. In constructor: '{os.fspath(model_dir)}', in `RunConfig`: "
                f"'{config.model_dir}'; Estimator: leave one of them out"
            )
        )
    return config.replace(model_dir=model_dir)


def _warm_start_settings(given: Any) -> WarmStartSettings | None:
    if given is None or isinstance(given, WarmStartSettings):
        return given
    if isinstance(given, (str, os.PathLike)):
        return WarmStartSettings(os.fspath(given))
    raise ValueError(
        at_line(
            f"warm_start_from must be a string or a WarmStartSettings, instead got {type(given)}; "
            "Estimator: give the path of a checkpoint or of a model_dir"
        )
    )


def _input(input_fn: Any, mode: ModeKeys, params: dict[str, Any], config: RunConfig) -> Any:
    """``input_fn`` with those of mode, params and config that it asks for; without arguments.

    One that asks for an ``input_context``, too, keeps that argument.
    """
    if not callable(input_fn):
        raise TypeError(
            at_line(
                f"Estimator: input_fn must be callable, given: {input_fn!r}. Pass the function "
                "itself or `lambda: dataset`, so that each run gets fresh input"
            )
        )
    import inspect

    given = {"mode": mode, "params": params, "config": config}
    try:
        names = inspect.signature(input_fn).parameters
    except (TypeError, ValueError):
        return input_fn
    wanted = {k: v for k, v in given.items() if k in names}
    if "input_context" in names:
        return lambda input_context: input_fn(input_context=input_context, **wanted)
    return lambda: input_fn(**wanted)


def _select(outputs: Any, keys: set[str]) -> Any:
    if not keys:
        return outputs
    if not isinstance(outputs, dict):
        raise ValueError(
            at_line(
                "predict_keys argument is not valid in case of non-dict predictions. "
                f"Estimator.predict: given {sorted(keys)}, but the model gives "
                f"{type(outputs).__name__}; leave predict_keys out, or let the model give a dict"
            )
        )
    if missing := keys - outputs.keys():
        raise ValueError(
            at_line(
                f"Expected to run at least one output from {sorted(outputs)}, provided "
                f"{sorted(missing)}; Estimator.predict: name keys of the predictions in "
                "predict_keys"
            )
        )
    return {key: value for key, value in outputs.items() if key in keys}


def _rows(outputs: dict[str, Any]) -> int:
    sizes = {key: len(value) for key, value in outputs.items()}
    if len(set(sizes.values())) != 1:
        raise ValueError(
            at_line(
                f"Batch length of predictions should be same. They are {sizes}; Estimator.predict: "
                "give each output one row per example, or take whole batches with "
                "yield_single_examples=False"
            )
        )
    return next(iter(sizes.values()))


def _describe(results: dict[str, Any], name: str | None, seconds: float) -> str:
    values = [f"{k} {v:.4f}" for k, v in results.items() if isinstance(v, float)]
    label = f"evaluation {name}" if name else "evaluation"
    return f"{label} at step {results['global_step']}: {'  '.join(values)}  ({seconds:.1f} s)"
