# SPDX-License-Identifier: Apache-2.0
"""A rank that holds the others up is named, with what takes it so long: case 16."""

from __future__ import annotations

import os
import signal
import time

import pytest
from launching import HOST, Launcher, until
from programs import program, run, start, told
from promises import promises

# Rows of which each takes some seconds to read; rank 1 reads more slowly.
SLEEPS = """
def rows():
    for i in range({rows}):
        time.sleep({rank_1} if rank == 1 else {others})
        yield np.full(64, i, np.float32)

dataset = ost.data.Dataset.from_generator(
    rows, output_signature=ost.data.TensorSpec((64,), "float32")).batch(2)
"""
# Nothing fails here, however busy the machine. Reading takes so long in all that a rank which the
# machine stops for a second is not slow for that.
PATIENT = {"OSTRIA_TIMER_NO_PROGRESS": "60s", "OSTRIA_TIMER_DEAD": "30s"}
LOOP = """
for batch in strategy.experimental_distribute_dataset(dataset):
    strategy.run(step, (batch,))
"""
TRAINER = """
task = ost.train.StepTask(step)
ost.train.Trainer(task=task, strategy=strategy, {options}).train(lambda: dataset)
"""
TELL = """
end = time.monotonic() + 20
while not strategy.rank_paces() and time.monotonic() < end: time.sleep(0.05)  # heartbeats tell
tell(paces=[[p.rank, p.host, p.score, p.section] for p in strategy.rank_paces()])
strategy.barrier("told")
"""


def slow_lines(err: str) -> list[str]:
    return [line for line in err.splitlines() if " is slow: " in line]


@promises(
    16,
    "after 20 steps, and a heartbeat, rank 0 prints once which rank and host is slow, how many "
    "times longer than the median rank it takes without waiting for others, and whether input, "
    "computing, or what the program does between steps takes most; `strategy.rank_paces()` tells "
    "the same at any time",
)
@pytest.mark.parametrize("loop", [LOOP, TRAINER.format(options="seed=1")], ids=["loop", "trainer"])
def test_a_slow_input(job: Launcher, loop: str) -> None:
    body = SLEEPS.format(rows=120, rank_1=0.05, others=0.0) + loop + TELL
    code, err = run(job, program(body), nproc=3, **PATIENT)
    assert code == 0, err
    said = slow_lines(err)
    assert said and all(f"control: rank 1 ({HOST}) is slow: " in line for line in said), err
    assert len(said) == 1 and "most of that is input" in said[0], err
    for rank in range(3):
        paces = told(job, rank)["paces"]
        assert [(r, host) for r, host, _, _ in paces] == [(r, HOST) for r in range(3)]
        assert paces[1][2] > 1.3 and paces[1][3] == "input", paces


@promises(16, "the same of a rank that is stopped and goes on again and again, for a moment each")
def test_a_rank_that_is_stopped_in_pulses(job: Launcher) -> None:
    steps = """
    w = ost.Variable(np.full((256, 256), 1e-3, np.float32), name="w")
    optimizer = ost.optim.SGD(1e-6)

    def step(x):
        for layer in range(16):
            x = ost.tanh(x @ w)
        loss = ost.mean(x) / strategy.num_replicas_in_sync
        optimizer.minimize(loss, [w])
        return loss

    x = np.ones((256, 256), np.float32)
    """
    body = """
    write(f"pid-{rank}", pid=os.getpid())
    end = time.monotonic() + 40
    found = False
    while not found and time.monotonic() < end:
        for k in range(10): strategy.run(step, (x,))
        paces = strategy.rank_paces()
        found = bool(paces) and paces[1].score > 1.3
        found = strategy.reduce("sum", ost.asarray(float(found))).item() == strategy.num_workers
    tell(score=paces[1].score, section=paces[1].section)
    """
    process = start(job, program(body, steps=steps.replace("\n    ", "\n")), nproc=2, **PATIENT)
    assert until((job.folder / "pid-1").exists, 60)
    pid = told(job, "pid-1")["pid"]
    try:
        while process.poll() is None and not (job.folder / "rank-0.json").exists():
            os.kill(pid, signal.SIGSTOP)
            time.sleep(0.15)
            os.kill(pid, signal.SIGCONT)
            time.sleep(0.03)
    except ProcessLookupError:
        pass
    code, _, err = job.end(process)
    assert code == 0, err
    said = slow_lines(err)
    assert len(said) >= 1 and f"rank 1 ({HOST}) is slow: " in said[-1], err
    assert "most of that is compute" in said[-1], err
    assert told(job, 1)["section"] == "compute"


@promises(16, "nothing is said of a rank that takes less than 30 % longer than the median one")
def test_no_alarm_for_a_rank_that_keeps_up(job: Launcher) -> None:
    body = SLEEPS.format(rows=46, rank_1=0.22, others=0.2) + LOOP + TELL
    code, err = run(job, program(body), nproc=2, **PATIENT)
    assert code == 0, err
    assert slow_lines(err) == []
    assert [pace[0] for pace in told(job, 0)["paces"]] == [0, 1]


@promises(16, "nor of rank 0 because it writes checkpoints for all")
def test_no_alarm_for_a_rank_that_saves(job: Launcher) -> None:
    saves = """
    save, slow = ost.io.save_checkpoint, []

    def slowly(*args, **options):
        slow.append(1)
        time.sleep(0.16)
        return save(*args, **options)

    ost.io.save_checkpoint = slowly
    """.replace("\n    ", "\n")
    trainer = TRAINER.format(options='model_dir="model", save_steps=1, save_graph=False')
    body = saves + SLEEPS.format(rows=52, rank_1=0.08, others=0.08) + trainer
    body += "\nassert rank or len(slow) > 20\n" + TELL
    code, err = run(job, program(body), nproc=2, **PATIENT)
    assert code == 0, err
    # Rank 1 may really have been slow, where the machine was busy.
    assert [line for line in slow_lines(err) if f"control: rank 0 ({HOST}) " in line] == []
    assert len(told(job, 0)["paces"]) == 2
