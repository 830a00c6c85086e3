# SPDX-License-Identifier: Apache-2.0
"""The training loop in several processes: one script, told apart by nothing but the environment.

The script trains by Trainer and MultiWorkerMirroredStrategy; a rank writes what it ends with to
`rank-R.json`, as the bytes of its weights in hex.
"""

from __future__ import annotations

import json
import re
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from launching import Launcher, elsewhere

TRAINING = """
import json
import numpy as np
import ostria as ost

rng = np.random.default_rng(0)
x = rng.standard_normal((50, 8)).astype(np.float32)
y = rng.integers(0, 3, 50)

def data(batch=8, epochs=1):
    pairs = ost.data.Dataset.from_tensor_slices((x, y)).shuffle(50, seed=4)
    return pairs.repeat(epochs).batch(batch)

class Watch(ost.train.Hook):
    def __init__(self):
        self.losses, self.rows = [], []

    def after_step(self, trainer, results):
        self.losses.append(results.loss)
        self.rows.append(results.examples)

strategy = ost.distribute.MultiWorkerMirroredStrategy(devices={devices})
# Survivors have time to tell: the launcher's SIGTERM, half a second after a failure, ends none.
signal.signal(signal.SIGTERM, signal.SIG_IGN)
watch = Watch()

def trainer(model_dir="model", save_steps=4, **options):
    with strategy.scope():
        model = ost.nn.Sequential(
            [ost.nn.Dense(16, activation="tanh"), ost.nn.Dropout(0.2), ost.nn.Dense(3)])
    loss = ost.losses.SparseCategoricalCrossentropy(from_logits=True)
    return ost.train.Trainer(
        model, loss, ost.optim.Adam(0.01), [ost.metrics.SparseCategoricalAccuracy(name="accuracy")],
        model_dir=model_dir, save_steps=save_steps, seed=3, strategy=strategy,
        hooks=[watch], **options)

def tell(trainer, **more):
    state = {{v.name: v.numpy().tobytes().hex() for v in trainer.variables}}
    with open(f"rank-{{rank}}.json", "w") as file:
        json.dump(dict(
            step=trainer.global_step, losses=watch.losses, rows=watch.rows, state=state, **more
        ), file)
"""
# What a run that nothing happens to does.
WHOLE = """
t = trainer()
t.train(data(epochs=3))
predictions = np.concatenate(list(t.predict(data(7))))
evaluation = t.evaluate(data(7))
tell(t, predictions=predictions.tolist(), evaluation=evaluation)
"""


def script(job: Launcher, body: str, devices: str = "None") -> str:
    return job.script(TRAINING.format(devices=devices) + body)


def found(job: Launcher, nproc: int) -> list[dict[str, Any]]:
    return [json.loads((job.folder / f"rank-{r}.json").read_text()) for r in range(nproc)]


def run(job: Launcher, nproc: int, body: str, devices: str = "None") -> list[dict[str, Any]]:
    status, out, err = job.run("--nproc", str(nproc), script(job, body, devices))
    assert status == 0, out + err
    return found(job, nproc)


def weights(ranks: list[dict[str, Any]]) -> dict[str, np.ndarray]:
    names = {n: h for n, h in ranks[0]["state"].items() if "dense" in n and "adam" not in n}
    assert names
    return {n: np.frombuffer(bytes.fromhex(h), np.float32) for n, h in names.items()}


@pytest.mark.parametrize(
    ("nproc", "devices"), [(2, "None"), (2, "['cpu:0', 'cpu:1']")], ids=["two", "two-of-two"]
)
def test_processes_do_what_one_does(job: Launcher, nproc: int, devices: str) -> None:
    alone = run(elsewhere(job, "alone"), 1, WHOLE)
    ranks = run(job, nproc, WHOLE, devices)
    for rank in ranks:
        assert rank["step"] == alone[0]["step"] == 19
        assert rank["rows"] == alone[0]["rows"] == [8] * 18 + [6]
        np.testing.assert_allclose(rank["losses"], alone[0]["losses"], rtol=1e-4)
        np.testing.assert_allclose(rank["predictions"], alone[0]["predictions"], atol=1e-4)
        assert rank["evaluation"] == pytest.approx(alone[0]["evaluation"], rel=1e-4)
        assert rank["evaluation"] == ranks[0]["evaluation"]
        assert rank["losses"] == ranks[0]["losses"], "ranks report other losses"
    assert weights(ranks).keys() == weights(alone).keys()
    for name, value in weights(alone).items():
        np.testing.assert_allclose(weights(ranks)[name], value, atol=1e-4, err_msg=name)
        assert weights(ranks)[name].tobytes() == weights(ranks[1:])[name].tobytes()
    files = sorted(p.name for p in (job.folder / "model").iterdir())
    assert files == sorted(p.name for p in (job.folder / "alone" / "model").iterdir())


