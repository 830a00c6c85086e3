# SPDX-License-Identifier: Apache-2.0
"""The one training loop: steps, events, checkpoints, evaluation, exact resume.

Estimator and other front ends are adapters on it. Invariant: a checkpoint holds everything that
later steps depend on (Variables, position of the input, counters) and is taken between two steps,
so a run that is killed anywhere and started again ends bit-identical to one that was not. Hence an
evaluation must leave no trace in the state of training, and whether one takes place may depend on
the clock.
"""

from __future__ import annotations

import contextlib
import logging
import os
import time
import warnings
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from ostria import _native, io, random
from ostria._compile import compile as compile_function
from ostria._errors import at_line
from ostria._keywords import checked_init
from ostria.train import _evaluation, _nonfinite, _state
from ostria.train._checks import (
    check_choice,
    check_eval_strategy,
    check_limits,
    check_loss,
    check_strategy,
)
from ostria.train._hooks import Hook, StepResults, overridden
from ostria.train._input import BatchReader, arguments, batch_size
from ostria.train._signals import (
    SignalGuard,
    TrainingInterrupted,
    end_program_by_status,
    of_all,
)
from ostria.train._task import ModelTask, Task

_log = logging.getLogger("ostria")


@checked_init
class Trainer:
    """Trains, evaluates and predicts; saves and resumes.

    Args:
      model, loss, optimizer, metrics: see ``ModelTask``.
      task: a ``Task`` instead of these four.
      model_dir: folder for checkpoints and event files; None keeps everything in memory.
      save_steps, save_secs: a checkpoint every so many steps, or seconds; None: not so. Where
        either is given, also one before the first step and one at the end.
      keep_max: the newest so many checkpoints stay; 0 or None keeps all.
      keep_every_n_hours: one more stays for good in every such period.
      save_graph: whether checkpoints also hold the text of the training graph.
      seed: of the default generator; set whenever training starts from nothing, so that first
        values and draws do not depend on what else the process has done.
      on_nonfinite: what happens when loss or a gradient is NaN or infinite; the step then changes
        nothing. 'stop' raises NonFiniteError that names step, op and line; 'skip' goes on.
      on_save_error: what happens when a checkpoint of a run cannot be written, as on a full disk;
        those before are intact. 'raise' raises the OSError, under a strategy on all ranks; 'warn'
        goes on with a RuntimeWarning. ``save`` itself always raises.
      initialize: called with all Variables before the first step of a run that has no checkpoint to
        go on from; may assign them (a warm start).
      hooks: observers of every run, see ``Hook``.
      precision: what training, evaluation and prediction compute in, see ``ost.compile``.
      accumulate, memory_budget: micro-batches of a training step, or the memory that decides how
        many there are, see ``ost.compile``. A ``task`` splits its batch if it updates by
        ``optimizer.minimize_batch``, as the one for a model does. Under a strategy each replica
        splits its rows; ``memory_budget`` is refused there.
      device: where steps run, "cpu" or "cuda:1"; by default ``ost.default_device()``.
      strategy: of ``ost.distribute``: on which devices, of how many processes, batches are shared.
        Every process makes the same calls. Rank 0 alone writes, to a model_dir that all share.
      eval_strategy: of evaluations, where it is another. One of a single process makes each process
        evaluate all of the input by itself.

    Example:
      >>> import numpy as np, ostria as ost
      >>> x = np.linspace(-1, 1, 64, dtype=np.float32)[:, None]
      >>> data = ost.data.Dataset.from_tensor_slices((x, 3 * x)).repeat(20).batch(16)
      >>> model, mse = ost.nn.Dense(1), ost.losses.MeanSquaredError()
      >>> trainer = ost.train.Trainer(model, mse, ost.optim.SGD(0.5))
      >>> trainer.train(lambda: data).global_step
      80
    """

    def __init__(
        self,
        model: Any = None,
        loss: Any = None,
        optimizer: Any = None,
        metrics: Any = None,
        *,
        task: Task | None = None,
        model_dir: str | os.PathLike[str] | None = None,
        save_steps: int | None = None,
        save_secs: float | None = None,
        keep_max: int | None = 5,
        keep_every_n_hours: float = 10000,
        save_graph: bool = True,
        seed: int | None = None,
        on_nonfinite: str = "stop",
        on_save_error: str = "raise",
        initialize: Callable[[list[Any]], None] | None = None,
        hooks: Iterable[Hook] = (),
        precision: str | None = None,
        accumulate: int = 1,
        memory_budget: int | str | None = None,
        device: str | None = None,
        strategy: Any = None,
        eval_strategy: Any = None,
    ) -> None:
        if (task is None) == (model is None):
            raise ValueError(
                at_line(
                    "Trainer: "
                    f"{'neither model nor task' if model is None else 'both model and task'} is "
                    "given; give one of them: a model (with loss and optimizer) or task="
                )
            )
        check_choice("on_nonfinite", on_nonfinite, ("stop", "skip"))
        check_choice("on_save_error", on_save_error, ("raise", "warn"))
        if (save_steps or save_secs) and model_dir is None:
            raise ValueError(
                at_line(
                    f"Trainer: save_steps {save_steps!r} and save_secs {save_secs!r} need a "
                    "model_dir to save to; give model_dir, or neither of the two"
                )
            )
        if strategy is not None:
            check_strategy(strategy, device, memory_budget)
        if eval_strategy is not None:
            check_eval_strategy(eval_strategy, strategy, device)
        self.task = ModelTask(model, loss, optimizer, metrics) if task is None else task
        self.model_dir = None if model_dir is None else os.fspath(model_dir)
        self._save_steps, self._save_secs = save_steps or None, save_secs or None
        self._keep = {"keep_max": keep_max, "keep_every_n_hours": keep_every_n_hours}
        self._save_graph = save_graph
        self._initialize = initialize
        self._seed = seed
        self._on_nonfinite, self._on_save_error = on_nonfinite, on_save_error
        self._hooks = list(hooks)
        self._active: list[Hook] = []  # hooks of the run in progress

        self._together = None if strategy is None else _joined(strategy)
        self._evaluating = self._together  # what evaluations run on
        if eval_strategy is not None and eval_strategy is not strategy:
            self._evaluating = _joined(eval_strategy)
        if self._together is not None:
            made = self._together.compile
            self._train_step: Any = made(self._trace_train, "train_step", precision, accumulate)
            self._predict_step: Any = made(self._trace_predict, "predict_step", precision)
        else:
            same: dict[str, Any] = {"dynamic_batch": True, "precision": precision, "device": device}
            self._train_step = compile_function(
                self._trace_train,
                name="train_step",
                accumulate=accumulate,
                memory_budget=memory_budget,
                **same,
            )
            self._predict_step = compile_function(self._trace_predict, name="predict_step", **same)
        if self._evaluating is not None:
            self._eval_step: Any = self._evaluating.compile(
                self._trace_eval, "eval_step", precision
            )
        else:
            self._eval_step = compile_function(self._trace_eval, name="eval_step", **same)
        self._train_variables: dict[int, Any] = {}
        self._generators: list[Any] = []
        self._progress = _state.Progress()
        self._source: str | None = None  # the checkpoint that the Variables equal, if any
        self._saved_step: int | None = None
        self._reader: BatchReader | None = None
        self._guard: SignalGuard | None = None
        self._signum: int | None = None  # of the run in progress, on all processes
        self._stop = False
        self._train_args: Any = None

    # --- What hooks see ---------------------------------------------------------------------------

    @property
    def global_step(self) -> int:
        """Training steps done, over all runs."""
        return self._progress.step

    @property
    def skipped_steps(self) -> int:
        """Steps that changed nothing because they were not finite (``on_nonfinite='skip'``)."""
        return self._progress.skipped

    @property
    def saves(self) -> bool:
        """Whether checkpoints are written."""
        return self.model_dir is not None and bool(self._save_steps or self._save_secs)

    @property
    def input_wait_seconds(self) -> float:
        """Time that the run in progress has spent waiting for input."""
        return self._reader.wait_seconds if self._reader else 0.0

    @property
    def variables(self) -> list[Any]:
        """Every Variable that is saved, as far as known: all after the first training step."""
        known = dict(self._train_variables)
        known.update((v.id, v) for v in self.task.variables)
        return [known[key] for key in sorted(known)]

    @property
    def is_chief(self) -> bool:
        """Whether this process writes checkpoints and event files: rank 0, or the only one."""
        return self._together is None or self._together.is_chief

    def result_of(self, metric: Any) -> Any:
        """``metric.result()`` over all replicas; under a strategy every process calls it."""
        return _evaluation.result_of(self._together, metric)

    def on_chief(self, what: str, action: Callable[[], Any]) -> None:
        """Runs ``action``, which writes something, on rank 0 alone, while the others wait.

        Args:
          what: names it in messages, the same on all ranks.

        Raises:
          OSError, RuntimeError: it failed; on all ranks, with the message of rank 0.
        """
        if self._together is None:
            action()
        else:
            self._together.on_chief(what, lambda: (action(), "")[1])

    def decide(self, choice: bool) -> bool:
        """Rank 0's choice, on all ranks: for what depends on a clock or a file."""
        return choice if self._together is None else self._together.decide(choice)

    def latest_checkpoint(self) -> str | None:
        """Path of the newest checkpoint of ``model_dir``, that of rank 0 on all; None: none."""
        return self._latest_path()

    def request_stop(self) -> None:
        """Ends training after the step in progress; the state is saved as at any end."""
        self._stop = True

    # --- Training ---------------------------------------------------------------------------------

    def train(
        self,
        input_fn: Any,
        *,
        steps: int | None = None,
        max_steps: int | None = None,
        hooks: Iterable[Hook] = (),
    ) -> Trainer:
        """Trains until ``steps`` more, ``max_steps`` in all, or the end of the input.

        Goes on from the newest good checkpoint of ``model_dir``. After an interrupted run the input
        goes on at the very batch where it was; after a finished one it starts anew.
        SIGINT and SIGTERM end the run after the step in progress, saved.

        Args:
          input_fn: a Dataset, another iterable of batches, one batch of arrays, or a function
            that returns such. A batch is features, (features, labels) or (features, labels,
            weights).
          steps: how many more; max_steps: up to which global step. At most one of them.
          hooks: observers of this run, after those of the Trainer.

        Raises:
          ValueError: both limits, no limit with an endless input, a model and checkpoint that
            differ, or an input that another number of processes cannot go on with (see
            docs/distributed.md).
          NonFiniteError: see ``on_nonfinite``; the state is that before the step.
          TrainingInterrupted: a signal arrived (a KeyboardInterrupt); its ``exit_status`` is that
            of a program that does not catch it.
          PeerFailedError: another process of the strategy failed.
        """
        check_limits(steps, max_steps)
        with self._scope():
            return self._train(input_fn, steps, max_steps, hooks)

    def _train(
        self, input_fn: Any, steps: int | None, max_steps: int | None, hooks: Iterable[Hook]
    ) -> Trainer:
        checkpoint = self._latest() if self.model_dir else None
        if checkpoint is not None:
            self._progress = _state.progress_of(checkpoint)
        if max_steps is not None and self.global_step >= max_steps:
            _log.info("Skipping training since max_steps has already saved.")
            return self
        self._reader = reader = _evaluation.reader(self._together, input_fn, endless=True)
        if reader.is_constant and steps is None and max_steps is None:
            raise ValueError(
                at_line(
                    "train: the input is one batch of arrays, which would be repeated for ever; "
                    "give steps or max_steps, or return a Dataset"
                )
            )
        self._resume_input(reader)
        if self._seed is not None and checkpoint is None and self.global_step == 0:
            random.seed(self._seed)
        if reader.at_end:
            self._warn_no_steps()
            return self
        self._prepare_train(reader.peek())
        if checkpoint is not None:
            self._assign(self.variables, checkpoint, warn_unused=True)
        elif self._initialize is not None and self.global_step == 0:
            self._initialize(self.variables)
            if self._together is not None:
                self._together.assigned(self.variables)
        self._saved_step = None if checkpoint is None else self.global_step
        last = max_steps if steps is None else self.global_step + steps
        self._active = [*self._hooks, *hooks]
        self._stop, self._signum = False, None
        try:
            with SignalGuard() as self._guard:
                self._loop(reader, last)
        finally:
            for hook in self._active:
                hook.close()
            self._guard, self._active, self._reader = None, [], None
            self._signum = None
        return self

    def _loop(self, reader: BatchReader, last: int | None) -> None:
        hooks = self._active
        for hook in hooks:
            hook.begin(self)
        before, after = overridden(hooks, "before_step"), overridden(hooks, "after_step")
        if self.saves and self._saved_step is None:
            self._save_or_warn()
        first = self.global_step
        saved_at = time.monotonic()
        progress, step = self._progress, self._train_step
        every, secs = self._save_steps, self._save_secs
        together = self._together
        if together is not None:
            self._settle(False)
        while not self._stop and (last is None or progress.step < last):
            try:
                batch = reader.advance()
            except StopIteration:
                break
            for call in before:
                call(self)
            args = arguments(batch)
            self._source = None
            loss, committed = step(*args)
            took_effect = bool(committed)  # on the CPU the step is over: nothing is waited for
            if not took_effect:
                self._handle_nonfinite(args, loss)
            progress.step += 1
            if after:
                outputs = {"loss": loss}
                rows = batch_size(batch) if together is None else step.rows
                results = StepResults(progress.step, rows, took_effect, outputs)
                for call in after:
                    call(self, results)
            due = secs is not None and time.monotonic() - saved_at >= secs
            if together is not None:
                due = self._settle(due)
            if self._interrupting:
                self._interrupt()
            if due or (every and progress.step % every == 0):
                if progress.step != last:  # the last one is marked as such, below
                    progress.finished = reader.at_end
                    self._save_or_warn()
                    saved_at = time.monotonic()
        if progress.step == first and not self._stop:
            self._warn_no_steps()
        progress.finished = True
        if self.saves and self._saved_step != progress.step:
            self._save_or_warn()
        for hook in hooks:
            hook.end(self)

    def _resume_input(self, reader: BatchReader) -> None:
        progress = self._progress
        position, progress.position = progress.position, None
        was_cut_short, progress.finished = not progress.finished, False
        if position is None or not was_cut_short:
            return
        try:
            reader.restore(position)
        except ValueError as error:
            if self._together is not None and self._together.is_other_world(error):
                raise
            warnings.warn(
                f"the input is read from its start, not from where step {progress.step} left it: "
                f"{error}",
                RuntimeWarning,
                stacklevel=5,
            )

    def _warn_no_steps(self) -> None:
        message = "Training made no steps. Perhaps input is empty or misspecified."
        warnings.warn(message, RuntimeWarning, stacklevel=5)

    def _interrupt(self) -> None:
        """Saves if need be, and leaves."""
        signum = self._interrupting
        assert signum is not None
        if self.saves and self._saved_step != self.global_step:
            self._save_or_warn()
        path = self._latest_path() if self.saves else None
        end_program_by_status()
        raise TrainingInterrupted(signum, self.global_step, path)

    def _handle_nonfinite(self, args: tuple[Any, ...], loss: Any) -> None:
        step, value = self.global_step + 1, float(loss.item())
        if self._on_nonfinite == "stop":
            together = self._together
            bad = _nonfinite.bad_inputs(args) if together is None else together.bad_inputs(args)
            cause = ""
            if not bad and (together is None or together.num_workers == 1):
                cause = _nonfinite.find(self._train_step, args, self._generators)
            text = _nonfinite.message(step, value, bad, cause, self._saved_step)
            raise of_all(_native.NonFiniteError(at_line(text)))
        self._progress.skipped += 1
        _log.warning(
            "step %d is left out: its loss is %s, or a gradient is not finite", step, value
        )

    # --- Checkpoints ------------------------------------------------------------------------------

    def save(self) -> str:
        """Writes a checkpoint of the present state and returns its path.

        Raises:
          ValueError: there is no model_dir, or two Variables share a name.
          OSError: it cannot be written; the checkpoints before are intact.
        """
        if self.model_dir is None:
            raise ValueError(
                at_line(
                    "save: this Trainer has no folder to save to; give it one, Trainer(..., "
                    "model_dir=...)"
                )
            )
        for call in overridden(self._active, "before_save"):
            call(self)
        progress = self._progress
        progress.position = self._reader.save() if self._reader is not None else None
        blobs = _state.to_blobs(progress)
        if self._save_graph and self._train_args is not None:
            blobs["graph"] = self._train_step.trace(*self._train_args).text()
        directory, variables = self.model_dir, _state.by_name(self.variables)
        known: dict[int, Any] = {}

        def write() -> str:
            return io.save_checkpoint(
                directory,
                progress.step,
                _state.to_tensors(variables, progress.step, known),
                blobs=blobs,
                metadata={"framework": "ostria"},
                **self._keep,  # type: ignore[arg-type]
            )

        if self._together is None:
            path = write()
        else:
            known = self._together.collect(list(variables.values()))
            path = self._together.on_chief("writing a checkpoint", write)
        self._source, self._saved_step = path, progress.step
        for call in overridden(self._active, "after_save"):
            call(self, path)
        if self._together is not None and self._guard is not None:
            self._settle(False)  # what hooks asked for
        if self._interrupting:
            self._interrupt()
        return path

    def _save_or_warn(self) -> None:
        """`save`, of a run that ``on_save_error`` may let go on without it.

        Under a strategy the error is that of all ranks, so all decide alike.
        """
        step = self.global_step
        try:
            self.save()
        except OSError as error:
            if self._on_save_error == "raise" or self._saved_step == step:
                raise
            warnings.warn(
                f"training goes on without a checkpoint of step {step}: {error}",
                RuntimeWarning,
                stacklevel=5,
            )

    def _latest(self) -> Any:
        assert self.model_dir is not None
        if self._together is not None:
            return self._together.load(self.model_dir)
        return io.load_latest_checkpoint(self.model_dir)

    def _latest_path(self) -> str | None:
        if self.model_dir is None:
            return None
        if self._together is not None:
            return self._together.latest(self.model_dir)
        return io.latest_checkpoint(self.model_dir)

    def _assign(self, variables: list[Any], checkpoint: Any, *, warn_unused: bool) -> None:
        _state.assign(_state.by_name(variables), checkpoint, warn_unused=warn_unused)
        if self._together is not None:
            self._together.assigned(variables)
        self._source = checkpoint.path

    # --- Evaluation and prediction ----------------------------------------------------------------

    def evaluate(
        self,
        input_fn: Any,
        *,
        steps: int | None = None,
        checkpoint_path: str | None = None,
        hooks: Iterable[Hook] = (),
    ) -> dict[str, Any]:
        """Loss and metrics over ``steps`` batches, or over all of the input.

        Args:
          input_fn: as for ``train``; a batch of arrays is used once.
          steps: how many batches at most.
          checkpoint_path: which state; None: that of the run in progress, else the newest
            checkpoint's, else that in memory.
          hooks: get ``begin``, ``before_step`` and ``after_step`` for each batch (whose number is
            the step), and ``end``.

        Returns:
          ``loss`` (mean over batches), each metric (a float, or an array), and ``global_step``.

        Raises:
          ValueError: the input is empty, or model and checkpoint differ.
        """
        with _evaluation.scope(self):
            return _evaluation.evaluate(self, input_fn, steps, checkpoint_path, list(hooks))

    def predict(self, input_fn: Any, *, checkpoint_path: str | None = None) -> Iterator[Any]:
        """What the model gives for each batch of features, as NumPy arrays, batch by batch.

        Args:
          input_fn: as for ``evaluate``; of a tuple only the first part, the features, is used.
          checkpoint_path: as for ``evaluate``.
        """
        return _evaluation.predict(self, input_fn, checkpoint_path)

    # --- Under a strategy -------------------------------------------------------------------------

    def _scope(self) -> Any:
        return contextlib.nullcontext() if self._together is None else self._together.scope()

    def _settle(self, due: bool) -> bool:
        """Makes a signal, a request to stop and a save that is due those of all processes."""
        assert self._together is not None
        signum = None if self._guard is None else self._guard.signum
        self._signum, self._stop, due = self._together.settle(signum, self._stop, due)
        return due

    @property
    def _interrupting(self) -> int | None:
        """The signal that ends the run in progress."""
        if self._guard is None or self._together is not None:
            return self._signum
        return self._guard.signum

    # --- What is traced ---------------------------------------------------------------------------

    def _prepare_train(self, batch: Any) -> None:
        """Traces the step for this kind of batch: from then on all Variables exist."""
        self._train_args = arguments(batch)
        compiled = self._train_step.trace(*self._train_args)
        self._train_variables.update((v.id, v) for v in compiled.variables)

    def _trace_train(self, *batch: Any) -> tuple[Any, Any]:
        trace = _native.current_trace()
        loss = self.task.train(batch)
        check_loss(loss, "the training step")
        if trace.commit is None:
            trace.set_commit(_native.ops.isfinite(loss))
        self._generators = _nonfinite.generators(trace)
        self._train_variables.update((v.id, v) for v in trace.variables())
        _state.by_name(self.variables)  # says now, not at the first save, that two share a name
        return loss, trace.commit

    def _trace_eval(self, *batch: Any) -> Any:
        loss = self.task.evaluate(batch)
        check_loss(loss, "the evaluation step")
        return loss

    def _trace_predict(self, features: Any) -> Any:
        return self.task.predict(features)


def _joined(strategy: Any) -> Any:
    from ostria.train._together import Together  # only with a strategy

    return Together(strategy)
