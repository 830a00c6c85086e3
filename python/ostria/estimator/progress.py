# SPDX-License-Identifier: Apache-2.0
"""The progress line of a training run.

On a terminal one line is redrawn in place; elsewhere (a log file, CI) a line is written every
``log_secs``. ``update`` is called once per step and costs one look at the clock unless a line is
due: the loss is only fetched for lines that are drawn, so showing it never makes a step wait.

    step 1200/4690  loss 0.3121  12,345 examples/s  input wait 2.1 %  00:41 left
"""

from __future__ import annotations

import contextlib
import math
import os
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import TracebackType
from typing import TextIO

from ostria._keywords import checked_init


@dataclass(frozen=True)
class _Mark:
    """Totals at one moment; two of them give a rate."""

    now: float
    step: int
    examples: int
    input_wait: float


@checked_init
class ProgressReporter:
    """Writes how far training is, how fast it goes, and when it will be done.

    Args:
      total_steps: the global step at which training ends; None if unknown.
      first_step: the global step training starts from; more than 0 after a resume, and steps
        before it count neither for the speed nor for the time left.
      stream: where to write; None means ``sys.stderr`` at the time of writing.
      in_place: redraw one line; None decides by whether ``stream`` is a terminal.
      redraw_secs: shortest time between two redraws of the line in place.
      log_secs: time between two lines where nothing can be redrawn.
      window_secs: speed is measured over about this much of the recent past.
      clock: monotonic seconds; tests pass their own.
    """

    def __init__(
        self,
        total_steps: int | None = None,
        *,
        first_step: int = 0,
        stream: TextIO | None = None,
        in_place: bool | None = None,
        redraw_secs: float = 0.1,
        log_secs: float = 10.0,
        window_secs: float = 5.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._total = total_steps
        self._stream = stream
        self._in_place = _is_terminal(self._out) if in_place is None else in_place
        self._period = redraw_secs if self._in_place else log_secs
        self._window = window_secs
        self._clock = clock
        self._examples = 0
        self._input_wait = 0.0
        self._loss: float | Callable[[], float] | None = None
        self._step = first_step
        self._skipped = 0.0
        self._start = _Mark(clock(), first_step, 0, 0.0)
        self._marks: deque[_Mark] = deque([self._start])
        # The first redraw comes at once, the first log line after a full period.
        self._due = self._start.now + (0.0 if self._in_place else self._period)
        self._drawn = False
        self._closed = False

    def update(
        self,
        step: int,
        *,
        loss: float | Callable[[], float] | None = None,
        examples: int = 0,
        input_wait_secs: float = 0.0,
    ) -> None:
        """Notes a finished step and redraws if a line is due.

        Args:
          step: the global step after it.
          loss: its value, or a function that fetches it (called only for lines that are drawn).
          examples: examples in this step (over all replicas).
          input_wait_secs: seconds this step waited for input.
        """
        self._step = step
        self._examples += examples
        self._input_wait += input_wait_secs
        if loss is not None:
            self._loss = loss
        now = self._now()
        if now >= self._due and not self._closed:
            self._due = now + self._period
            self._draw(now)

    def message(self, text: str) -> None:
        """Writes a line of its own, above the progress line."""
        self._write(("\r\x1b[K" if self._drawn else "") + text + "\n")
        self._drawn = False
        if self._in_place and not self._closed and self._step > self._start.step:
            self._draw(self._now())

    @contextlib.contextmanager
    def paused(self) -> Iterator[None]:
        """Leaves the time spent inside (an evaluation, a checkpoint) out of speed and time left."""
        began = self._clock()
        try:
            yield
        finally:
            self._skipped += self._clock() - began

    def close(self) -> None:
        """Writes the last line: speed over the whole run, and the time it took, pauses included."""
        if self._closed:
            return
        self._closed = True
        end = self._mark(self._now())
        if end.step > self._start.step:
            took = end.now - self._start.now + self._skipped
            line = self._line(self._start, end, f"{format_secs(took)} total")
            self._write(("\r\x1b[K" if self._drawn else "") + line + "\n")
        elif self._drawn:
            self._write("\n")
        self._drawn = False

    def __enter__(self) -> ProgressReporter:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    @property
    def _out(self) -> TextIO | None:
        return sys.stderr if self._stream is None else self._stream

    def _now(self) -> float:
        return self._clock() - self._skipped

    def _mark(self, now: float) -> _Mark:
        return _Mark(now, self._step, self._examples, self._input_wait)

    def _draw(self, now: float) -> None:
        mark = self._mark(now)
        # Keep the newest mark that is at least a window old, so a rate always spans one.
        while len(self._marks) > 1 and now - self._marks[1].now >= self._window:
            self._marks.popleft()
        line = self._line(self._marks[0], mark, self._time_left(mark))
        if now - self._marks[-1].now >= self._window / 16:  # bounds the queue
            self._marks.append(mark)
        if self._in_place:
            self._write("\r" + line[: max(_columns(self._out) - 1, 20)] + "\x1b[K")
            self._drawn = True
        else:
            self._write(line + "\n")

    def _line(self, since: _Mark, mark: _Mark, time_text: str) -> str:
        total = "" if self._total is None else f"/{self._total}"
        parts = [f"step {mark.step}{total}"]
        if self._loss is not None:
            loss = self._loss() if callable(self._loss) else self._loss
            parts.append(f"loss {format_loss(float(loss))}")
        elapsed = mark.now - since.now
        if elapsed > 0:
            if mark.examples:
                parts.append(
                    f"{format_rate((mark.examples - since.examples) / elapsed)} examples/s"
                )
            else:
                parts.append(f"{format_rate((mark.step - since.step) / elapsed)} steps/s")
            waited = 100 * (mark.input_wait - since.input_wait) / elapsed
            parts.append(f"input wait {min(waited, 100.0):.1f} %")
        parts.append(time_text)
        return "  ".join(parts)

    def _time_left(self, mark: _Mark) -> str:
        since = self._marks[0]
        steps, secs = mark.step - since.step, mark.now - since.now
        if self._total is None or steps <= 0 or secs <= 0:
            return f"{format_secs(mark.now - self._start.now)} elapsed"
        return f"{format_secs(max(self._total - mark.step, 0) * secs / steps)} left"

    def _write(self, text: str) -> None:
        out = self._out
        if out is None:
            return
        # A closed pipe or file must not end a training run.
        with contextlib.suppress(OSError, ValueError):
            out.write(text)
            out.flush()


def format_secs(secs: float) -> str:
    """``00:41``, ``12:05``, ``3:07:09`` or ``2d 03:07``."""
    if not math.isfinite(secs):
        return "--:--"
    minutes, s = divmod(round(secs), 60)
    hours, m = divmod(minutes, 60)
    if hours < 1:
        return f"{m:02d}:{s:02d}"
    if hours < 24:
        return f"{hours}:{m:02d}:{s:02d}"
    return f"{hours // 24}d {hours % 24:02d}:{m:02d}"


def format_loss(loss: float) -> str:
    """Four decimals where they say something, else a power of ten; ``nan`` and ``inf`` as such."""
    if not math.isfinite(loss) or loss == 0:
        return f"{loss:.4f}" if loss == 0 else str(loss)
    return f"{loss:.4f}" if 1e-3 <= abs(loss) < 1e5 else f"{loss:.3e}"


def format_rate(rate: float) -> str:
    """``12,345``, ``87.3`` or ``0.42``."""
    if rate >= 99.5:
        return f"{rate:,.0f}"
    return f"{rate:.1f}" if rate >= 10 else f"{rate:.2f}"


def _columns(stream: TextIO | None) -> int:
    # Not shutil.get_terminal_size: it asks about stdout, and importing shutil is slow.
    with contextlib.suppress(OSError, ValueError, AttributeError):
        return os.get_terminal_size(stream.fileno()).columns if stream else 80
    return 80


def _is_terminal(stream: TextIO | None) -> bool:
    if stream is None or os.environ.get("TERM") == "dumb":
        return False
    with contextlib.suppress(ValueError, AttributeError):
        return stream.isatty()
    return False
