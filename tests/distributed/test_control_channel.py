# SPDX-License-Identifier: Apache-2.0
"""The control channel between real processes: killed, stopped, late, strange and stale ones."""

from __future__ import annotations

import json
import os
import random
import re
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from launching import SLACK

from ostria._native import DistributedError, dist
from ostria.distribute._control import Control

SCRIPT = Path(__file__).with_name("control_rank.py")
# Short, but a loaded machine may keep a process waiting for a while.
TIMERS = {"heartbeat": 0.05, "suspect": 1.0, "dead": 2.0, "join": 120.0}
PATIENCE = 120.0  # until a test gives up on an answer


class Rank:
    """A process that makes a Control and then what it is told."""

    def __init__(self, secret: str, **options: Any) -> None:
        options = {"job": "test", "address": "127.0.0.1", "timers": TIMERS} | options
        options["host"] = f"host-{options['rank']}"
        self.process = subprocess.Popen(
            [sys.executable, str(SCRIPT), json.dumps(options)],
            env=os.environ | {"OSTRIA_SECRET": secret},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        self._said = b""
        self.port = 0

    @property
    def pid(self) -> int:
        return self.process.pid

    def ask(self, method: str, *args: Any) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps([method, args]).encode() + b"\n")
        self.process.stdin.flush()

    def answer(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        fd, deadline = self.process.stdout.fileno(), time.monotonic() + PATIENCE
        while b"\n" not in self._said:
            ready, _, _ = select.select([fd], [], [], max(0.0, deadline - time.monotonic()))
            part = os.read(fd, 65536) if ready else b""
            if not part:
                pytest.fail(f"no answer, but {'an end' if ready else 'silence'}")
            self._said += part
        line, self._said = self._said.split(b"\n", 1)
        return json.loads(line)

    def do(self, method: str, *args: Any) -> dict[str, Any]:
        self.ask(method, *args)
        return self.answer()

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def end(self) -> str:
        """Ends it where it still runs; what it wrote to stderr."""
        self.process.kill()
        return self.process.communicate()[1].decode()


Start = Callable[..., Rank]


@pytest.fixture
def secret() -> str:
    return dist.generate_secret().hex()


@pytest.fixture
def start(secret: str) -> Iterator[Start]:
    ranks: list[Rank] = []

    def make(rank: int, world: int, *, other_secret: str = secret, **options: Any) -> Rank:
        ranks.append(Rank(other_secret, rank=rank, world=world, **options))
        return ranks[-1]

    yield make
    for rank in ranks:
        rank.process.send_signal(signal.SIGCONT)
        rank.end()


def start_all(start: Start, world: int, **options: Any) -> list[Rank]:
    """A job whose ranks have joined."""
    ranks = [start(0, world, **options)]
    port = ranks[0].answer()["result"]
    ranks += [start(r, world, **(options | {"port": port})) for r in range(1, world)]
    for rank in ranks[1:]:
        assert rank.answer() == {"result": port}
    ranks[0].port = port
    for rank in ranks:
        rank.ask("join", ["127.0.0.1"])
    for rank in ranks:
        assert [m["host"] for m in rank.answer()["result"]] == [f"host-{r}" for r in range(world)]
    return ranks


def test_a_killed_rank_is_named_on_all_others(start: Start) -> None:
    ranks = start_all(start, 3)
    ranks[1].do("enter", 1580, "all_reduce bucket 3")
    for rank in (ranks[0], ranks[2]):
        rank.ask("barrier", "epoch", 100.0)
    time.sleep(1.0)  # many heartbeats
    begin = time.monotonic()
    ranks[1].kill()
    for rank in (ranks[0], ranks[2]):
        answer = rank.answer()
        assert time.monotonic() - begin < 2.0 + SLACK
        assert answer["error"] == "PeerFailedError"
        assert (answer["rank"], answer["host"]) == (1, "host-1")
        assert answer["operation"] == "#1580 'all_reduce bucket 3'"
        assert f"barrier 'epoch': rank 1 (host-1, pid {ranks[1].pid}): " in answer["text"]
        assert "without a leave" in answer["reason"]
        again = rank.do("guard")
        assert (again["error"], again["rank"]) == ("PeerFailedError", 1)
    assert [f["rank"] for f in ranks[2].do("failures")["result"]] == [1]


def test_a_killed_rank_0_is_named_though_it_served_the_store(start: Start) -> None:
    ranks = start_all(start, 3)
    ranks[1].ask("barrier", "epoch", 100.0)
    time.sleep(0.1)
    begin = time.monotonic()
    ranks[0].kill()
    answer = ranks[1].answer()
    assert time.monotonic() - begin < 2.0 + SLACK
    assert (answer["error"], answer["rank"]) == ("PeerFailedError", 0)
    assert f"pid {ranks[0].pid}" in answer["text"]
    assert "it serves the store" in answer["reason"]
    assert ranks[2].do("failure", 20.0)["result"]["rank"] == 0


def test_a_stopped_rank_is_given_up_and_refused_when_it_goes_on(start: Start, secret: str) -> None:
    ranks = start_all(start, 3)
    ranks[0].ask("barrier", "epoch", 100.0)
    begin = time.monotonic()
    os.kill(ranks[1].pid, signal.SIGSTOP)
    answer = ranks[0].answer()
    assert time.monotonic() - begin < TIMERS["dead"] + 2.0 + SLACK
    assert (answer["error"], answer["rank"]) == ("PeerFailedError", 1)
    assert "no heartbeat for 2 s" in answer["reason"]
    os.kill(ranks[1].pid, signal.SIGCONT)
    stale = ranks[1].do("set", "checkpoint", "c3RhbGU=")
    assert stale["error"] == "PeerFailedError"
    assert "refused (stale generation)" in stale["text"]
    assert ranks[2].do("try_get", "checkpoint") == {"result": None}
    again = start(1, 3, port=ranks[0].port).answer()
    assert "(stale generation): generation 1 of job 'test' is over: rank 1" in again["text"]


def test_a_stopped_store_is_given_up_by_all(start: Start) -> None:
    ranks = start_all(start, 3)
    begin = time.monotonic()
    os.kill(ranks[0].pid, signal.SIGSTOP)
    for rank in ranks[1:]:
        failure = rank.do("failure", 100.0)["result"]
        assert failure["rank"] == 0
        assert "no answer for 2 s" in failure["reason"]
    assert time.monotonic() - begin < TIMERS["dead"] + 2.0 + SLACK


def test_who_holds_the_interpreters_lock_is_alive(start: Start) -> None:
    ranks = start_all(start, 2)
    ranks[1].ask("hold_the_lock", TIMERS["dead"] + 0.5)
    assert ranks[0].do("failure", TIMERS["dead"] + 0.4) == {"result": False}
    assert "error" not in ranks[1].answer()


def test_no_progress_names_who_did_not_enter(start: Start) -> None:
    ranks = start_all(start, 3, timers=TIMERS | {"no_progress": 2.0, "first_step": 2.0})
    for rank in (ranks[0], ranks[2]):
        rank.do("enter", 7, "all_reduce b")
    ranks[1].do("enter", 6, "broadcast")
    failure = ranks[0].do("failure", 20.0)["result"]
    assert failure["rank"] == 1
    assert "rank 1 (host-1) did not enter operation #7 'all_reduce b'" in failure["reason"]
    assert failure["operation"] == "#6 'broadcast'"


def test_a_late_rank_is_waited_for_and_a_missing_one_named(start: Start) -> None:
    first = start(0, 2, timers=TIMERS | {"report": 0.1})
    port = first.answer()["result"]
    first.ask("join", [])
    time.sleep(0.3)
    late = start(1, 2, port=port)
    late.answer()
    assert len(late.do("join", [])["result"]) == 2
    assert len(first.answer()["result"]) == 2
    log = first.end()
    assert "1 of 2 ranks have not joined: rank 1; joined: rank 0 (host-0)" in log
    assert "timers: heartbeat 0.05 s, suspect 1 s, dead 2 s" in log

    alone = start(0, 3, timers=TIMERS | {"join": 0.5})
    alone.answer()
    answer = alone.do("join", [])
    assert answer["error"] == "PeerFailedError"
    assert (
        "did not join within 0.5 s; 2 of 3 ranks have not joined: rank 1, rank 2"
        in (answer["text"])
    )


def test_strangers_are_refused_by_name(start: Start) -> None:
    first = start(0, 2)
    port = first.answer()["result"]
    other = dist.generate_secret().hex()
    for options, words in [
        ({"other_secret": other}, "wrong secret"),
        ({"job": "another"}, "(another job)"),
        ({"world": 3}, "(no such rank): rank 1 of 3"),
        ({"generation": 0}, "(stale generation)"),
        ({"rank": 0, "serve": False}, "(rank is taken)"),
    ]:
        answer = start(**({"rank": 1, "world": 2, "port": port} | options)).answer()
        assert answer["error"] == "DistributedError"
        assert words in answer["text"]
        assert other not in answer["text"]
    assert start(1, 2, port=port).answer() == {"result": port}
    log = first.end()
    assert re.search(r"refused 127\.0\.0\.1:\d+ \(wrong secret, no\. 1\): rank 1 of job", log), log


def test_garbage_during_a_run_disturbs_nobody(start: Start) -> None:
    ranks = start_all(start, 2)
    port = ranks[0].port
    stop = threading.Event()
    silent = [socket.create_connection(("127.0.0.1", port)) for _ in range(30)]

    def noise() -> None:
        random.seed(1)
        while not stop.is_set():
            with socket.create_connection(("127.0.0.1", port)) as s:
                s.sendall(random.randbytes(random.randrange(1, 200)))

    thread = threading.Thread(target=noise)
    thread.start()
    try:
        for i in range(20):
            for rank in ranks:
                rank.ask("barrier", f"round {i}", 10.0)
            for rank in ranks:
                assert rank.answer() == {"result": None}
    finally:
        stop.set()
        thread.join()
        for s in silent:
            s.close()
    log = ranks[0].end()
    assert re.search(r"refused 127\.0\.0\.1:\d+ \(garbage, no\. 1\)", log), "nobody heard the noise"
    assert "failure:" not in log, log


def test_a_taken_port_names_its_process(start: Start) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        answer = start(0, 1, port=port).answer()
    assert answer["error"] == "DistributedError"
    assert f"port {port} at 127.0.0.1 is taken by process {os.getpid()} (" in answer["text"]


def test_ranks_meet_over_ipv6(start: Start) -> None:
    ranks = start_all(start, 2, address="::1")
    for rank in ranks:
        rank.ask("barrier", "b", 10.0)
    for rank in ranks:
        assert rank.answer() == {"result": None}


def test_an_exception_is_told_before_its_rank_ends(start: Start) -> None:
    ranks = start_all(start, 3)
    ranks[0].ask("barrier", "epoch", 100.0)
    assert ranks[2].do("fail", "the images have 3 channels")["error"] == "ValueError"
    answer = ranks[0].answer()
    assert (answer["error"], answer["rank"]) == ("PeerFailedError", 2)
    assert answer["reason"] == "ValueError: the images have 3 channels"
    ranks[2].kill()
    failures = ranks[1].do("failures")["result"]
    assert [(f["rank"], f["reason"]) for f in failures] == [(2, answer["reason"])]


def test_a_clean_end_is_no_failure(start: Start) -> None:
    ranks = start_all(start, 2)
    assert ranks[1].do("leave") == {"result": None}
    ranks[1].kill()
    assert ranks[0].do("failure", 0.3) == {"result": False}
    late = ranks[0].do("barrier", "epoch", 5.0)
    assert late["error"] == "DistributedError"
    assert "rank 1 (host-1) has left the job" in late["text"]


def test_a_difference_is_shown_on_all_ranks(start: Start) -> None:
    ranks = start_all(start, 3)
    begin = time.monotonic()
    for r, rank in enumerate(ranks):
        rank.ask("agree", "graph", ["x", "y = gelu(x)" if r == 1 else "y = relu(x)"])
    for rank in ranks:
        answer = rank.answer()
        assert answer["error"] == "DistributedError"
        assert "agree 'graph': differs between ranks, first at line 2:" in answer["text"]
        assert "rank 0 (host-0), rank 2 (host-2): `y = relu(x)`" in answer["text"]
        assert "rank 1 (host-1): `y = gelu(x)`" in answer["text"]
    assert time.monotonic() - begin < 5.0 + SLACK
    for rank in ranks:
        rank.ask("agree", "loss", ["same"])
    for rank in ranks:
        assert rank.answer() == {"result": None}


def test_ctrl_c_ends_a_wait(start: Start) -> None:
    ranks = start_all(start, 2)
    ranks[1].ask("begin", "barrier", "epoch", 100.0)
    assert ranks[1].answer() == {"result": "begins"}
    time.sleep(0.2)
    ranks[1].process.send_signal(signal.SIGINT)
    assert ranks[1].answer()["error"] == "KeyboardInterrupt"


def test_the_end_of_a_store_holds_up_no_other_thread(secret: str) -> None:
    server = dist.ControlServer(
        "127.0.0.1", 0, "test", 1, 2, dist.secret_from_hex(secret), dist.Timers(TIMERS)
    )
    # Whom it has to say goodbye to, and does not answer: it waits for a second.
    with socket.create_connection(("127.0.0.1", server.port)) as silent:
        silent.sendall(b"x")
        ended = threading.Event()
        turns: list[float] = []

        def run() -> None:
            while not ended.is_set():
                time.sleep(0.005)
                turns.append(time.monotonic())

        other = threading.Thread(target=run)
        other.start()
        begin = time.monotonic()
        del server
        took = time.monotonic() - begin
        ended.set()
        other.join()
    assert took > 0.5, "nothing was waited for: the test shows nothing"
    # One that held the lock would let the other turn once, at its end.
    assert sum(begin < turn < begin + took for turn in turns) > 10


def test_a_launchers_new_generation_fences_the_old(start: Start, secret: str) -> None:
    server = dist.ControlServer(
        "127.0.0.1", 0, "test", 0, 2, dist.secret_from_hex(secret), dist.Timers(TIMERS)
    )
    old = [start(r, 2, port=server.port, serve=False, generation=0) for r in range(2)]
    for rank in old:
        rank.answer()
    old[0].ask("barrier", "epoch", 100.0)
    old[1].kill()
    assert old[0].answer()["rank"] == 1
    server.report(1, "killed by signal 9 (SIGKILL)")
    assert server.failures()[0][3].startswith("killed by signal 9 (SIGKILL); its connection ")
    server.advance(1, 1)
    stale = old[0].do("set", "k", "")
    assert "PeerFailedError" == stale["error"]
    again = start(0, 2, port=server.port, serve=False, generation=0).answer()
    assert "(stale generation): generation 0 of job 'test' is over" in again["text"]
    fresh = start(0, 1, port=server.port, serve=False, generation=1)
    assert fresh.answer() == {"result": server.port}
    assert len(fresh.do("join", [])["result"]) == 1
    assert fresh.do("leave") == {"result": None}
    assert server.wait_until_left(5.0)


def test_the_secret_is_in_no_message(secret: str) -> None:
    assert secret not in repr(dist.secret_from_hex(secret))
    with pytest.raises(ValueError, match="64 digits") as caught:
        dist.secret_from_hex(secret[1:])
    assert secret[1:] not in str(caught.value)
    with pytest.raises(ValueError, match="no timer 'hartbeat'"):
        dist.Timers({"hartbeat": 1.0})
    with pytest.raises(DistributedError, match=r"no store answers at 127\.0\.0\.1:1"):
        Control(
            1,
            2,
            job="test",
            address="127.0.0.1",
            port=1,
            secret=dist.secret_from_hex(secret),
            timers=TIMERS | {"join": 0.1},
        )
