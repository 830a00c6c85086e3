# SPDX-License-Identifier: Apache-2.0
"""A process that only evaluates, TF_CONFIG's 'evaluator', and what it and the trainers tell each
other: through small files in ``model_dir``, since the evaluator is in no cluster.

``evaluator.json`` is touched every few seconds while an evaluator lives; as long as it does, those
who train leave evaluations to it. ``training_ended.json`` is written when training ends or fails,
after the last checkpoint. Who is killed cannot write it: ``trainer.json`` is touched while training
lives, and an evaluator that misses that for too long ends with an error.
"""

from __future__ import annotations

import functools
import json
import logging
import math
import os
import socket
import tempfile
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ostria._errors import at_line
from ostria.estimator.specs import EvalSpec, TrainSpec

if TYPE_CHECKING:
    from ostria.estimator.estimator import Estimator

_log = logging.getLogger("ostria")

_TOUCH = 5.0  # seconds between touches of evaluator.json
_GONE = 60.0  # untouched for so many seconds, its evaluator is gone
_POLL = 1.0  # seconds between looks into model_dir
_COMPLAIN = 600.0  # seconds between warnings that there is no checkpoint, as TensorFlow's


class Evaluations:
    """Evaluates states of training, and exports after each; the results of the last one."""

    def __init__(self, estimator: Estimator, spec: EvalSpec, max_steps: int | None) -> None:
        self._estimator, self._spec, self._max_steps = estimator, spec, max_steps
        self.results: dict[str, Any] | None = None
        self.exports: list[Any] = []

    def evaluate(self, path: str, *, load: bool) -> int:
        """Evaluates what training is at, or with `load` the checkpoint; returns the global step."""
        spec = self._spec
        self.results = self._estimator.evaluate(
            spec.input_fn,
            steps=spec.steps,
            hooks=spec.hooks,
            name=spec.name,
            checkpoint_path=path if load else None,
        )
        step = int(self.results["global_step"])
        final = self._max_steps is not None and step >= self._max_steps
        self.exports = []
        for exporter in spec.exporters:
            self._estimator.trainer.on_chief(
                f"exporter {exporter.name}", functools.partial(self._export, exporter, path, final)
            )
        return step

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


def evaluate_until_the_end(
    estimator: Estimator, train_spec: TrainSpec, eval_spec: EvalSpec
) -> tuple[dict[str, Any] | None, list[Any]]:
    """What ``train_and_evaluate`` does in an evaluator: evaluates checkpoints as they appear.

    Returns:
      The results of the last evaluation, of the last checkpoint, and what exporters returned.

    Raises:
      RuntimeError: training failed, or ended without a checkpoint, or nobody has trained for
        ``RunConfig.session_creation_timeout_secs``.
    """
    last = train_spec.max_steps
    done = Evaluations(estimator, eval_spec, last)
    directory = Path(estimator.model_dir)
    seen: str | None = None
    missed_at: float | None = None
    training = _Training(directory, estimator.config.session_creation_timeout_secs)
    with Presence(directory / "evaluator.json"):
        # What ended before this process began may be begun again: that is waited for.
        _log.info("Waiting %s secs before starting eval.", eval_spec.start_delay_secs)
        time.sleep(eval_spec.start_delay_secs)
        while True:
            began = time.monotonic()
            end = _read_end(directory)  # before the look at checkpoints: all are there with it
            path = estimator.latest_checkpoint()
            if path is None and end is None:
                if missed_at is None or began - missed_at >= _COMPLAIN:
                    _log.warning("Estimator is not trained yet. Will start an evaluation when a "
                                 "checkpoint is ready; none is in %s.", directory)  # fmt: skip
                    missed_at = began
            elif path is not None and path != seen and _step_of(path) > 0:
                try:
                    step = done.evaluate(path, load=True)
                except FileNotFoundError:
                    _log.info("%s is gone; looking for a newer one.", path)  # keep_checkpoint_max
                    continue
                seen = path
                if last is not None and step >= last:
                    return done.results, done.exports
            if end is not None:
                return _ended(done, end, directory)
            training.look()
            throttle = began + eval_spec.throttle_secs
            while time.monotonic() < throttle and _read_end(directory) is None:
                training.look()
                time.sleep(min(_POLL, max(0.0, throttle - time.monotonic())))
            if eval_spec.throttle_secs < _POLL:
                time.sleep(_POLL)


