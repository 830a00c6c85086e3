# SPDX-License-Identifier: Apache-2.0
"""TF_CONFIG's evaluator: a process of its own beside those that train, with the same script."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import ostria as ost
from ostria.estimator import Estimator, EvalSpec, RunConfig, TrainSpec, train_and_evaluate
from ostria.estimator import evaluator as _evaluator

PATIENCE = 60.0  # seconds until a test gives up
SCRIPT = """
import json, os, sys, time
import numpy as np
import ostria as ost
from ostria.estimator import *

MAX_STEPS, STOP_AT, FAIL_AT = (int(x) if x != "-" else None for x in sys.argv[1:4])
rng = np.random.default_rng(1)
X = rng.normal(size=(60, 4)).astype(np.float32)
Y = np.argmax(X[:, :3], axis=1)

def train_input():
    return ost.data.Dataset.from_tensor_slices((X, Y)).repeat().batch(8)

def eval_input():
    return ost.data.Dataset.from_tensor_slices((X, Y)).batch(25)

class Spy:
    name = "spy"
    def export(self, estimator, export_path, checkpoint_path, eval_result, is_the_final_export):
        step = eval_result["global_step"]
        with open(os.path.join(estimator.model_dir, "exports.txt"), "a") as file:
            print(os.environ["ROLE"], step, is_the_final_export, file=file)
        return step

class Ends(SessionRunHook):
    def after_run(self, run_context, run_values):
        if run_context.session.global_step == STOP_AT:
            run_context.request_stop()
        if run_context.session.global_step == FAIL_AT:
            raise MemoryError("no room for a table")

model = ost.nn.Dense(3)
config = RunConfig(tf_random_seed=7, save_checkpoints_steps=10, log_step_count_steps=None)
e = Estimator(model=model, loss=ost.losses.SparseCategoricalCrossentropy(from_logits=True),
              optimizer=ost.optim.SGD(0.1), config=config)
if os.environ["ROLE"] == "chief" and os.environ.get("BESIDE"):
    end = time.monotonic() + 60
    while not os.path.exists(os.path.join(e.model_dir, "evaluator.json")):
        assert time.monotonic() < end
        time.sleep(0.05)
results, exports = train_and_evaluate(
    e, TrainSpec(train_input, MAX_STEPS, hooks=[Ends()]),
    EvalSpec(eval_input, steps=None, throttle_secs=0, start_delay_secs=0.0, exporters=Spy()))
