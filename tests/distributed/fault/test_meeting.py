# SPDX-License-Identifier: Apache-2.0
"""Ranks that do not meet as they should: cases 15, 19, 20 and 22."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from launching import Launcher, free_port
from programs import HEAD, program, run, start, told
from promises import VARIABLES, promises


@promises(
    15,
    "a rendezvous whose port is taken is an error before any rank starts, which names the process "
    "that holds it",
)
def test_a_port_that_is_taken(job: Launcher) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        code, err = run(job, HEAD + "tell()", "--rendezvous", address)
    assert code == 2
    assert address in err and f"process {os.getpid()}" in err, err
    assert not list(job.folder.glob("rank-*.json")), "a rank was started"


@promises(15, "two jobs on one host find a free port each, and stay apart")
def test_two_jobs_on_a_host(job: Launcher) -> None:
    body = """
    mine = float(os.environ["WHICH_JOB"])
    sums = [strategy.reduce("sum", ost.asarray(mine)).item() for k in range(20)]
    name = f"job-{os.environ['WHICH_JOB']}-{rank}.json"
    write(name, sums=sums, job=os.environ["OSTRIA_JOB_ID"])
    """
    jobs = [start(job, program(body, steps=""), nproc=2, WHICH_JOB=str(n)) for n in (1, 10)]
    for process in jobs:
        code, _, err = job.end(process)
        assert code == 0, err
    for n in (1, 10):
        for rank in (0, 1):
            assert told(job, f"job-{n}-{rank}.json")["sums"] == [2.0 * n] * 20
    assert told(job, "job-1-0.json")["job"] != told(job, "job-10-0.json")["job"]


@pytest.fixture
def alone(job: Launcher) -> Callable[..., subprocess.Popen[str]]:
    """Starts one rank as a program of its own, as a scheduler would."""
    secret = job.folder / "secret"
    secret.write_text(os.urandom(32).hex())
    secret.chmod(0o600)
    rendezvous = f"127.0.0.1:{free_port()}"

    def start_rank(script: str, rank: int, generation: int) -> subprocess.Popen[str]:
        place = {"OSTRIA_RANK": str(rank), "OSTRIA_WORLD_SIZE": "2", "OSTRIA_LOCAL_RANK": str(rank)}
        return subprocess.Popen(
            [sys.executable, script],
            env={
                **job.environ,
                **VARIABLES,
                **place,
                "OSTRIA_RENDEZVOUS": rendezvous,
                "OSTRIA_GENERATION": str(generation),
                "OSTRIA_SECRET_FILE": str(secret),
            },
            cwd=job.folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    return start_rank


@promises(
    19,
    "a process that a restart has left behind is refused by name, and the new generation goes on",
)
def test_a_stale_process(job: Launcher, alone: Callable[..., subprocess.Popen[str]]) -> None:
    body = """
    tell(total=strategy.reduce("sum", ost.asarray(1.0 + rank)).item())
    """
    script = job.script(program(body, steps=""))
    server = alone(script, 0, 2)
    stale = alone(script, 1, 1)
    err = stale.communicate(timeout=30)[1]
    assert stale.returncode != 0
    assert "stale generation" in err.splitlines()[-1] and "generation 1" in err, err
    assert not (job.folder / "rank-1.json").exists()
    fresh = alone(script, 1, 2)
    for process in (fresh, server):
        code, _, err = job.end(process)
        assert code == 0, err
    assert [told(job, rank)["total"] for rank in (0, 1)] == [3.0, 3.0]


@promises(
    20,
    "a late rank is waited for, and every `report` seconds it is said who is missing; after `join` "
    "seconds all ranks that came raise an error that names those that did not",
    bound="`join` + 2 s",
)
def test_a_late_and_a_missing_rank(job: Launcher, limit: float) -> None:
    wait = 'write("comes") if rank == 0 else exists("comes") and time.sleep(2)\n'
    late = HEAD + wait + program("tell()", steps="")
    code, err = run(job, late, nproc=2, OSTRIA_TIMER_REPORT="0.2s")
    assert code == 0, err
    assert "1 of 2 ranks have not joined: rank 1; joined: rank 0" in err
    missing = (
        HEAD
        + 'if rank == 1: exists("rank-0.json"); sys.exit(0)\n'
        + "begin = time.monotonic()\n"
        + "try: strategy = ost.distribute.MultiWorkerMirroredStrategy()\n"
        + "except ost.DistributedError as error:\n"
        + "    tell(text=str(error), seconds=time.monotonic() - begin)\n"
        + "    raise\n"
    )
    (job.folder / "rank-0.json").unlink()
    code, err = run(job, missing, nproc=2, OSTRIA_TIMER_JOIN="1s", OSTRIA_TIMER_REPORT="0.2s")
    found = told(job, 0)
    assert "rank 1" in found["text"] and "did not join within 1 s" in found["text"], found
    assert found["seconds"] < limit
    assert code != 0


@promises(22, "the control channel and the data between hosts (Gloo) run over IPv6 alone")
def test_ipv6(job: Launcher) -> None:
    if not Path("/proc/net/if_inet6").exists() or not _has_loopback6():
        pytest.skip("no IPv6 on the loopback here")
    body = """
    tell(total=strategy.reduce("sum", ost.asarray(1.0 + rank)).item())
    """
    options = 'transport="gloo", interface="::1"'
    body = program(body, options=options, steps="")
    address = f"[::1]:{free_port('::1')}"
    code, err = run(job, body, "--rendezvous", address, nproc=2)
    assert code == 0, err
    assert address in err
    assert [told(job, rank)["total"] for rank in (0, 1)] == [3.0, 3.0]


def _has_loopback6() -> bool:
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        return False
    return True
