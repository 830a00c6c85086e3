# SPDX-License-Identifier: Apache-2.0
"""Hooks and listeners under TensorFlow's names, as adapters on the Trainer's events.

There is no session: where TensorFlow passes one, the Trainer is passed. What can be fetched is what
a step gives anyway, ``loss`` and ``global_step``, by name.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from ostria import _native
from ostria._errors import at_line
from ostria.train import Hook, StepResults, Trainer

_log = logging.getLogger("ostria")
FETCHES = ("loss", "global_step")


@dataclass(frozen=True)
class SessionRunArgs:
    """What ``before_run`` returns: names to fetch, one or a list or a dict of them."""

    fetches: Any


@dataclass(frozen=True)
class SessionRunValues:
    """What ``after_run`` gets: ``results`` nested like the fetches; None without any."""

    results: Any


class SessionRunContext:
    """What both get: a way to stop."""

    def __init__(self, session: Trainer) -> None:
        self.session = session
        self._stop = False

    @property
    def stop_requested(self) -> bool:
        """Whether a hook has asked to stop."""
        return self._stop

    def request_stop(self) -> None:
        """Ends the loop after this step."""
        self._stop = True
        self.session.request_stop()


class SessionRunHook:
    """Base of hooks with TensorFlow's methods; all do nothing."""

    def begin(self) -> None:
        """Before the first step."""

    def after_create_session(self, session: Any, coord: Any) -> None:
        """State is in place; ``session`` is the Trainer, ``coord`` None."""

    def before_run(self, run_context: SessionRunContext) -> SessionRunArgs | None:
        """Before each step; may say what ``after_run`` wants to see."""

    def after_run(self, run_context: SessionRunContext, run_values: SessionRunValues) -> None:
        """After each step."""

    def end(self, session: Any) -> None:
        """After the last step, unless an error ended the loop."""


class CheckpointSaverListener:
    """Base of listeners to checkpoints; all methods do nothing."""

    def begin(self) -> None:
        """Before the first step."""

    def before_save(self, session: Any, global_step: int) -> None:
        """A checkpoint is about to be written."""

    def after_save(self, session: Any, global_step: int) -> bool | None:
        """It is complete. True ends training."""

    def end(self, session: Any, global_step: int) -> None:
        """After the last checkpoint."""


class StopAtStepHook(SessionRunHook):
    """Ends training after ``num_steps`` more, or at the global step ``last_step``.

    Raises:
      ValueError: both or neither are given.
    """

    def __init__(self, num_steps: int | None = None, last_step: int | None = None) -> None:
        if num_steps is None and last_step is None:
            raise ValueError(
                at_line(
                    "One of num_steps or last_step must be specified. StopAtStepHook: both are "
                    "None; give num_steps for so many more, or last_step for a global step"
                )
            )
        if num_steps is not None and last_step is not None:
            raise ValueError(
                at_line(
                    "Only one of num_steps or last_step can be specified. StopAtStepHook: given "
                    f"num_steps={num_steps!r} and last_step={last_step!r}; leave one of them out"
                )
            )
        self._num_steps, self._last_step = num_steps, last_step

    def after_create_session(self, session: Any, coord: Any) -> None:
        if self._num_steps is not None:
            self._last_step = session.global_step + self._num_steps

    def after_run(self, run_context: SessionRunContext, run_values: SessionRunValues) -> None:
        if run_context.session.global_step >= (self._last_step or 0):
            run_context.request_stop()


class LoggingTensorHook(SessionRunHook):
    """Logs fetched values every so many steps.

    Args:
      tensors: names to fetch (``loss``, ``global_step``).
      every_n_iter: how often.
    """

    def __init__(self, tensors: Iterable[str], every_n_iter: int = 100) -> None:
        self._names = list(tensors)
        self._every, self._count = every_n_iter, 0

    def before_run(self, run_context: SessionRunContext) -> SessionRunArgs | None:
        self._count += 1
        due = (self._count - 1) % self._every == 0
        return SessionRunArgs({name: name for name in self._names}) if due else None

    def after_run(self, run_context: SessionRunContext, run_values: SessionRunValues) -> None:
        if run_values.results is not None:
            _log.info(", ".join(f"{name} = {v:.7g}" for name, v in run_values.results.items()))


