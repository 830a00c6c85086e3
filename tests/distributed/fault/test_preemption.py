# SPDX-License-Identifier: Apache-2.0
"""Jobs that are told to stop, and go on later: case 21."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

from launching import HEAD, Launcher, elsewhere, until
from programs import run, start, told
from promises import VARIABLES, promises
from test_real_launchers import Slurm, clean_environ, slurm  # noqa: F401
from training import begun, order_of_rows, state, training

from ostria.io import list_checkpoints

# A rank that waits for a signal hangs to the others.
PATIENT = {"OSTRIA_TIMER_NO_PROGRESS": "60s"}
# Rank 0 waits for the signal after step 6, so that the run is not over before.
STOPPED = """
def wait():
    came, note = threading.Event(), signal.getsignal(signal.SIGTERM)

    def noted(*args):
        note(*args)
        came.set()

    signal.signal(signal.SIGTERM, noted)
    write("waits")
    came.wait(20)
    exists("sent")
    time.sleep(0.1)  # rank 1 gets it too

try:
    trainer.train(data, hooks=[At(6, wait)] if rank == 0 else [])
finally:
    tell(step=trainer.global_step)
"""


def expect_that_it_goes_on(job: Launcher) -> None:
    """To where a run comes that nothing happens to."""
    saved = [step for step, _ in list_checkpoints(job.folder / "model")]
    step = saved[-1]
    assert saved == [*range(0, step, 4), step], "it saved more than once"
    later = training(
        part='generation = int(os.environ["OSTRIA_GENERATION"]) -> generation = 2',
    )
    code, err = run(job, later, nproc=2)
    assert code == 0, err
    assert begun(job, 2)["step"] == step
    whole = elsewhere(job, "whole")
    code, err = run(whole, training(), nproc=2)
    assert code == 0, err
    assert state(job) == state(whole)
    assert order_of_rows((job, 1), (job, 2)) == order_of_rows((whole, 1))


@promises(
    21,
    "all ranks finish the same step, save once and end, and so does the launcher, with status 42; "
    "the same command goes on from that step, bit-identical. A signal that comes twice changes "
    "nothing",
    bound="2 s",
)
def test_sigterm_to_the_launcher(job: Launcher, limit: float) -> None:
    flags = ["--grace", "20", "--max-restarts", "3"]
    process = start(job, training(STOPPED), *flags, nproc=2, **PATIENT)
    assert until((job.folder / "waits").exists, 60)
    begin = time.monotonic()
    process.send_signal(signal.SIGTERM)
    process.send_signal(signal.SIGTERM)
    (job.folder / "sent").write_text("")
    code, _, err = job.end(process)
    assert time.monotonic() - begin < limit
    assert code == 42, err
    assert err.splitlines()[-1].endswith("every rank ended by itself; exit status 42")
    assert "generation 2" not in err and "Traceback" not in err
    step = told(job, 0)["step"]
    assert told(job, 1)["step"] == step == list_checkpoints(job.folder / "model")[-1][0] >= 6
    for rank in (0, 1):
        said = f"[rank {rank}] ostria.train.TrainingInterrupted: training was stopped by SIGTERM"
        assert f"{said} after step {step}; saved as model/ckpt-" in err
    expect_that_it_goes_on(job)


@promises(
    21,
    "the same where one rank alone gets it; that is no failure, so `--max-restarts` does not start "
    "the job again",
    bound="2 s",
)
def test_sigterm_to_one_rank(job: Launcher, limit: float) -> None:
    body = """
    class Again(ost.train.Hook):
        '''A second signal, which comes while the state is saved.'''

        def before_save(self, trainer):
            if trainer.global_step == 6:
                kill(signal.SIGTERM)

    def stop():
        write("stopped")
        kill(signal.SIGTERM)

    try:
        trainer.train(data, hooks=[At(6, stop), Again()] if rank == 1 else [])
    finally:
        tell(step=trainer.global_step)
    """
    code, err = run(job, training(body), "--max-restarts", "3", nproc=2)
    assert time.time() - told(job, "stopped")["at"] < limit
    assert code == 42, err
    assert "a signal stopped the job; ranks 0, 1 saved; no rank failed" in err.splitlines()[-1]
    assert "generation 2" not in err and "root cause" not in err
    assert [told(job, rank)["step"] for rank in (0, 1)] == [6, 6]
    expect_that_it_goes_on(job)


@promises(
    21,
    "a rank that does not come to the end of its step within the grace period is killed, which is "
    "said, and the status is 137; the job goes on from the checkpoint before",
)
def test_sigterm_and_a_step_that_does_not_end(job: Launcher) -> None:
    body = """
    def hang():
        write("waits")
        end = time.monotonic() + 60
        while time.monotonic() < end: time.sleep(0.1)

    trainer.train(data, hooks=[At(6, hang)] if rank == 1 else [])
    """
    process = start(job, training(body), "--grace", "1", nproc=2, **PATIENT)
    assert until((job.folder / "waits").exists, 60)
    begin = time.monotonic()
    process.send_signal(signal.SIGTERM)
    code, _, err = job.end(process)
    assert 1 <= time.monotonic() - begin < 30
    assert code == 137, err
    assert "got SIGKILL, so what they were saving may be incomplete" in err.splitlines()[-1]
    expect_that_it_goes_on(job)


@promises(
    21, "the same under Slurm, which sends the signal to every rank: `srun` ends with status 42"
)
def test_sigterm_by_slurm(job: Launcher, slurm: Slurm) -> None:  # noqa: F811
    secret = job.folder / "secret"
    secret.write_text(os.urandom(32).hex())
    secret.chmod(0o600)
    script = job.folder / "train.py"
    script.write_text(HEAD.replace("OSTRIA_RANK", "SLURM_PROCID") + training(STOPPED))
    environ = {"OSTRIA_SECRET_FILE": str(secret), "OSTRIA_GENERATION": "1"}
    environ |= {**VARIABLES, **PATIENT}
    words = ["srun", "-N2", "-n2", "--kill-on-bad-exit=0", sys.executable, str(script)]
    process = subprocess.Popen(
        words,
        env=clean_environ(SLURM_CONF=str(slurm.conf), **environ),
        cwd=job.folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert until((job.folder / "waits").exists, 60)
    (number,) = slurm.run(["squeue", "-h", "-o", "%i"])[1].split()
    assert slurm.run(["scancel", "--signal=TERM", number])[0] == 0
    (job.folder / "sent").write_text("")
    code, _, err = job.end(process)
    assert code == 42, err
    assert err.count("training was stopped by SIGTERM after step ") == 2, err
    expect_that_it_goes_on(job)
