# SPDX-License-Identifier: Apache-2.0
"""A job that goes on after a rank was killed, with as many processes or others: cases 17 and 18."""

from __future__ import annotations

import os
import random

import numpy as np
import pytest
from launching import HOST, Launcher, elsewhere, free_port
from programs import start
from promises import promises
from training import STEPS, begun, order_of_rows, state, training, weights_by_step


def run(job: Launcher, body: str, *words: str, nproc: int, expect: int = 0) -> str:
    """stderr of a job that ends with the status `expect`."""
    code, _, err = job.end(start(job, body, *words, nproc=nproc))
    assert code == expect, err
    return err


@promises(
    17,
    "`ostria launch --max-restarts` starts the job again by itself; it goes on from the last "
    "checkpoint and ends bit-identical to a run that nothing happened to: weights, optimizer, "
    "random numbers, metrics and position of the input",
)
def test_a_restart_changes_nothing(job: Launcher) -> None:
    whole = elsewhere(job, "whole")
    run(whole, training(), nproc=2)
    seed = random.randrange(1000)
    for rank in (0, 1):
        killed = elsewhere(job, f"killed-{rank}")
        step = random.Random(seed + rank).randint(1, STEPS - 1)
        body = f"""
        if generation == 1 and rank == {rank}:
            trainer.train(data, hooks=[At({step}, kill)])
        trainer.train(data)
        """
        err = run(killed, training(body), "--max-restarts", "1", nproc=2)
        what = f"rank {rank} was killed after step {step}"
        assert f"root cause: rank {rank} on {HOST}" in err, what
        assert "starting the job again as generation 2" in err, what
        assert begun(killed, 2)["step"] == (step - 1) // 4 * 4, what  # saved after the hooks
        assert state(killed) == state(whole), what
        assert order_of_rows((killed, 1), (killed, 2)) == order_of_rows((whole, 1)), what


@promises(17, "the same over several hosts, where every `ostria launch` has the flag")
def test_a_restart_over_two_hosts(job: Launcher) -> None:
    secret = job.folder / "secret"
    secret.write_text(os.urandom(32).hex())
    secret.chmod(0o600)
    address = f"127.0.0.1:{free_port()}"
    body = """
    if generation == 1 and rank == 1:
        trainer.train(data, hooks=[At(10, kill)])
    trainer.train(data)
    """
    flags = ["--nnodes", "2", "--rendezvous", address, "--max-restarts", "1", "--node-rank"]
    secret_file = {"OSTRIA_SECRET_FILE": str(secret)}
    hosts = [
        start(job, training(body), *flags, node, nproc=1, **secret_file) for node in ("0", "1")
    ]
    ends = [job.end(host) for host in hosts]
    assert [code for code, _, _ in ends] == [0, 0], ends
    assert f"root cause: rank 1 on {HOST}" in ends[1][2]
    assert "says of" in ends[0][2] and "starting the job again as generation 2" in ends[0][2]
    assert begun(job, 2) == {**begun(job, 2), "step": 8, "world": 2}
    whole = elsewhere(job, "whole")
    run(whole, training(), nproc=2)
    assert state(job) == state(whole)


def expect_same_order(job: Launcher, generations: list[tuple[Launcher, int]]) -> None:
    """As one process alone reads, and after every step weights that are nearly its own."""
    alone = elsewhere(job, "alone")
    run(alone, training(), nproc=1)
    assert order_of_rows(*generations) == order_of_rows((alone, 1))
    mine, theirs = weights_by_step(job), weights_by_step(alone)
    assert mine.keys() == theirs.keys() == set(range(1, STEPS + 1))
    for step, values in theirs.items():
        error = np.abs(mine[step] - values).max() / np.abs(values).max()
        assert error < 1e-6 * step, f"step {step}: {error}"


@promises(
    18,
    "with `--min-nproc` a rank that fails twice in a row costs a process: the job goes on with "
    "fewer, sees the same rows in the same order in the same global batches (auto-shard DATA), and "
    "weights differ by rounding alone, 1e-6 per step",
)
def test_a_restart_with_fewer_processes(job: Launcher) -> None:
    body = """
    if rank == 1 and generation < 3:
        trainer.train(data, hooks=[At(6 if generation == 1 else 9, kill)])
    trainer.train(data)
    """
    flags = ["--min-nproc", "1", "--max-restarts", "2"]
    err = run(job, training(body), *flags, nproc=2)
    assert err.count(f"root cause: rank 1 on {HOST}") == 2
    assert "generation 3 of at most 3 with 1 process(es): rank 1 failed twice" in err
    assert [begun(job, g) for g in (1, 2, 3)] == [
        {**begun(job, g), "step": step, "world": world}
        for g, step, world in ((1, 0, 2), (2, 4, 2), (3, 8, 1))
    ]
    expect_same_order(job, [(job, g) for g in (1, 2, 3)])


@promises(
    18,
    "the same command with another `--nproc`, more or fewer, goes on from the checkpoint in the "
    "same way",
)
def test_a_start_with_another_number_of_processes(job: Launcher) -> None:
    parts = [(1, 5), (3, 11), (2, None)]
    jobs = []
    for number, (nproc, step) in enumerate(parts):
        part = Launcher(job.folder)
        part.mark, part.environ = job.mark, {**job.environ, "PART": str(number + 1)}
        stop = f"[At({step}, lambda: kill(signal.SIGTERM))]" if step else "[]"
        body = training(
            f"trainer.train(data, hooks={stop})",
            part='generation = int(os.environ["OSTRIA_GENERATION"]) -> '
            'generation = int(os.environ["PART"])',
        )
        run(part, body, nproc=nproc, expect=42 if step else 0)
        jobs.append((job, number + 1))
    assert [begun(*part)["step"] for part in jobs] == [0, 5, 11]
    expect_same_order(job, jobs)


@promises(
    18,
    "where each worker has a position of its own (auto-shard FILE or OFF, datasets from a "
    "function) another number of processes is an error on all ranks that names both numbers",
)
@pytest.mark.parametrize(("before", "now"), [(2, 1), (1, 2)])
def test_files_of_another_number_of_processes(job: Launcher, before: int, now: int) -> None:
    changes = {
        "source": "ost.data.Dataset.from_tensor_slices((x, y)).shuffle(50, seed=4) -> "
        "ost.data.Dataset.from_files(['a.npy', 'b.npy'], read, output_signature=(\n"
        "        ost.data.TensorSpec((6,), 'float32'), ost.data.TensorSpec((), 'int64')))",
        "reader": "class Logged: -> def read(path):\n    return zip(x, y)\n\nclass Logged:",
    }
    stop = "trainer.train(data, hooks=[At(5, lambda: kill(signal.SIGTERM))])"
    run(job, training(stop, **changes), nproc=before, expect=42)
    err = run(job, training(**changes), nproc=now, expect=1)
    for rank in range(now):
        lines = [line for line in err.splitlines() if line.startswith(f"[rank {rank}] ")]
        (said,) = (line for line in lines if "restore: " in line)
        assert f"that of {before} worker(s) with 1 replica(s) each" in said
        assert f"here are {now} with 1" in said and f"Start {before} worker(s)" in said
        assert "the policy FILE" in said and "use the policy DATA" in said
