# SPDX-License-Identifier: Apache-2.0
"""Transports between real processes: sums, and who is named when a rank dies, stops or differs."""

from __future__ import annotations

import io
import json
import re
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from ranks import Rank, start_by_mpirun, why_not

from ostria.cli.explain_hang import explain_hang

# Transport: the host of each rank.
HOSTS = {
    "shm": ["a", "a", "a"],
    "gloo": ["a", "b", "c"],
    "hierarchical": ["a", "a", "b", "b"],
    "mpi": ["a", "b", "c"],
}

Start = Callable[..., list[Rank]]


@pytest.fixture(params=sorted(HOSTS))
def transport(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    if why := why_not(name):
        pytest.skip(why)
    return name


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Starts ranks that record into tmp_path/flight; ends them all afterwards."""
    started: list[Rank] = []
    launchers: list[subprocess.Popen[bytes]] = []
    (tmp_path / "store").mkdir()

    def run(transport: str, only: list[int] | None = None, join_ms: int = 30_000) -> list[Rank]:
        hosts = HOSTS[transport]
        which = list(range(len(hosts))) if only is None else only
        words = [",".join(hosts), str(tmp_path / "store"), transport, str(join_ms)]
        words.append(str(tmp_path / "flight"))
        if transport == "mpi":
            ranks, launcher = start_by_mpirun(tmp_path / "mpi", len(hosts), which, *words)
            started.extend(ranks)
            launchers.append(launcher)
        else:
            started.extend(Rank(str(rank), *words) for rank in which)
        return started

    yield run
    for rank in started:
        rank.hang_up()
    for rank in started:
        rank.close()
    for launcher in launchers:
        launcher.terminate()
        launcher.wait(30)


def ready(ranks: list[Rank]) -> list[str]:
    said = [r.answer() for r in ranks]
    assert all(s.startswith("ready ") for s in said), said
    return said


def all_do(ranks: list[Rank], line: str) -> list[str]:
    for rank in ranks:
        rank.ask(line)
    return [r.answer() for r in ranks]


def death(ranks: list[Rank], transport: str) -> str:
    """What survivors say of a rank that died. MPI tells nobody, so there the clock does, soon."""
    if transport != "mpi":
        return "died"
    all_do(ranks, "timeout 3000")
    return "did not come within 3 s"


def explained(tmp_path: Path) -> tuple[dict[str, Any], str]:
    text, data = io.StringIO(), io.StringIO()
    folder = str(tmp_path / "flight")
    explain_hang(folder, as_json=False, out=text)
    explain_hang(folder, as_json=True, out=data)
    return json.loads(data.getvalue()), text.getvalue()


def test_all_ranks_get_the_same_sum(start: Start, transport: str, tmp_path: Path) -> None:
    ranks = start(transport)
    assert all(f"ready {transport}: " in s for s in ready(ranks))
    hashes = {}
    for count in (1, 1000, 16_384, 300_001, 3_000_000):
        said = all_do(ranks, f"all_reduce x {count} sum")
        assert len({s.split()[2] for s in said}) == 1, said
        hashes[count] = said[0].split()[2]
    # Integers in float32 are exact, so the sum is known: n i % 7 + 0 + 1 + … of n ranks.
    n, value = len(ranks), 0xCBF29CE484222325
    assert n in (3, 4)
    import struct

    for i in range(1000):
        bits = struct.unpack("<I", struct.pack("<f", n * (i % 7) + n * (n - 1) / 2))[0]
        value = (value ^ bits) * 0x100000001B3 % (1 << 64)
    assert hashes[1000] == str(value)
    assert not (tmp_path / "flight").exists()


def test_a_rank_killed_within_a_call_is_named_by_all(
    start: Start, transport: str, tmp_path: Path
) -> None:
    ranks = start(transport)
    ready(ranks)
    died = death(ranks, transport)
    all_do(ranks, "all_reduce warm 1000 sum")
    for rank in ranks:
        rank.ask("all_reduce gradients 1000000 sum 1000000")  # for hours
    time.sleep(0.2)
    ranks[1].signal(signal.SIGKILL)
    for rank in ranks[:1] + ranks[2:]:
        said = rank.answer()
        host = HOSTS[transport][1]
        assert said.startswith("error gradients: "), said
        assert f"rank 1 ({host})" in said
        assert died in said
    found, text = explained(tmp_path)
    assert found["without_record"] == [1]
    assert "rank 1" in text.splitlines()[-1], text


def test_a_rank_killed_between_calls_is_named_by_the_next(start: Start, transport: str) -> None:
    ranks = start(transport)
    ready(ranks)
    died = death(ranks, transport)
    all_do(ranks, "barrier first")
    ranks[1].signal(signal.SIGKILL)
    ranks[1].wait()
    survivors = ranks[:1] + ranks[2:]
    for said in all_do(survivors, "barrier second"):
        assert re.match(rf"error second: rank 1 \(\w\) .*{died}", said), said
    for said in all_do(survivors, "barrier third"):
        assert "rank 1" in said


def test_a_stopped_rank_is_named_within_the_timeout_and_is_fenced(
    start: Start, transport: str
) -> None:
    ranks = start(transport)
    ready(ranks)
    all_do(ranks, "timeout 3000")
    ranks[1].signal(signal.SIGSTOP)
    survivors = ranks[:1] + ranks[2:]
    for said in all_do(survivors, "all_reduce x 10 sum"):
        assert re.match(r"error x: rank 1 \(\w\) did not come within (3|2\.\d+) s", said), said
    ranks[1].signal(signal.SIGCONT)
    ranks[1].ask("all_reduce x 10 sum")
    assert "error x: rank 1" in ranks[1].answer()


def test_who_never_starts_is_named(start: Start, transport: str) -> None:
    ranks = start(transport, only=[r for r in range(len(HOSTS[transport])) if r != 1], join_ms=3000)
    said = [r.answer() for r in ranks]
    for s in said:
        assert re.match(
            rf"error \w+: rank 1 \({HOSTS[transport][1]}\) did not come within 3 s", s
        ), said


def test_a_call_that_differs_is_explained_from_real_records(
    start: Start, transport: str, tmp_path: Path
) -> None:
    ranks = start(transport)
    ready(ranks)
    all_do(ranks, "barrier first")
    for i, rank in enumerate(ranks):
        rank.ask(f"all_reduce gradients {7 if i == 2 else 10} sum")
    for said in [r.answer() for r in ranks]:
        assert "disagree" in said
        assert "rank 2" in said
        assert "of 7 float32 (sum)" in said
        assert "ostria explain-hang" in said
    found, _ = explained(tmp_path)
    assert (found["verdict"], found["ranks"], found["sequence"]) == ("mismatch", [2], 1)


def test_who_did_not_enter_is_explained_from_real_records(
    start: Start, transport: str, tmp_path: Path
) -> None:
    ranks = start(transport)
    ready(ranks)
    all_do(ranks, "all_reduce first 100 sum")
    all_do(ranks, "timeout 3000")
    for said in all_do(ranks[:1] + ranks[2:], "all_reduce second 100 sum"):
        assert "rank 1" in said
    assert all_do([ranks[1]], "dump asked") == ["ok 0 1"]
    found, text = explained(tmp_path)
    assert (found["verdict"], found["ranks"], found["sequence"]) == ("not_entered", [1], 1)
    assert "did not enter collective #2 all_reduce 'second'" in text


def test_waiting_does_not_burn_a_core(start: Start, transport: str) -> None:
    ranks = start(transport)
    ready(ranks)
    for _ in range(3):  # so that spinning has been tried
        all_do(ranks, "barrier x")
    before = [r.cpu_seconds() for r in ranks]
    for rank in ranks[1:]:
        rank.ask("barrier late")
    time.sleep(1.0)
    used = [r.cpu_seconds() - b for r, b in zip(ranks, before, strict=True)]
    ranks[0].ask("barrier late")
    assert all(s.startswith("ok") for s in [r.answer() for r in ranks])
    assert max(used) < 0.3, used


def test_abort_reaches_all(start: Start, transport: str) -> None:
    ranks = start(transport)
    ready(ranks)
    for rank in ranks[:-1]:
        rank.ask("barrier x")
    ranks[-1].ask("abort the loss of the last rank is NaN")
    assert ranks[-1].answer().startswith("ok")
    for rank in ranks[:-1]:
        assert "the loss of the last rank is NaN" in rank.answer()


def test_a_transport_that_does_not_fit_the_hosts_is_refused(tmp_path: Path) -> None:
    for transport, hosts, text in (
        ("shm", "a,b", "is for ranks of one host"),
        ("hierarchical", "a,b,a", "follow one another"),
        ("smoke", "a,b", "give 'auto', 'shm', 'gloo', 'hierarchical' or 'mpi'"),
        ("local", "a,a", "is for threads"),
    ):
        rank = Rank("0", hosts, str(tmp_path), transport)
        said = rank.answer()
        rank.close()
        assert said.startswith(f"error transport '{transport}' "), said
        assert text in said
