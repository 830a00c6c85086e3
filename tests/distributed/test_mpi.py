# SPDX-License-Identifier: Apache-2.0
"""Training over MPI: the same script, bit for bit, and jobs that end when a rank does not go on."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from launching import Launcher, free_port, gone, until
from promises import VARIABLES
from ranks import MPIRUN, why_not
from test_real_launchers import clean_environ

TRAINING = """
import hashlib, json, os, signal, sys, time
import numpy as np
import ostria as ost

rank = int(os.environ.get("OMPI_COMM_WORLD_RANK", os.environ.get("OSTRIA_RANK")))

def tell(**fields):
    with open(f"rank-{rank}.json", "w") as file:
        json.dump(fields, file)

strategy = ost.distribute.MultiWorkerMirroredStrategy(transport=TRANSPORT)
x = np.random.default_rng(1).standard_normal((64, 8)).astype(np.float32)
with strategy.scope():
    model = ost.nn.Sequential([ost.nn.Dense(300, activation="tanh"), ost.nn.Dense(3)])
    optimizer = ost.optim.Adam(0.01)

def step(x):
    loss = ost.sum(model(x, training=True) ** 2) / 64
    optimizer.minimize(loss, model.trainable_variables)
    return loss

size = 64 // strategy.num_replicas_in_sync

def work():
    return strategy.run(step, (x[rank * size : (rank + 1) * size],))
"""
TEN_STEPS = """
for k in range(10):
    work()
digest = hashlib.sha256(b"".join(v.numpy().tobytes() for v in model.trainable_variables))
tell(weights=digest.hexdigest())
"""


@pytest.fixture(autouse=True)
def _needs_mpi() -> None:
    if why := why_not("mpi"):
        pytest.skip(why)


def start(folder: Path, body: str, *flags: str, nproc: int = 2) -> subprocess.Popen[str]:
    secret, script = folder / "secret", folder / "train.py"
    secret.write_text("ab" * 32)
    secret.chmod(0o600)
    script.write_text(TRAINING.replace("TRANSPORT", "'mpi'") + body)
    rendezvous = f"127.0.0.1:{free_port()}"
    return subprocess.Popen(
        [*MPIRUN, *flags, "-np", str(nproc), sys.executable, str(script)],
        env=clean_environ(
            OSTRIA_RENDEZVOUS=rendezvous, OSTRIA_SECRET_FILE=str(secret), **VARIABLES
        ),
        cwd=folder,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def end(mpirun: subprocess.Popen[str]) -> tuple[int, str]:
    """Exit status and stderr; nothing hangs for a minute."""
    try:
        _, err = mpirun.communicate(timeout=60)
    finally:
        if mpirun.poll() is None:
            os.killpg(mpirun.pid, signal.SIGKILL)
            mpirun.communicate()
    return mpirun.returncode, err


def told(folder: Path, rank: int) -> dict[str, Any]:
    return json.loads((folder / f"rank-{rank}.json").read_text())


@pytest.mark.parametrize("nproc", [2, 4])
def test_bits_are_those_of_shared_memory(job: Launcher, nproc: int) -> None:
    script = job.script(TRAINING.replace("TRANSPORT", "'shm'") + TEN_STEPS)
    status, _, err = job.run("--nproc", str(nproc), script)
    assert status == 0, err
    expected = [told(job.folder, r) for r in range(nproc)]
    for r in range(nproc):
        (job.folder / f"rank-{r}.json").unlink()
    status, err = end(start(job.folder, TEN_STEPS, nproc=nproc))
    assert status == 0, err  # it is not where a rank leaves without MPI_Finalize
    assert [told(job.folder, r) for r in range(nproc)] == expected


def test_a_killed_rank_is_named_by_the_control_channel(tmp_path: Path) -> None:
    body = """
work()
if rank == 1:
    tell(pid=os.getpid())
    os.kill(os.getpid(), signal.SIGKILL)
try:
    while True: work()
except ost.DistributedError as error:
    tell(kind=type(error).__name__, text=str(error), pid=os.getpid())
    raise
"""
    begin = time.monotonic()
    # Without the flag mpirun ends the others, perhaps before they can say anything; with it, it
    # has no status of its own.
    _, err = end(start(tmp_path, body, "--enable-recovery", nproc=3))
    for rank in (0, 2):
        error = told(tmp_path, rank)
        assert error["kind"] == "PeerFailedError", error
        assert "rank 1 (" in error["text"] and "strategy.run of step" in error["text"], error
        assert until(lambda pid=error["pid"]: gone(pid)), "it hangs at its end"
    assert time.monotonic() - begin < 40, err


def test_a_job_of_which_a_rank_fails_ends_with_a_failure(tmp_path: Path) -> None:
    body = """
work()
if rank == 1: raise SystemExit(3)
while True: work()
"""
    status, err = end(start(tmp_path, body))
    assert status != 0, err


def test_ranks_that_mpi_does_not_know_are_refused(job: Launcher) -> None:
    script = job.script(TRAINING.replace("TRANSPORT", "'mpi'"))
    status, _, err = job.run("--nproc", "2", script)
    assert status != 0
    assert "was not started by MPI" in err and "mpirun -np 2" in err, err
    assert "ValueError: transport 'mpi': this process, rank" in err, err


def test_a_library_that_does_not_load_is_named_with_what_to_install(job: Launcher) -> None:
    """A library called libmpi.so.40 that is none stands for one that is not installed."""
    fake = job.folder / "without"
    fake.mkdir()
    (fake / "libmpi.so.40").write_bytes(b"no library")
    script = job.script(TRAINING.replace("TRANSPORT", "'mpi'"))
    status, _, err = job.run("--nproc", "2", script, LD_LIBRARY_PATH=str(fake))
    assert status != 0
    assert "apt-get install openmpi-bin libopenmpi3" in err, err
    assert "libmpi.so.40: " in err and "libostria_mpi.so" in err, err