def test_a_run_with_a_killed_rank_ends_like_one_without(job: Launcher) -> None:
    whole = run(elsewhere(job, "whole"), 2, WHOLE)
    killing = """
class Kill(ost.train.Hook):
    def after_step(self, trainer, results):
        if rank == 1 and results.step == 10:
            os.kill(os.getpid(), signal.SIGKILL)

trainer().train(data(epochs=3), hooks=[Kill()])
"""
    status, _, err = job.run("--nproc", "2", script(job, killing))
    assert status != 0
    assert "root cause: rank 1" in err
    again = run(job, 2, WHOLE)
    for rank, other in zip(again, whole, strict=True):
        assert len(rank["losses"]) == 19 - 8, "it did not go on from step 8"
        assert rank["losses"] == other["losses"][8:]
        assert rank["step"] == other["step"]
        assert rank["state"] == other["state"]


def test_a_signal_to_one_rank_saves_and_ends_all(job: Launcher) -> None:
    body = """
class Signal(ost.train.Hook):
    def after_step(self, trainer, results):
        if rank == 1 and results.step == 6:
            os.kill(os.getpid(), signal.SIGTERM)

t = trainer()
try:
    t.train(data(epochs=3), hooks=[Signal()])
except ost.train.TrainingInterrupted as error:
    tell(t, path=error.checkpoint, signum=error.signum)
t.evaluate(data())
"""
    ranks = run(job, 2, body)
    for rank in ranks:
        assert rank["step"] == 6
        assert rank["signum"] == signal.SIGTERM
        assert rank["path"] == ranks[0]["path"]
    assert (job.folder / ranks[0]["path"]).exists()
    whole = run(elsewhere(job, "whole"), 2, WHOLE)
    again = run(job, 2, WHOLE)
    assert [rank["state"] for rank in again] == [rank["state"] for rank in whole]


def test_what_cannot_be_written_is_raised_on_all_with_its_path(job: Launcher) -> None:
    body = """
def full(*args, **options):
    raise OSError(28, "No space left on device", args[0] + "/state")

t = trainer(os.path.abspath("events"))
write, ost.io.EventWriter = ost.io.EventWriter, full if rank == 0 else ost.io.EventWriter
try:
    t.train(data(), hooks=[ost.train.SummaryHook(os.path.abspath("events"), 2)])
except OSError as error:
    events = str(error)
    assert t.global_step == 1
ost.io.EventWriter = write

def told(*args, **options):  # as messages of ours end
    raise OSError(f"No space left on device: {args[0]}/state [mine.py:7]")

ost.io.save_checkpoint = told if rank == 0 else ost.io.save_checkpoint
t = trainer(os.path.abspath("model"))
try:
    t.train(data())
except OSError as error:
    tell(t, text=str(error), events=events)
    raise
"""
    status, _, err = job.run("--nproc", "2", script(job, body))
    assert status != 0
    for rank in found(job, 2):
        for text, folder in ((rank["text"], "model"), (rank["events"], "events")):
            assert "No space left on device" in text
            assert str(job.folder / folder / "state") in text
        lines = re.findall(r"\[[^\[\]]+\.py:\d+\]", rank["text"])
        assert lines == ["[mine.py:7]"], rank["text"]
    assert "No space left" in err


def test_a_rank_that_does_not_see_the_checkpoint(job: Launcher) -> None:
    run(job, 2, WHOLE)
    body = """
t = trainer(f"model{'' if rank == 0 else '-of-another-disk'}")
try:
    t.train(data())
except FileNotFoundError as error:
    tell(t, text=str(error))
"""
    for rank in run(job, 2, body):
        assert "rank 1 cannot load model-of-another-disk" in rank["text"]
        assert "must be a folder that all processes share" in rank["text"]


