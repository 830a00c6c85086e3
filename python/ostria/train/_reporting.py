# SPDX-License-Identifier: Apache-2.0
"""What people watch a run by: the progress line and TensorBoard's event files."""

from __future__ import annotations

import functools
import time
from typing import TYPE_CHECKING, Any

from ostria import io
from ostria.train._hooks import Hook, StepResults

if TYPE_CHECKING:
    from ostria.estimator.progress import ProgressReporter
    from ostria.train._trainer import Trainer


class ProgressHook(Hook):
    """Draws ``ProgressReporter``'s line.

    Args:
      total_steps: the global step at which training ends, if known.
      total_more: or how many steps the run has.
      **options: see ``ProgressReporter``.
    """

    def __init__(
        self, total_steps: int | None = None, *, total_more: int | None = None, **options: Any
    ) -> None:
        self._total, self._more, self._options = total_steps, total_more, options
        self._reporter: ProgressReporter | None = None
        self._waited = 0.0

    @property
    def reporter(self) -> ProgressReporter | None:
        """The reporter of the run in progress."""
        return self._reporter

    def begin(self, trainer: Trainer) -> None:
        if not trainer.is_chief:
            return
        from ostria.estimator.progress import ProgressReporter

        self._waited = trainer.input_wait_seconds
        first = trainer.global_step
        total = first + self._more if self._more is not None else self._total
        self._reporter = ProgressReporter(total, first_step=first, **self._options)

    def after_step(self, trainer: Trainer, results: StepResults) -> None:
        if self._reporter is None:
            return
        waited = trainer.input_wait_seconds
        self._reporter.update(
            results.step,
            loss=lambda: results.loss,
            examples=results.examples,
            input_wait_secs=waited - self._waited,
        )
        self._waited = waited

    def close(self) -> None:
        """Writes the last line, once."""
        if self._reporter is not None:
            self._reporter.close()
            self._reporter = None


class SummaryHook(Hook):
    """Writes ``loss``, training metrics and ``global_step/sec`` to the model directory.

    Training metrics cover the steps since the summary before, and start over at each.

    Args:
      directory: where event files go.
      summary_steps: how often loss and metrics are written; 0 or None: never.
      log_steps: how often the speed is; None: never.
    """

    def __init__(
        self, directory: str, summary_steps: int | None = 100, log_steps: int | None = 100
    ) -> None:
        self._directory = directory
        self._summary_steps, self._log_steps = summary_steps or 0, log_steps or 0
        self._writer: io.EventWriter | None = None
        self._mark = (0, 0.0)

    def begin(self, trainer: Trainer) -> None:
        self._mark = (trainer.global_step, time.monotonic())

    def after_step(self, trainer: Trainer, results: StepResults) -> None:
        step, values = results.step, {}
        has_summary = self._summary_steps and (step % self._summary_steps == 0 or step == 1)
        has_speed = self._log_steps and step % self._log_steps == 0
        if has_summary:
            values["loss"] = results.loss
            for name, metric in trainer.task.train_metrics.items():
                value = trainer.result_of(metric)
                if value.ndim == 0:
                    values[name] = float(value.item())
                metric.reset_state()
        if has_speed:
            then, now = self._mark, (step, time.monotonic())
            if now[1] > then[1] and now[0] > then[0]:
                values["global_step/sec"] = (now[0] - then[0]) / (now[1] - then[1])
            self._mark = now
        if has_summary or has_speed:
            write = functools.partial(self._write, values, step)
            trainer.on_chief("writing event files", write)

    def after_save(self, trainer: Trainer, path: str) -> None:
        trainer.on_chief("writing event files", self._flush)

    def after_eval(self, trainer: Trainer, results: dict[str, float]) -> None:
        # Time spent evaluating is not training time.
        self._mark = (trainer.global_step, time.monotonic())

    def close(self) -> None:
        """Closes the event file; the next value opens another."""
        if self._writer is not None:
            self._writer.close()
            self._writer = None

    def _write(self, values: dict[str, float], step: int) -> None:
        if self._writer is None and values:
            self._writer = io.EventWriter(self._directory)
        for tag, value in values.items():
            assert self._writer is not None
            self._writer.scalar(tag, value, step)

    def _flush(self) -> None:
        if self._writer is not None:
            self._writer.flush()
