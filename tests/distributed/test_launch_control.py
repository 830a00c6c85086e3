# SPDX-License-Identifier: Apache-2.0
"""Ranks of `ostria launch` meet over the control channel at the port that the launcher bound."""

from __future__ import annotations

import signal

from launching import HOST, Launcher, lines_of

MEET = """
from ostria import DistributedError, PeerFailedError
from ostria.distribute import read_environment
from ostria.distribute._control import Control
place = read_environment()
host, port = place.rendezvous.rsplit(":", 1)
fd = os.environ.get("OSTRIA_RENDEZVOUS_FD")
generation = int(os.environ["OSTRIA_GENERATION"])
control = Control(
    place.rank, place.world_size, job=os.environ["OSTRIA_JOB_ID"], address=host, port=int(port),
    generation=generation, listen_fd=None if fd is None else int(fd),
)
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


def test_survivors_name_the_rank_that_was_killed_and_the_job_starts_again(job: Launcher) -> None:
    body = MEET + (
        "control.join()\n"
        "control.barrier('begin')\n"
        "if generation == 1 and rank == 2:\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
        "try:\n"
        "    if generation == 1: control.barrier('never', 60)\n"
        "except PeerFailedError as error:\n"
        "    print(error, flush=True)\n"
        "    sys.exit(1)\n"
        "control.barrier('end')\n"
        "control.leave()\n"
        "print('done', flush=True)\n"
    )
    code, out, err = job.run("--nproc", "3", "--max-restarts", "1", job.script(body))
    assert code == 0, err
    said = lines_of(out)
    for rank in (0, 1):
        assert "rank 2" in said[rank][0] and HOST in said[rank][0]
    assert all(said[rank][-1] == "done" for rank in range(3))
    assert f"root cause: rank 2 on {HOST}" in err and signal.SIGKILL.name in err
    assert "starting the job again as generation 2 of at most 2" in err