def test_what_one_rank_wants_all_do(job: Launcher) -> None:
    body = """
class Stop(ost.train.Hook):
    def after_step(self, trainer, results):
        if rank == 1 and results.step == 5:
            trainer.request_stop()

t = trainer(save_steps=None, **({"save_secs": 1e-9 if rank == 0 else 1e9}))
t.train(data(epochs=3), hooks=[Stop()])
saved = [step for step, _ in ost.io.list_checkpoints("model")]
strategy.barrier("saved")
try:
    broken = x.copy()
    broken[49] = np.nan
    t.train(ost.data.Dataset.from_tensor_slices((broken, y)).batch(50))
except ost.NonFiniteError as error:
    tell(t, saved=saved, text=str(error))
"""
    for rank in run(job, 2, body):
        assert rank["step"] == 5
        assert rank["saved"] == [1, 2, 3, 4, 5]
        assert "1 of 25 rows, the first is 24) of replica 1" in rank["text"]


def test_a_rank_that_waits_in_vain_says_for_what(job: Launcher) -> None:
    body = """
def slow(*args, **options):
    end = time.monotonic() + 40
    while strategy._control.failure is None and time.monotonic() < end:
        time.sleep(0.01)
    return write(*args, **options)

t = trainer()
write, ost.io.save_checkpoint = ost.io.save_checkpoint, slow
try:
    t.train(data())
except ost.DistributedError as error:
    tell(t, text=str(error))
    raise
"""
    timers = {"OSTRIA_TIMER_NO_PROGRESS": "8s", "OSTRIA_TIMER_FIRST_STEP": "8s"}
    status, _, _ = job.run("--nproc", "2", script(job, body), **timers)
    assert status != 0
    waiting, slow = reversed(found(job, 2))
    assert "writing a checkpoint: rank 0 (" in waiting["text"]
    assert "'all_gather of writing a checkpoint', in which rank 1 (" in waiting["text"]
    assert "was busy with: writing a checkpoint" in waiting["text"]
    assert "writing a checkpoint: rank " in slow["text"]


def test_ranks_that_do_different_things_are_told_so(job: Launcher) -> None:
    body = """
t = trainer()
t.train(data())
try:
    t.evaluate(data()) if rank == 0 else t.train(data())
except ost.DistributedError as error:
    tell(t, text=str(error))
    raise
"""
    status, _, _ = job.run("--nproc", "2", script(job, body))
    assert status != 0
    texts = [rank["text"] for rank in found(job, 2)]
    assert any("the next batch of a dataset" in t and "restoring a checkpoint" in t for t in texts)


ESTIMATOR = """
import json
import numpy as np
import ostria as ost
from ostria.estimator import *

rng = np.random.default_rng(0)
x = rng.standard_normal((50, 8)).astype(np.float32)
y = rng.integers(0, 3, 50)

def model_fn(features, labels, mode):
    logits = ost.nn.Dense(3)(ost.nn.Dense(8, activation="tanh")(features))
    loss = ost.losses.SparseCategoricalCrossentropy(from_logits=True)(labels, logits)
    accuracy = ost.metrics.SparseCategoricalAccuracy()
    accuracy.update_state(labels, logits)
    return EstimatorSpec(
        mode, loss=loss, train_op=ost.optim.Adam(0.01), eval_metric_ops={"accuracy": accuracy})

def data():
    return ost.data.Dataset.from_tensor_slices((x, y)).batch(8)

class Exporter:
    name = "once"

    def export(self, estimator, export_path, checkpoint_path, eval_result, is_the_final_export):
        os.makedirs(export_path, exist_ok=True)
        with open(os.path.join(export_path, f"{rank}"), "w") as file:
            file.write(checkpoint_path)
        return export_path

config = RunConfig(
    model_dir="model", tf_random_seed=1, save_checkpoints_steps=3, save_summary_steps=2,
    train_distribute=ost.distribute.MultiWorkerMirroredStrategy())
estimator = Estimator(model_fn, config=config)
results, _ = train_and_evaluate(
    estimator, TrainSpec(data, max_steps=7),
    EvalSpec(data, steps=None, throttle_secs=0 if rank == 0 else 10**6, exporters=[Exporter()]))
with open(f"rank-{rank}.json", "w") as file:
    json.dump(dict(
        results=results, chief=config.is_chief, workers=config.num_worker_replicas,
        rank=config.global_id_in_cluster,
        state={n: estimator.get_variable_value(n).tobytes().hex()
               for n in estimator.get_variable_names()}), file)
"""


def tree(folder: Path) -> list[str]:
    """What was written, without the parts of names that tell hosts and times."""
    paths = (str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file())
    return sorted(p.split(".tfevents")[0] for p in paths)


