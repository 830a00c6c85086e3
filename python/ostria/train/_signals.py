# SPDX-License-Identifier: Apache-2.0
"""Ctrl-C and SIGTERM during training: the step in progress ends, the state is saved, the run stops.

A second Ctrl-C has its usual effect at once. A second SIGTERM has none: schedulers send it to every
process of a job, and a launcher passes it on; whoever will not wait sends SIGKILL.
"""

from __future__ import annotations

import signal
import sys
import threading
from types import FrameType, TracebackType
from typing import Any

from ostria._exit_status import SAVED


class TrainingInterrupted(KeyboardInterrupt):
    """A signal ended training after a step, and the state was saved: on all processes alike.

    Attributes:
      signum: the signal's number.
      step: the global step that was reached.
      checkpoint: path of the checkpoint, or None when nothing is saved.
      exit_status: of a program that does not catch this: 42 where SIGTERM stopped it and its state
        is saved, so that the same command goes on; else 128 + ``signum``.
    """

    __module__ = "ostria.train"
    _raised_on_all_ranks = True

    def __init__(self, signum: int, step: int, checkpoint: str | None) -> None:
        self.signum, self.step, self.checkpoint = signum, step, checkpoint
        name = signal.Signals(signum).name
        saved = (
            f"saved as {checkpoint}; run the same command again to go on"
            if checkpoint
            else ("nothing was saved: there is no model directory")
        )
        super().__init__(f"training was stopped by {name} after step {step}; {saved}")

    @property
    def exit_status(self) -> int:
        if self.signum == signal.SIGTERM and self.checkpoint is not None:
            return SAVED
        return 128 + self.signum


def end_program_by_status() -> None:
    """From now on a TrainingInterrupted that nobody catches ends the program with its exit status.

    One line is said of it, with no traceback: nothing went wrong. In an interactive session it is
    shown, and the session goes on.
    """
    outer = sys.excepthook
    if getattr(outer, "_ends_by_status", False):
        return

    def hook(kind: Any, error: BaseException, where: Any) -> None:
        if not isinstance(error, TrainingInterrupted) or hasattr(sys, "ps1"):
            outer(kind, error, where)
            return
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, signal.SIG_IGN)  # all is saved, and the end has begun
        outer(kind, error.with_traceback(None), None)
        raise SystemExit(error.exit_status)  # the interpreter takes it from a hook too

    hook._ends_by_status = True  # type: ignore[attr-defined]
    sys.excepthook = hook


def of_all(error: Exception) -> Exception:
    """Notes that all ranks raise this, so that none tells the others that it alone failed."""
    error._raised_on_all_ranks = True  # type: ignore[attr-defined]
    return error


class SignalGuard:
    """Context manager that notes SIGINT and SIGTERM; does nothing outside the main thread."""

    def __init__(self) -> None:
        self.signum: int | None = None
        self._old: dict[int, Any] = {}

    def __enter__(self) -> SignalGuard:
        if threading.current_thread() is threading.main_thread():
            for signum in (signal.SIGINT, signal.SIGTERM):
                # A handler that was not set from Python cannot be put back: leave it.
                if (old := signal.getsignal(signum)) is not None:
                    self._old[signum] = old
                    signal.signal(signum, self._note)
        return self

    def _note(self, signum: int, frame: FrameType | None) -> None:
        self.signum = signum
        if signum == signal.SIGINT:
            signal.signal(signum, self._old[signum])

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for signum, old in self._old.items():
            signal.signal(signum, old)