def _ended(
    done: Evaluations, end: dict[str, Any], directory: Path
) -> tuple[dict[str, Any] | None, list[Any]]:
    if error := end.get("error"):
        raise RuntimeError(
            at_line(
                f"train_and_evaluate: training in {directory} failed at step "
                f"{end.get('global_step')}: {error}. Start this evaluator again beside the next try"
            )
        )
    if done.results is None:
        raise RuntimeError(
            at_line(
                f"train_and_evaluate: training in {directory} ended at step "
                f"{end.get('global_step')} without a checkpoint of a step; look at its input, and "
                "at save_checkpoints_steps and save_checkpoints_secs of its RunConfig"
            )
        )
    return done.results, done.exports


def _step_of(path: str) -> int:
    digits = os.path.basename(path).rpartition("-")[2].partition(".")[0]
    return int(digits) if digits.isdigit() else 1


# --- What the two sides tell each other -----------------------------------------------------------


def evaluator_of(model_dir: str) -> str:
    """The host of the evaluator that lives beside a training in `model_dir`; "" without one."""
    return _host_of(Path(model_dir) / "evaluator.json")


def presence_of_training(model_dir: str) -> Presence:
    """Inside, an evaluator knows that training lives."""
    return Presence(Path(model_dir) / "trainer.json")


def _host_of(path: Path) -> str:
    """Who touches that file; "" where nobody does any more."""
    try:
        # Both times are the file server's: clocks of hosts may differ.
        with tempfile.TemporaryFile(dir=path.parent) as now:
            if os.fstat(now.fileno()).st_mtime - path.stat().st_mtime > _GONE:
                return ""
        return str(json.loads(path.read_text()).get("host", "?"))
    except (OSError, ValueError, AttributeError):
        return ""


def say_begun(model_dir: str) -> None:
    """Training goes on: whatever ended before does not count."""
    (Path(model_dir) / "training_ended.json").unlink(missing_ok=True)


def say_ended(model_dir: str, global_step: int, error: str = "") -> None:
    """Training is over; every checkpoint that it will make is there."""
    _write(Path(model_dir) / "training_ended.json", {"global_step": global_step, "error": error})


def _read_end(directory: Path) -> dict[str, Any] | None:
    try:
        end = json.loads((directory / "training_ended.json").read_text())
    except (OSError, ValueError):
        return None
    return end if isinstance(end, dict) else None


def _write(path: Path, content: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile("w", dir=path.parent, prefix=".", delete=False) as file:
        try:
            json.dump(content, file)
            file.flush()
            os.fsync(file.fileno())
            os.chmod(file.name, 0o644)  # an evaluator may run as somebody else
            os.replace(file.name, path)
        except BaseException:
            os.unlink(file.name)
            raise


class _Training:
    """Whether anybody trains, as an evaluator sees it."""

    def __init__(self, directory: Path, patience: float | None) -> None:
        self._directory = directory
        self._patience = math.inf if patience is None else patience
        self._seen_at = self._said_at = time.monotonic()

    def look(self) -> None:
        """Raises RuntimeError where nobody has trained for too long."""
        now = time.monotonic()
        if _host_of(self._directory / "trainer.json"):
            self._seen_at = self._said_at = now
        elif now - self._seen_at >= self._patience:
            raise RuntimeError(
                at_line(
                    f"train_and_evaluate: nobody has trained in {self._directory} for "
                    f"{self._patience:g} s, and no end was written there, so it was killed; start "
                    "this evaluator again beside the next try. RunConfig("
                    "session_creation_timeout_secs=) gives it longer"
                )
            )
        elif now - self._said_at >= _COMPLAIN:
            self._said_at = now
            _log.warning(
                "Nobody has trained in %s for %d s; the evaluator waits.",
                self._directory,
                now - self._seen_at,
            )


class Presence:
    """Inside, a file says that this process lives, whatever else it does; it goes at the end."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._touch, daemon=True)

    def __enter__(self) -> None:
        _write(self._path, {"host": socket.gethostname(), "pid": os.getpid()})
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()
        self._path.unlink(missing_ok=True)

    def _touch(self) -> None:
        while not self._over.wait(_TOUCH):
            try:
                os.utime(self._path)
            except OSError:  # the file system has its moments: those who train evaluate meanwhile
                continue
