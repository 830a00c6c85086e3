# SPDX-License-Identifier: Apache-2.0
"""The progress line, with a clock that only moves when told to."""

import io
import os

import pytest

from ostria.estimator import ProgressReporter
from ostria.estimator.progress import format_loss, format_rate, format_secs


class Clock:
    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture
def clock():
    return Clock()


def run(progress, clock, steps, secs=0.01, first=0, **update):
    for step in range(first + 1, first + steps + 1):
        clock.now += secs
        progress.update(step, **update)


def test_a_log_gets_a_line_every_log_secs(clock):
    out = io.StringIO()
    progress = ProgressReporter(4690, stream=out, log_secs=10, clock=clock)
    run(progress, clock, 1200, loss=0.31214, examples=128, input_wait_secs=0.01 * 0.021)
    assert out.getvalue() == (
        "step 1000/4690  loss 0.3121  12,800 examples/s  input wait 2.1 %  00:37 left\n"
    )
    progress.close()
    progress.close()
    assert out.getvalue().splitlines()[1:] == [
        "step 1200/4690  loss 0.3121  12,800 examples/s  input wait 2.1 %  00:12 total"
    ]


def test_a_terminal_gets_one_line_redrawn(clock, monkeypatch):
    monkeypatch.setenv("TERM", "xterm")
    out = Terminal()
    with ProgressReporter(100, stream=out, redraw_secs=0.1, clock=clock) as progress:
        run(progress, clock, 100, loss=1, examples=10)
    text = out.getvalue()
    assert text.count("\n") == 1
    assert text.endswith("\n")
    assert 10 <= text.count("\r") <= 13
    assert "\rstep 100/100  loss 1.0000  1,000 examples/s" in text.replace("\x1b[K", "")


def test_a_narrow_terminal_never_wraps(clock, monkeypatch):
    monkeypatch.setattr("os.get_terminal_size", lambda fd: os.terminal_size((30, 20)))
    out = Terminal()
    out.fileno = lambda: 2
    progress = ProgressReporter(100, stream=out, in_place=True, clock=clock)
    run(progress, clock, 50, loss=1, examples=10)
    lines = out.getvalue().replace("\x1b[K", "").split("\r")
    assert len(lines) > 3
    assert max(map(len, lines)) <= 29


def test_the_loss_is_fetched_only_for_lines_that_are_drawn(clock):
    fetched = []

    def loss():
        fetched.append(1)
        return 0.5

    progress = ProgressReporter(stream=io.StringIO(), log_secs=1, clock=clock)
    run(progress, clock, 350, secs=0.01, loss=loss)
    assert len(fetched) == 3


def test_speed_follows_the_recent_past_and_resume_does_not_count(clock):
    out = io.StringIO()
    progress = ProgressReporter(
        3000, first_step=1000, stream=out, log_secs=10, window_secs=5, clock=clock
    )
    run(progress, clock, 10, secs=1.0, first=1000, examples=1)  # slow start: 1 step/s
    run(progress, clock, 1280, secs=2**-7, first=1010, examples=1)  # then 128 steps/s
    first, second = out.getvalue().splitlines()
    assert "1.00 examples/s" in first
    assert "33:10 left" in first
    assert "step 2290/3000  128 examples/s" in second
    assert "00:06 left" in second  # 710 steps at 128 steps/s


def test_without_a_total_or_examples(clock):
    out = io.StringIO()
    progress = ProgressReporter(stream=out, log_secs=1, clock=clock)
    run(progress, clock, 100, secs=2**-6)
    assert out.getvalue() == "step 64  64.0 steps/s  input wait 0.0 %  00:01 elapsed\n"


def test_pauses_do_not_slow_the_speed_down(clock):
    out = io.StringIO()
    progress = ProgressReporter(300, stream=out, log_secs=1, clock=clock)
    run(progress, clock, 96, secs=2**-6)
    with progress.paused():
        clock.now += 60
    run(progress, clock, 64, secs=2**-6, first=96)
    progress.close()
    assert [line.split("  ")[1] for line in out.getvalue().splitlines()] == ["64.0 steps/s"] * 3
    assert out.getvalue().endswith("01:02 total\n")


def test_messages_stand_above_the_line(clock):
    out = io.StringIO()
    progress = ProgressReporter(10, stream=out, in_place=True, redraw_secs=0, clock=clock)
    run(progress, clock, 1)
    progress.message("saved model.ckpt-1")
    tail = out.getvalue().split("saved model.ckpt-1")
    assert tail[0].endswith("\r\x1b[K")
    assert tail[1].startswith("\n\rstep 1/10")
    log = io.StringIO()
    ProgressReporter(10, stream=log, clock=clock).message("saved")
    assert log.getvalue() == "saved\n"


def test_a_closed_stream_does_not_end_training(clock, monkeypatch):
    out = io.StringIO()
    progress = ProgressReporter(10, stream=out, in_place=True, clock=clock)
    out.close()
    run(progress, clock, 10, secs=1)
    progress.close()
    monkeypatch.setattr("sys.stderr", None)
    nobody = ProgressReporter(10, clock=clock)
    run(nobody, clock, 10, secs=20)
    nobody.close()


def test_a_run_without_steps_says_nothing(clock):
    out = io.StringIO()
    ProgressReporter(10, stream=out, in_place=True, clock=clock).close()
    assert out.getvalue() == ""


def test_unknown_keyword():
    with pytest.raises(TypeError, match="did you mean 'total_steps'"):
        ProgressReporter(totalsteps=3)


def test_formats():
    assert [format_secs(s) for s in (0, 41.4, 725, 11229, 97_620, float("inf"))] == [
        "00:00",
        "00:41",
        "12:05",
        "3:07:09",
        "1d 03:07",
        "--:--",
    ]
    assert [format_loss(x) for x in (0.0, 0.31214, 2.3e-5, 4e7, float("nan"), -0.5)] == [
        "0.0000",
        "0.3121",
        "2.300e-05",
        "4.000e+07",
        "nan",
        "-0.5000",
    ]
    assert [format_rate(r) for r in (12345.4, 87.31, 0.4178)] == ["12,345", "87.3", "0.42"]
