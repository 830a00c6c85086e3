# SPDX-License-Identifier: Apache-2.0
"""Ranks of `ostria launch` meet over the control channel at the port that the launcher bound."""

from __future__ import annotations

import os
import re
import signal

import pytest
from launching import HOST, Launcher, free_port, lines_of

KILLED = re.compile(r"\): (ended with SIGKILL|.*: its process was killed)")
MEET = """
from ostria import DistributedError, PeerFailedError
from ostria.distribute import read_environment
from ostria.distribute._workers import _connect
generation = int(os.environ["OSTRIA_GENERATION"])
# Survivors have time to tell: the launcher's SIGTERM, half a second after a failure, ends none.
signal.signal(signal.SIGTERM, signal.SIG_IGN)
control = _connect(read_environment())

def tell(error):
    # The store waits only a moment for what the launcher knows.
    end = time.monotonic() + 20
    while "SIGKILL" not in control.failures()[0].reason and time.monotonic() < end:
        time.sleep(0.01)
    print(error, control.failures()[0].reason, sep="\\n", flush=True)
"""


def test_ranks_meet_where_the_launcher_bound(job: Launcher) -> None:
    body = MEET + (
        "with control:\n"
        "    print(*[m.rank for m in control.join()], control.add('count', 0), flush=True)\n"
        "    control.barrier('end')\n"
    )
    code, out, err = job.run("--nproc", "3", job.script(body))
    assert code == 0, err
    assert lines_of(out) == {rank: ["0 1 2 0"] for rank in range(3)}


@pytest.mark.parametrize("dies", [0, 2])
def test_survivors_name_the_rank_that_was_killed_and_the_job_starts_again(
    job: Launcher, dies: int
) -> None:
    body = MEET + (
        "control.join()\n"
        "control.barrier('begin')\n"
        f"if generation == 1 and rank == {dies}:\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
        "try:\n"
        "    if generation == 1: control.barrier('never', 60)\n"
        "except PeerFailedError as error:\n"
        "    tell(error)\n"
        "    sys.exit(1)\n"
        "control.barrier('end')\n"
        "control.leave()\n"
        "print('done', flush=True)\n"
    )
    code, out, err = job.run("--nproc", "3", "--max-restarts", "1", job.script(body))
    assert code == 0, err
    said = lines_of(out)
    for rank in {0, 1, 2} - {dies}:
        assert f"rank {dies} ({HOST}, pid " in said[rank][0]
        assert KILLED.search(said[rank][0]), said
        assert said[rank][1].startswith("ended with SIGKILL"), "the launcher knows the signal"
    assert all(said[rank][-1] == "done" for rank in range(3))
    assert f"root cause: rank {dies} on {HOST}" in err and signal.SIGKILL.name in err
    assert "starting the job again as generation 2 of at most 2" in err


def test_a_secret_of_the_launchers_own_surroundings_disturbs_nobody(job: Launcher) -> None:
    body = MEET + "with control:\n    print(len(control.join()), 'OSTRIA_SECRET' in os.environ)\n"
    code, out, err = job.run("--nproc", "2", job.script(body), OSTRIA_SECRET="ab" * 32)
    assert code == 0, err
    assert lines_of(out) == {rank: ["2 False"] for rank in range(2)}


def test_a_rank_that_fails_before_it_comes_is_named_at_once(job: Launcher) -> None:
    body = (
        "if rank == 1:\n"
        "    while not os.path.exists('here'): time.sleep(0.01)\n"
        "    sys.exit(3)\n" + MEET + "open('here', 'w').close()\n"
        "try:\n"
        "    control.join()\n"
        "except PeerFailedError as error:\n"
        "    print(error, flush=True)\n"
        "    sys.exit(1)\n"
    )
    code, out, err = job.run("--nproc", "2", job.script(body), OSTRIA_TIMER_JOIN="60s")
    assert code == 3, err
    assert "rank 1: ended with exit code 3" in lines_of(out)[0][0]


def test_a_rank_of_another_host_is_named_with_its_signal(job: Launcher) -> None:
    body = MEET + (
        "control.join()\n"
        "control.barrier('begin')\n"
        "if rank == 1: os.kill(os.getpid(), signal.SIGKILL)\n"
        "try:\n"
        "    control.barrier('never', 60)\n"
        "except PeerFailedError as error:\n"
        "    tell(error)\n"
    )
    (secret := job.folder / "secret").write_text(os.urandom(32).hex())
    secret.chmod(0o600)
    place = f"127.0.0.1:{free_port()}"
    words = ("--nnodes", "2", "--rendezvous", place, "--node-rank")
    hosts = [
        job.start(*words, str(n), job.script(body), OSTRIA_SECRET_FILE=str(secret)) for n in (0, 1)
    ]
    (code, out, err), (other, _, _) = [job.end(host) for host in hosts]
    assert (code, other) == (0, 128 + signal.SIGKILL), err
    said = lines_of(out)[0]
    assert KILLED.search(said[0]) and said[1].startswith("ended with SIGKILL"), said


def test_a_job_that_needs_no_store_hears_nothing_of_it(job: Launcher) -> None:
    code, _, err = job.run("--nproc", "2", job.script("time.sleep(0.3)"), OSTRIA_TIMER_JOIN="0.1s")
    assert code == 0
    assert "have not joined" not in err and "failure" not in err
