# SPDX-License-Identifier: Apache-2.0
"""A network between two hosts that is cut, or slow: cases 5 and 6, in network namespaces."""

from __future__ import annotations

import subprocess
import sys
import time

from launching import MARK, Launcher, until
from programs import program, told
from promises import VARIABLES, promises
from test_real_launchers import clean_environ, hosts, needed  # noqa: F401

GLOO = 'transport="gloo", interface="eth0"'


def start_on_two(hosts: list[str], job: Launcher, body: str) -> list[subprocess.Popen[str]]:  # noqa: F811
    """A job of one rank on each of two hosts, which have names of their own."""
    secret = job.folder / "secret"
    secret.write_text("ab" * 32)
    secret.chmod(0o600)
    launch = [sys.executable, "-m", "ostria", "launch", "--nnodes", "2"]
    launch += ["--rendezvous", "10.83.0.1:29400", "--grace", "1"]
    processes = []
    for node in (0, 1):
        named = f'hostname host-{node} && exec "$0" "$@"'
        words = ["ip", "netns", "exec", hosts[node], "unshare", "--uts", "sh", "-c", named, *launch]
        processes.append(
            subprocess.Popen(
                [*words, "--node-rank", str(node), job.script(body)],
                env=clean_environ(OSTRIA_SECRET_FILE=str(secret), **VARIABLES, **{MARK: job.mark}),
                cwd=job.folder,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
        )
    return processes


@promises(
    5,
    "both sides raise `PeerFailedError` that names the other side's host, and its rank, or its "
    "launcher where that serves the store; both end",
    bound="`dead` + 2 s",
)
def test_a_network_that_is_cut(hosts: list[str], job: Launcher, limit: float) -> None:  # noqa: F811
    needed("unshare")
    body = """
    write(f"ready-{rank}")
    try:
        while True: work()
    except ost.DistributedError as error:
        tell_error(error)
        raise
    """
    processes = start_on_two(hosts, job, program(body, options=GLOO))
    ready = [job.folder / f"ready-{rank}" for rank in (0, 1)]
    assert until(lambda: all(path.exists() for path in ready), 25)
    hub = hosts[0].rsplit("-", 1)[0] + "-hub"
    cut = time.time()
    subprocess.run(["ip", "-n", hub, "link", "set", "to1", "down"], check=True)
    for process in processes:
        _, _, err = job.end(process)
        assert process.returncode != 0, err
    for rank in (0, 1):
        error = told(job, rank)
        assert error["kind"] == "PeerFailedError", error
        # Beside the store the rank is not heard of; apart from it the launcher, which serves.
        assert (error["rank"], error["host"]) == ((1, -1)[rank], f"host-{1 - rank}"), error
        assert "strategy.run of step" in error["text"], error
        assert error["at"] - cut < limit, error


@promises(6, "nothing fails: training is slower, and its result is the same")
def test_a_slow_network(hosts: list[str], job: Launcher) -> None:  # noqa: F811
    needed("unshare", "tc")
    hub = hosts[0].rsplit("-", 1)[0] + "-hub"
    shape = ["tbf", "rate", "2mbit", "burst", "16kb", "latency", "400ms"]
    subprocess.run(
        ["ip", "netns", "exec", hub, "tc", "qdisc", "add", "dev", "to1", "root", *shape], check=True
    )
    body = """
    begin = time.monotonic()
    for k in range(10): work()
    tell(w=w.numpy().tolist(), seconds=time.monotonic() - begin)
    """
    for process in start_on_two(hosts, job, program(body, options=GLOO)):
        code, _, err = job.end(process)
        assert code == 0, err
    slow = [told(job, rank) for rank in (0, 1)]
    assert slow[0]["w"] == slow[1]["w"]
    # Ten sums of 16 KiB, of which each host gets half at least, at 2 Mbit/s.
    assert min(found["seconds"] for found in slow) > 0.2