class NanTensorHook(SessionRunHook):
    """Stops, or with ``fail_on_nan_loss`` raises NonFiniteError, when the loss is not finite.

    An Estimator always stops at a non-finite loss or gradient by itself, before it can harm the
    model, so this is of use only to end training without an error.
    """

    def __init__(self, loss_tensor: str = "loss", fail_on_nan_loss: bool = True) -> None:
        self._fail = fail_on_nan_loss

    def before_run(self, run_context: SessionRunContext) -> SessionRunArgs | None:
        return SessionRunArgs("loss")

    def after_run(self, run_context: SessionRunContext, run_values: SessionRunValues) -> None:
        if math.isfinite(run_values.results):
            return
        if self._fail:
            raise _native.NonFiniteError(
                at_line(
                    "NaN loss during training. NanTensorHook: the loss of step "
                    f"{run_context.session.global_step} is {float(run_values.results)}; look at "
                    "the data, try a smaller learning rate or clipping, or give "
                    "fail_on_nan_loss=False to stop without an error"
                )
            )
        _log.warning("NaN loss: training stops.")
        run_context.request_stop()


def adapt(hooks: Iterable[Any]) -> list[Hook]:
    """Hooks of either kind as the Trainer's."""
    return [hook if isinstance(hook, Hook) else _Adapter(hook) for hook in hooks]


def adapt_listeners(listeners: Iterable[Any]) -> list[Hook]:
    """Listeners as hooks of the Trainer."""
    return [_ListenerAdapter(listener) for listener in listeners]


def _call(target: Any, method: str, *args: Any) -> Any:
    # Hooks need not inherit: one method is enough (see specs.check_hooks).
    function = getattr(target, method, None)
    return function(*args) if callable(function) else None


class _Adapter(Hook):
    def __init__(self, hook: Any) -> None:
        self._hook = hook
        self._context: SessionRunContext | None = None
        self._fetches: Any = None

    def begin(self, trainer: Trainer) -> None:
        _call(self._hook, "begin")
        _call(self._hook, "after_create_session", trainer, None)

    def before_step(self, trainer: Trainer) -> None:
        self._context = SessionRunContext(trainer)
        args = _call(self._hook, "before_run", self._context)
        self._fetches = None if args is None else _check_fetches(args.fetches)

    def after_step(self, trainer: Trainer, results: StepResults) -> None:
        values = None if self._fetches is None else _fetch(self._fetches, results)
        _call(self._hook, "after_run", self._context, SessionRunValues(values))

    def end(self, trainer: Trainer) -> None:
        _call(self._hook, "end", trainer)


class _ListenerAdapter(Hook):
    def __init__(self, listener: Any) -> None:
        self._listener = listener

    def begin(self, trainer: Trainer) -> None:
        _call(self._listener, "begin")

    def before_save(self, trainer: Trainer) -> None:
        _call(self._listener, "before_save", trainer, trainer.global_step)

    def after_save(self, trainer: Trainer, path: str) -> None:
        if _call(self._listener, "after_save", trainer, trainer.global_step):
            trainer.request_stop()

    def end(self, trainer: Trainer) -> None:
        _call(self._listener, "end", trainer, trainer.global_step)


def _check_fetches(fetches: Any) -> Any:
    if isinstance(fetches, str):
        if fetches not in FETCHES:
            raise ValueError(
                at_line(
                    f"before_run asks for {fetches!r}, which a step does not give; it gives "
                    f"{' and '.join(FETCHES)}"
                )
            )
        return fetches
    for part in fetches.values() if isinstance(fetches, dict) else fetches:
        _check_fetches(part)
    return fetches


def _fetch(fetches: Any, results: StepResults) -> Any:
    if isinstance(fetches, dict):
        return {key: _fetch(name, results) for key, name in fetches.items()}
    if not isinstance(fetches, str):
        return [_fetch(name, results) for name in fetches]
    return results.loss if fetches == "loss" else results.step
