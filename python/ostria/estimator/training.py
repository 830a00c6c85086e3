# SPDX-License-Identifier: Apache-2.0
"""``train_and_evaluate``: training once, evaluated as it goes, in the processes that train, or by a
process of its own (``evaluator``).

A new checkpoint triggers an evaluation, unless the last one began less than ``throttle_secs`` ago;
the checkpoint before the first step triggers none; the last state is always evaluated.
"""

from __future__ import annotations

import contextlib
import logging
import time
from typing import Any

from ostria._errors import at_line
from ostria._keywords import checked_keywords
from ostria._native import DistributedError
from ostria.estimator import evaluator as _evaluator
from ostria.estimator.cluster import EVALUATOR
from ostria.estimator.estimator import Estimator
from ostria.estimator.run_hooks import adapt, adapt_listeners
from ostria.estimator.specs import EvalSpec, TrainSpec
from ostria.train import Hook, Trainer

_log = logging.getLogger("ostria")


@checked_keywords("train_and_evaluate")
def train_and_evaluate(
    estimator: Estimator, train_spec: TrainSpec, eval_spec: EvalSpec
) -> tuple[dict[str, Any] | None, list[Any]]:
    """Trains until ``train_spec.max_steps`` or the end of the input, evaluating new checkpoints.

    The same call with the same ``model_dir`` goes on where an interrupted one was; after one that
    has reached ``max_steps`` it evaluates and returns (TensorFlow raises there).

    In several processes (``RunConfig.train_distribute``) all of them call it. Exporters run on rank
    0 alone, while the others wait: they may read the checkpoint, but not evaluate or predict.

    The process that TF_CONFIG makes the evaluator waits ``start_delay_secs``, evaluates each new
    checkpoint and exports, at most every ``throttle_secs``. It ends when it has evaluated
    ``max_steps``, or the last checkpoint of a training that ended earlier; it raises when training
    failed. While it lives, the processes that train leave evaluating and exporting to it.

    Returns:
      The results of the last evaluation, and what each exporter returned after it: on rank 0.
      (None, []) where an evaluator had them.

    Raises:
      TypeError: arguments of other types.
      RuntimeError: training made no new checkpoint: the input is empty, or RunConfig forbids
        saving; in an evaluator: training failed.
    """
    for name, value, kind in (
        ("estimator", estimator, Estimator),
        ("train_spec", train_spec, TrainSpec),
        ("eval_spec", eval_spec, EvalSpec),
    ):
        if not isinstance(value, kind):
            raise TypeError(
                at_line(
                    f"`{name}` must have type `{kind.__name__}`, given {type(value)}; "
                    "train_and_evaluate: the order is estimator, train_spec, eval_spec"
                )
            )
    if estimator.config.task_type == EVALUATOR:
        return _evaluator.evaluate_until_the_end(estimator, train_spec, eval_spec)
    trainer, directory = estimator.trainer, estimator.model_dir
    evaluations = _DuringTraining(estimator, eval_spec, train_spec.max_steps)
    hooks = [
        *adapt(train_spec.hooks),
        *adapt_listeners(train_spec.saving_listeners),
        evaluations,
    ]
    trainer.on_chief("beginning to train", lambda: _evaluator.say_begun(directory))
    alive = _evaluator.presence_of_training(directory)
    try:
        with alive if trainer.is_chief else contextlib.nullcontext():
            estimator._train(train_spec.input_fn, hooks, None, train_spec.max_steps)
        latest, last = estimator.latest_checkpoint(), train_spec.max_steps
        complete = last is not None and trainer.global_step >= last
        if evaluations.results is None and complete and latest is not None:
            # Nothing was left to train; the run before may have been killed in its last evaluation.
            evaluations.unless_elsewhere(latest)
    except DistributedError:
        raise  # the job is started again
    except Exception as error:
        if trainer.is_chief:
            with contextlib.suppress(OSError):  # it may be what failed
                _evaluator.say_ended(
                    directory, trainer.global_step, f"{type(error).__name__}: {error}"
                )
        raise
    trainer.on_chief(
        "ending to train", lambda: _evaluator.say_ended(directory, trainer.global_step)
    )
    if evaluations.results is None and (latest is None or not evaluations.elsewhere):
        config = estimator.config
        steps, secs = config.save_checkpoints_steps, config.save_checkpoints_secs
        raise RuntimeError(
            at_line(
                "There was no new checkpoint after the training. Eval status: missing checkpoint. "
                "train_and_evaluate: either the input of train_spec is empty (look at the data), "
                f"or RunConfig says never to save (save_checkpoints_steps {steps!r} and "
                f"save_checkpoints_secs {secs!r}): set one of them"
            )
        )
    return evaluations.results, evaluations.exports


class _DuringTraining(Hook, _evaluator.Evaluations):
    """Evaluates in the processes that train, unless an evaluator does."""

    def __init__(self, estimator: Estimator, spec: EvalSpec, max_steps: int | None) -> None:
        super().__init__(estimator, spec, max_steps)
        self._began_at: float | None = None  # of the last evaluation
        self._step: int | None = None  # that was evaluated last
        self.elsewhere = False  # an evaluator was there when last looked for

    def after_save(self, trainer: Trainer, path: str) -> None:
        if trainer.global_step == 0:
            _log.info("Skip the evaluation of the checkpoint before the first step.")
            return
        secs = self._spec.throttle_secs
        is_early = self._began_at is not None and time.monotonic() - self._began_at < secs
        if trainer.decide(is_early):
            _log.info("Skip the current checkpoint eval due to throttle secs (%s secs).", secs)
            return
        self.unless_elsewhere(path)

    def end(self, trainer: Trainer) -> None:
        if self._step == trainer.global_step or not trainer.saves:
            return
        path = self._estimator.latest_checkpoint()
        if path is not None and trainer.global_step > 0:
            self.unless_elsewhere(path)

    def unless_elsewhere(self, path: str) -> None:
        """Evaluates what training is at, or the newest checkpoint; then exports."""
        trainer = self._estimator.trainer
        host = _evaluator.evaluator_of(self._estimator.model_dir) if trainer.is_chief else ""
        was, self.elsewhere = self.elsewhere, trainer.decide(bool(host))
        if self.elsewhere:
            if trainer.is_chief and not was:
                _log.info("The evaluator on host %s evaluates the checkpoints.", host)
            return
        self._began_at = time.monotonic()
        progress = self._estimator._progress
        reporter = progress.reporter if progress else None
        with reporter.paused() if reporter else contextlib.nullcontext():
            self._step = self.evaluate(path, load=False)
