# SPDX-License-Identifier: Apache-2.0
"""Ctrl-C and SIGTERM during training: the step in progress ends, the state is saved, the run stops.

A second signal of the same kind has its usual effect at once.
"""

from __future__ import annotations

import signal
import threading
from types import FrameType, TracebackType
from typing import Any


class TrainingInterrupted(KeyboardInterrupt):
    """A signal ended training after a step, and the state was saved: on all processes alike.

    Attributes:
      signum: the signal's number.
      step: the global step that was reached.
      checkpoint: path of the checkpoint, or None when there is no model directory.
    """

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
        signal.signal(signum, self._old[signum])

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for signum, old in self._old.items():
            signal.signal(signum, old)
