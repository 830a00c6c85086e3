# SPDX-License-Identifier: Apache-2.0
"""Evaluation and prediction of a Trainer: the state they use, and what they leave as it was.

All but the metrics of the evaluation is put back, so that training goes on as if there were none.
"""

from __future__ import annotations

import contextlib
import math
import warnings
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from ostria import io
from ostria._errors import at_line
from ostria.train._hooks import Hook, StepResults, overridden
from ostria.train._input import BatchReader, arguments, batch_size, make_reader

if TYPE_CHECKING:
    from ostria.train._together import Together
    from ostria.train._trainer import Trainer


def reader(together: Together | None, input_fn: Any, *, endless: bool) -> BatchReader:
    """Batches of ``input_fn``: those of this process's replicas under a strategy."""
    if together is not None:
        return together.reader(input_fn, endless=endless)
    return make_reader(input_fn, endless=endless)


def result_of(together: Together | None, metric: Any) -> Any:
    """``metric.result()`` over all replicas."""
    if together is None:
        return metric.result()
    with together.summed(metric.variables):
        return metric.result()


def scope(trainer: Trainer) -> contextlib.AbstractContextManager[Any]:
    """Inside, the strategy of evaluations is in force, also where that of training was."""
    evaluating = trainer._evaluating
    if evaluating is None or evaluating is trainer._together:
        return trainer._scope()
    return evaluating.instead()


def evaluate(
    trainer: Trainer,
    input_fn: Any,
    steps: int | None,
    checkpoint_path: str | None,
    watchers: list[Hook],
) -> dict[str, Any]:
    """What ``Trainer.evaluate`` does."""
    together = trainer._evaluating
    source = reader(together, input_fn, endless=False)
    if source.at_end:
        raise ValueError(
            at_line(
                "evaluate: the input is empty; it must hold at least one batch: look at what "
                "filtered or loaded the data, and give a Dataset or a function that makes it, "
                "as a generator is read only once"
            )
        )
    compiled = trainer._eval_step.trace(*arguments(source.peek()))
    metrics = trainer.task.eval_metrics
    own = {v.id for metric in metrics.values() for v in metric.variables}
    step = _load_for_use(trainer, compiled, own, checkpoint_path, "evaluate")
    for metric in metrics.values():
        metric.reset_state()
    losses: list[Any] = []
    for hook in watchers:
        hook.begin(trainer)
    before, after = overridden(watchers, "before_step"), overridden(watchers, "after_step")
    with _untouched(v for v in compiled.variables if v.id not in own):
        while steps is None or len(losses) < steps:
            try:
                batch = source.advance()
            except StopIteration:
                break
            for call in before:
                call(trainer)
            losses.append(trainer._eval_step(*arguments(batch)))
            for call in after:
                outputs = {"loss": losses[-1]}
                rows = batch_size(batch) if together is None else trainer._eval_step.rows
                call(trainer, StepResults(len(losses), rows, True, outputs))
            if trainer._together is not None and trainer._guard is not None:
                trainer._settle(False)
            if trainer._interrupting:
                break
    if trainer._interrupting:
        trainer._interrupt()
    results: dict[str, Any] = {"loss": math.fsum(float(x.item()) for x in losses) / len(losses)}
    for name, metric in metrics.items():
        results[name] = _plain(result_of(together, metric))
    results["global_step"] = step
    for hook in watchers:
        hook.end(trainer)
    for call in overridden(trainer._active, "after_eval"):
        call(trainer, results)
    return results


def predict(trainer: Trainer, input_fn: Any, checkpoint_path: str | None) -> Iterator[Any]:
    """What ``Trainer.predict`` does."""
    source = reader(trainer._together, input_fn, endless=False)
    if source.at_end:
        return
    compiled = trainer._predict_step.trace(_features(source.peek()))
    _load_for_use(trainer, compiled, set(), checkpoint_path, "predict")
    for batch in source:
        with _untouched(compiled.variables):
            if trainer._together is not None:
                outputs = trainer._together.joined(trainer._predict_step.of_all(_features(batch)))
            else:
                outputs = _to_numpy(trainer._predict_step(_features(batch)))
        yield outputs


def _load_for_use(
    trainer: Trainer, compiled: Any, own: set[int], path: str | None, what: str
) -> int:
    """Puts the state to evaluate or predict with in place; returns its global step."""
    if path is None and trainer._guard is not None:
        return trainer.global_step  # training is in progress: its state is the one
    if path is None:
        path = trainer._latest_path()
    if path is None:
        if trainer.global_step == 0:
            warnings.warn(
                f"{what}: there is no checkpoint"
                + (f" in {trainer.model_dir}" if trainer.model_dir else "")
                + " and the model is untrained: results come from freshly initialised weights",
                RuntimeWarning,
                stacklevel=6,
            )
        return trainer.global_step
    if path == trainer._source:
        return trainer.global_step
    wanted = [v for v in compiled.variables if v.id not in own]
    checkpoint = None
    if path == trainer._latest_path():
        checkpoint = trainer._latest()  # with its fallback to an older one
    if checkpoint is None and trainer._together is not None:
        checkpoint = trainer._together.load(trainer.model_dir, path)
    elif checkpoint is None:
        checkpoint = io.load_checkpoint(path)
    trainer._assign(wanted, checkpoint, warn_unused=False)
    trainer._source = None  # only a part of the state was loaded
    return int(checkpoint.step)


@contextlib.contextmanager
def _untouched(variables: Iterable[Any]) -> Iterator[None]:
    """Puts non-trainable Variables (generators, moving averages) back as they were."""
    before = [(v, v.value()) for v in variables if not v.trainable]
    try:
        yield
    finally:
        for variable, value in before:
            variable.assign(value)


def _features(batch: Any) -> Any:
    return batch[0] if type(batch) is tuple else batch


def _plain(value: Any) -> Any:
    array = np.asarray(value.numpy() if hasattr(value, "numpy") else value)
    return float(array) if array.ndim == 0 else array


def _to_numpy(outputs: Any) -> Any:
    if isinstance(outputs, dict):
        return {key: _to_numpy(value) for key, value in outputs.items()}
    return outputs.numpy()