print(json.dumps({"results": results, "exports": exports}))
"""


class Job:
    def __init__(self, folder: Path) -> None:
        self.folder, self.model_dir = folder, folder / "model"
        (folder / "train.py").write_text(SCRIPT)
        self._started: list[subprocess.Popen[str]] = []

    def close(self) -> None:
        for process in self._started:
            process.kill()
            process.communicate()

    def start(self, role: str, *words: object, beside: str = "1") -> subprocess.Popen[str]:
        cluster = {"chief": ["localhost:1"]}
        config = {"cluster": cluster, "task": {"type": role, "index": 0}}
        config["model_dir"] = str(self.model_dir)
        environ = dict(os.environ, TF_CONFIG=json.dumps(config), ROLE=role, BESIDE=beside)
        process = subprocess.Popen(
            [sys.executable, "train.py", *map(str, words)],
            cwd=self.folder,
            env=environ,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        self._started.append(process)
        return process

    def exports(self) -> list[str]:
        path = self.model_dir / "exports.txt"
        return path.read_text().splitlines() if path.exists() else []


@pytest.fixture
def job(tmp_path: Path) -> Iterator[Job]:
    made = Job(tmp_path)
    yield made
    made.close()


def told(process: subprocess.Popen[str]) -> dict[str, Any]:
    out, errors = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0, errors
    found: dict[str, Any] = json.loads(out.splitlines()[-1])
    return found


@pytest.mark.parametrize(
    ("words", "last"), [((30, "-", "-"), 30), (("-", 17, "-"), 17)], ids=["max_steps", "stopped"]
)
def test_the_evaluator_has_the_evaluations_and_ends_with_training(
    job: Job, words: tuple[object, ...], last: int
) -> None:
    processes = [job.start(role, *words) for role in ("evaluator", "chief")]
    evaluator, chief = (told(p) for p in processes)
    assert chief == {"results": None, "exports": []}
    assert evaluator["results"]["global_step"] == last and evaluator["exports"] == [last]
    exports = job.exports()
    assert all(line.startswith("evaluator ") for line in exports)
    assert exports[-1] == f"evaluator {last} {last == 30}"
    assert not (job.model_dir / "evaluator.json").exists()
    assert max(ost.io.read_events(job.model_dir / "eval")) == last


def test_an_evaluator_that_comes_late_ends_too(job: Job) -> None:
    alone = told(job.start("chief", "-", 12, "-", beside=""))
    assert alone["results"]["global_step"] == 12
    late = told(job.start("evaluator", "-", 12, "-"))
    np.testing.assert_allclose(late["results"]["loss"], alone["results"]["loss"], rtol=1e-6)


def test_a_training_that_failed_ends_the_evaluator_with_its_words(job: Job) -> None:
    processes = [job.start(role, 30, "-", 15) for role in ("evaluator", "chief")]
    errors = [p.communicate(timeout=PATIENCE)[1] for p in processes]
    assert all(p.returncode == 1 for p in processes)
    assert "failed at step" in errors[0] and "MemoryError: no room for a table" in errors[0]
    assert [line.split()[1] for line in job.exports()][-1:] == ["10"]


# --- What the two tell each other -----------------------------------------------------------------


def test_an_evaluator_that_died_is_not_waited_for(tmp_path: Path) -> None:
    assert _evaluator.evaluator_of(str(tmp_path)) == ""
    with _evaluator.Presence(tmp_path / "evaluator.json"):
        assert _evaluator.evaluator_of(str(tmp_path)) == os.uname().nodename
        long_ago = time.time() - 3600
        os.utime(tmp_path / "evaluator.json", (long_ago, long_ago))
        assert _evaluator.evaluator_of(str(tmp_path)) == ""
    (tmp_path / "evaluator.json").write_text("[")
    assert _evaluator.evaluator_of(str(tmp_path)) == ""


def test_an_evaluator_ends_where_nobody_trains_any_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = {"cluster": {"chief": ["a:1"]}, "task": {"type": "evaluator", "index": 0}}
    monkeypatch.setenv("TF_CONFIG", json.dumps(config))
    data = (np.ones((2, 1), np.float32), np.ones((2, 1), np.float32))

    def wait_in_vain() -> float:
        e = Estimator(
            model=ost.nn.Dense(1),
            loss=ost.losses.MeanSquaredError(),
            optimizer=ost.optim.SGD(0.1),
            model_dir=tmp_path,
            config=RunConfig(session_creation_timeout_secs=1),
        )
        begin = time.monotonic()
        with pytest.raises(RuntimeError, match=r"nobody has trained in .* for 1 s, .* was killed"):
            train_and_evaluate(
                e, TrainSpec(lambda: data, 5), EvalSpec(lambda: data, 1, start_delay_secs=0.0)
            )
        return time.monotonic() - begin

    assert wait_in_vain() < PATIENCE / 2
    with _evaluator.presence_of_training(str(tmp_path)):  # one that lives, for a while
        end = threading.Timer(4.0, (tmp_path / "trainer.json").unlink)
        end.start()
        assert wait_in_vain() > 1.5  # a second longer than without
        end.join()


def test_the_evaluator_does_not_train(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = {"cluster": {"chief": ["a:1"]}, "task": {"type": "evaluator", "index": 0}}
    monkeypatch.setenv("TF_CONFIG", json.dumps(config))
    model = ost.nn.Dense(1)
    e = Estimator(
        model=model,
        loss=ost.losses.MeanSquaredError(),
        optimizer=ost.optim.SGD(0.1),
        model_dir=tmp_path,
        config=RunConfig(),
    )
    with pytest.raises(RuntimeError, match=r"Estimator\.train: TF_CONFIG makes this process the"):
        e.train(lambda: (np.ones((2, 1)), np.ones((2, 1))), steps=1)


def test_anybody_may_read_what_the_two_tell_each_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _evaluator.say_ended(str(tmp_path), 3)
    path = tmp_path / "training_ended.json"
    assert path.stat().st_mode & 0o777 == 0o644

    def full(fd: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        _evaluator.say_ended(str(tmp_path), 4)
    assert list(tmp_path.iterdir()) == [path], "nothing of it stays"


def test_training_that_begins_again_takes_back_its_end(tmp_path: Path) -> None:
    data = (np.ones((4, 1), np.float32), np.ones((4, 1), np.float32))

    def run(steps: int, failing: bool = False) -> None:
        e = Estimator(
            model=ost.nn.Dense(1, name="out"),
            loss=ost.losses.MeanSquaredError(),
            optimizer=ost.optim.SGD(0.1),
            model_dir=tmp_path,
            config=RunConfig(log_step_count_steps=None),
        )

        def training() -> Any:
            assert not (tmp_path / "training_ended.json").exists()
            if failing:
                raise ValueError("no such table")
            return data

        spec = EvalSpec(lambda: data, steps=1)
        train_and_evaluate(e, TrainSpec(training, max_steps=steps), spec)

    run(3)
    end = json.loads((tmp_path / "training_ended.json").read_text())
    assert end == {"global_step": 3, "error": ""}
    with pytest.raises(ValueError, match="no such table"):
        run(6, failing=True)
    end = json.loads((tmp_path / "training_ended.json").read_text())
    assert end == {"global_step": 3, "error": "ValueError: no such table"}