def test_tf_config_names_the_processes_of_an_estimator(job: Launcher) -> None:
    alone = elsewhere(job, "alone")
    status, _, err = alone.run("--nproc", "1", alone.script(ESTIMATOR))
    assert status == 0, err
    head = "import os\nrank = int('\"type\": \"worker\"' in os.environ['TF_CONFIG'])\n"
    path = job.folder / "estimator.py"
    path.write_text(head + ESTIMATOR)
    processes = job.by_tf_config(str(path), ["chief", "worker"])
    errors = [job.end(process)[2] for process in processes]
    assert [p.returncode for p in processes] == [0, 0], errors
    ranks = found(job, 2)
    one = found(alone, 1)[0]
    assert [(r["chief"], r["workers"], r["rank"]) for r in ranks] == [(True, 2, 0), (False, 2, 1)]
    for rank in ranks:
        assert rank["results"] == pytest.approx(one["results"], rel=1e-4)
        assert rank["state"] == ranks[0]["state"]
    for name, value in one["state"].items():
        if "dense" in name and "adam" not in name:
            mine = np.frombuffer(bytes.fromhex(ranks[0]["state"][name]), np.float32)
            theirs = np.frombuffer(bytes.fromhex(value), np.float32)
            np.testing.assert_allclose(mine, theirs, atol=1e-4, err_msg=name)
    assert tree(job.folder / "model") == tree(alone.folder / "model"), "only rank 0 writes"


BESIDE = """
import json, os, time
import numpy as np
import ostria as ost
from ostria.estimator import EvalSpec, Estimator, RunConfig, TrainSpec, train_and_evaluate

rng = np.random.default_rng(0)
x = rng.standard_normal((60, 4)).astype(np.float32)
y = np.argmax(x[:, :3], axis=1)
strategy = ost.distribute.MultiWorkerMirroredStrategy()
config = RunConfig("model", 7, save_checkpoints_steps=10, train_distribute=strategy)
with strategy.scope():
    model = ost.nn.Dense(3)
loss = ost.losses.SparseCategoricalCrossentropy(from_logits=True)
estimator = Estimator(model=model, loss=loss, optimizer=ost.optim.SGD(0.1), config=config)
data = ost.data.Dataset.from_tensor_slices((x, y))
end = time.monotonic() + 30
while config.task_type != "evaluator" and not os.path.exists("model/evaluator.json"):
    assert time.monotonic() < end
    time.sleep(0.02)
results, _ = train_and_evaluate(
    estimator, TrainSpec(lambda: data.repeat().batch(8), 25),
    EvalSpec(lambda: data.batch(25), steps=None, throttle_secs=0, start_delay_secs=0.0))
print(json.dumps([config.task_type, config.is_chief, results and results["global_step"]]))
"""


def test_an_evaluator_beside_two_that_train(job: Launcher) -> None:
    path = job.folder / "train.py"
    path.write_text(BESIDE)
    processes = job.by_tf_config(str(path), ["evaluator", "chief", "worker"])
    ends = [job.end(process) for process in processes]
    assert [status for status, _, _ in ends] == [0, 0, 0], [err for _, _, err in ends]
    assert [json.loads(out) for _, out, _ in ends] == [
        ["evaluator", False, 25],
        ["chief", True, None],
        ["worker", False, None],
    ]


def expect_patience(job: Launcher, body: str) -> None:
    """All seven steps are done, though something takes longer than a collective may."""
    timers = {
        "OSTRIA_TIMER_HEARTBEAT": "50ms",
        "OSTRIA_TIMER_NO_PROGRESS": "3s",
        "OSTRIA_TIMER_FIRST_STEP": "30s",
    }
    status, out, err = job.run("--nproc", "2", script(job, body), **timers)
    assert status == 0, out + err
    assert [rank["step"] for rank in found(job, 2)] == [7, 7]


def test_what_comes_before_the_first_step_may_take_as_long_as_that(job: Launcher) -> None:
    body = """
class Slow(ost.train.Hook):  # the step is traced by then, and has not run
    def before_step(self, trainer):
        if rank == 1 and trainer.global_step == 0:
            time.sleep(5)

t = trainer()
t.train(data(), hooks=[Slow()])
tell(t)
"""
    expect_patience(job, body)


def test_what_rank_0_does_alone_may_take_as_long_as_a_first_step(job: Launcher) -> None:
    body = """
class Exports(ost.train.Hook):
    def after_save(self, trainer, path):
        if trainer.global_step == 4:
            trainer.on_chief("exporting", lambda: time.sleep(5))

t = trainer()
t.train(data(), hooks=[Exports()])
tell(t)
"""
    expect_patience(job, body)
