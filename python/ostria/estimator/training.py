# SPDX-License-Identifier: Apache-2.0
"""``train_and_evaluate``: training once, evaluated as it goes, in the processes that train.

A new checkpoint triggers an evaluation, unless the last one began less than ``throttle_secs`` ago;
the checkpoint before the first step triggers none; the last state is always evaluated.
"""

from __future__ import annotations

import contextlib
import functools
import logging
import os
import time
from typing import Any

from ostria._errors import at_line
from ostria._keywords import checked_keywords
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

    Returns:
      The results of the last evaluation, and what each exporter returned after it: on rank 0.

    Raises:
      TypeError: arguments of other types.
      RuntimeError: training made no new checkpoint: the input is empty, or RunConfig forbids
        saving.
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
    evaluator = _Evaluator(estimator, eval_spec, train_spec.max_steps)
    hooks = [
        *adapt(train_spec.hooks),
        *adapt_listeners(train_spec.saving_listeners),
        evaluator,
    ]
    estimator._train(train_spec.input_fn, hooks, None, train_spec.max_steps)
    latest, last = estimator.latest_checkpoint(), train_spec.max_steps
    complete = last is not None and estimator.trainer.global_step >= last
    if evaluator.results is None and complete and latest is not None:
        # Nothing was left to train; the run before may have been killed in its last evaluation.
        evaluator.evaluate(latest)
    if evaluator.results is None:
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
    return evaluator.results, evaluator.exports


class _Evaluator(Hook):
    def __init__(self, estimator: Estimator, spec: EvalSpec, max_steps: int | None) -> None:
        self._estimator, self._spec, self._max_steps = estimator, spec, max_steps
        self._began_at: float | None = None  # of the last evaluation
        self._step: int | None = None  # that was evaluated last
        self.results: dict[str, Any] | None = None
        self.exports: list[Any] = []

    def after_save(self, trainer: Trainer, path: str) -> None:
        if trainer.global_step == 0:
            _log.info("Skip the evaluation of the checkpoint before the first step.")
            return
        secs = self._spec.throttle_secs
        is_early = self._began_at is not None and time.monotonic() - self._began_at < secs
        if trainer.decide(is_early):
            _log.info("Skip the current checkpoint eval due to throttle secs (%s secs).", secs)
            return
        self.evaluate(path)

    def end(self, trainer: Trainer) -> None:
        if self._step == trainer.global_step or not trainer.saves:
            return
        path = self._estimator.latest_checkpoint()
        if path is not None and trainer.global_step > 0:
            self.evaluate(path)

    def evaluate(self, path: str) -> None:
        """Evaluates what training is at, or the newest checkpoint; then exports."""
        self._began_at = time.monotonic()
        progress = self._estimator._progress
        reporter = progress.reporter if progress else None
        with reporter.paused() if reporter else contextlib.nullcontext():
            spec = self._spec
            self.results = self._estimator.evaluate(
                spec.input_fn, steps=spec.steps, hooks=spec.hooks, name=spec.name
            )
            self._step = self.results["global_step"]
            final = self._max_steps is not None and self._step >= self._max_steps
            self.exports = []
            for exporter in spec.exporters:
                self._estimator.trainer.on_chief(
                    f"exporter {exporter.name}",
                    functools.partial(self._export, exporter, path, final),
                )

    def _export(self, exporter: Any, path: str, final: bool) -> None:
        self.exports.append(
            exporter.export(
                estimator=self._estimator,
                export_path=os.path.join(self._estimator.model_dir, "export", exporter.name),
                checkpoint_path=path,
                eval_result=self.results,
                is_the_final_export=final,
            )
        )
