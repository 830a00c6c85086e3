# SPDX-License-Identifier: Apache-2.0
"""How jobs of `ostria launch` end: root cause, signals, deadlines, restarts, kills for memory."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest
from launching import HOST, LINE, SLACK, WAIT, Launcher, gone, lines_of, until, wait_for
from promises import promises

from ostria.cli.launch.evidence import MemoryGroup, find_group, read_group, say_why_killed

# Goes on where all ranks of the generation have come so far.
ALL_READY = (
    "ready = 'ready-' + os.environ['OSTRIA_GENERATION'] + '-'\n"
    "open(ready + str(rank), 'w').close()\n"
    "while not all(os.path.exists(ready + str(r)) for r in range({nproc})): time.sleep(0.01)\n"
)

# How they end


def test_the_first_error_is_the_root_cause_and_comes_last(job: Launcher) -> None:
    body = (
        "def late(*_):\n    print('connection closed by peer', file=sys.stderr)\n    sys.exit(9)\n"
        "signal.signal(signal.SIGTERM, late)\n"
        f"{ALL_READY.format(nproc=3)}"
        "if rank == 1:\n    raise ValueError('the real reason')\n" + WAIT
    )
    code, _, err = job.run("--nproc", "3", job.script(body + "# end\n"))
    assert code == 1
    *before, last = err.splitlines()
    assert last.startswith(f"ostria launch: root cause: rank 1 on {HOST} (process ")
    assert "ended with exit code 1" in last
    assert before[-1] == "    ValueError: the real reason"
    assert "also ended: rank " in err and "(exit code 9)" in err


def test_a_signal_is_named_and_gives_128_and_its_number(job: Launcher) -> None:
    body = "if rank == 0: os.kill(os.getpid(), signal.SIGSEGV)\n" + WAIT
    code, _, err = job.run("--nproc", "2", job.script(body))
    assert code == 128 + signal.SIGSEGV
    assert "rank 0" in err.splitlines()[-1] and "SIGSEGV" in err.splitlines()[-1]


def test_kill_9_of_a_rank_ends_the_job_within_2_seconds(job: Launcher) -> None:
    process = job.start("--nproc", "2", job.script("print(os.getpid(), flush=True)\n" + WAIT))
    assert process.stdout is not None
    pids = dict(LINE.fullmatch(process.stdout.readline().rstrip()).groups() for _ in range(2))
    start = time.monotonic()
    os.kill(int(pids["1"]), signal.SIGKILL)
    code, _, err = job.end(process)
    assert time.monotonic() - start < 2.0 + SLACK
    assert code == 137
    said = err.splitlines()
    assert f"rank 1 on {HOST} (process {pids['1']}) ended with SIGKILL" in said[-1]
    assert "MiB" in said[-2] and ("out-of-memory" in said[-2])
    assert "also ended: rank 0 (SIGTERM)" in err


def test_of_ranks_that_end_at_once_the_one_that_was_killed_is_the_cause(job: Launcher) -> None:
    body = (
        "print(os.getpid(), flush=True)\n"
        "go = 'go'\nwhile not os.path.exists(go): time.sleep(0.01)\n"
        "if rank == 0: os._exit(5)\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    process = job.start("--nproc", "2", job.script(body))
    assert process.stdout is not None
    for _ in range(2):
        process.stdout.readline()
    # While the launcher does not look, both end.
    process.send_signal(signal.SIGSTOP)
    pids = [p for p in job.pids() if p != process.pid]
    (job.folder / "go").write_text("")
    assert until(lambda: sum(gone(p) for p in pids) == 2)
    process.send_signal(signal.SIGCONT)
    code, _, err = job.end(process)
    assert code == 137 and "root cause: rank 1" in err


def test_a_rank_that_ignores_sigterm_is_killed_after_the_grace_period(job: Launcher) -> None:
    body = (
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        f"{ALL_READY.format(nproc=2)}"
        "if rank == 0: sys.exit(4)\n" + WAIT
    )
    code, _, err = job.run("--nproc", "2", "--grace", "0.3", job.script(body))
    assert code == 4 and "rank 1 (SIGKILL)" in err
    ready = max(path.stat().st_mtime for path in job.folder.glob("ready*"))
    assert 0.3 <= time.time() - ready < 0.3 + SLACK


SAVES = (
    "def save(signum, _):\n"
    "    time.sleep({seconds})\n"
    "    open(f'saved{{rank}}', 'w').write(signal.Signals(signum).name)\n"
    "    sys.exit({code})\n"
    "signal.signal(signal.SIGTERM, save)\n"
    "signal.signal(signal.SIGINT, save)\n"
    "print('ready', flush=True)\n" + WAIT
)


@pytest.mark.parametrize(
    ("sent", "received", "code", "expected"),
    [
        (signal.SIGTERM, "SIGTERM", 0, 128 + signal.SIGTERM),
        (signal.SIGTERM, "SIGTERM", 42, 42),
        (signal.SIGINT, "SIGINT", 0, 128 + signal.SIGINT),
        (signal.SIGHUP, "SIGTERM", 0, 128 + signal.SIGHUP),
    ],
)
def test_a_signal_is_passed_on_and_ranks_may_save(
    job: Launcher, sent: int, received: str, code: int, expected: int
) -> None:
    script = job.script(SAVES.format(seconds=0.2, code=code))
    process = job.start("--nproc", "2", "--max-restarts", "3", script)
    assert process.stdout is not None
    for _ in range(2):
        process.stdout.readline()
    process.send_signal(sent)
    status, _, err = job.end(process)
    assert status == expected, err
    assert [(job.folder / f"saved{r}").read_text() for r in (0, 1)] == [received] * 2
    assert "generation 2" not in err


def test_ranks_that_do_not_save_in_time_are_killed_and_it_is_said(job: Launcher) -> None:
    process = job.start(
        "--nproc", "2", "--grace", "0.3", job.script(SAVES.format(seconds=9, code=0))
    )
    assert process.stdout is not None
    for _ in range(2):
        process.stdout.readline()
    start = time.monotonic()
    process.send_signal(signal.SIGTERM)
    code, _, err = job.end(process)
    assert code == 137 and 0.3 <= time.monotonic() - start < 0.3 + SLACK
    assert "rank(s) 0, 1" in err.splitlines()[-1] and "within 0.3 s" in err.splitlines()[-1]
    assert not (job.folder / "saved0").exists()


def test_a_second_interrupt_ends_the_wait(job: Launcher) -> None:
    process = job.start("--grace", "60", job.script(SAVES.format(seconds=50, code=0)))
    assert process.stdout is not None
    process.stdout.readline()
    process.send_signal(signal.SIGINT)
    wait_for("passed on", process)
    process.send_signal(signal.SIGINT)
    code, _, _ = job.end(process)
    assert code == 137


@pytest.mark.parametrize(
    ("other", "grace", "expected", "said"),
    [
        ("sys.exit(42)", 60, 42, "a signal stopped the job; ranks 0, 1 saved; no rank failed"),
        (WAIT, 0.6, 137, "rank(s) 1"),
        ("time.sleep(0.2); sys.exit(3)", 60, 3, "root cause: rank 1"),
    ],
)
def test_a_rank_that_was_stopped_and_saved_has_not_failed(
    job: Launcher, other: str, grace: float, expected: int, said: str
) -> None:
    body = f"{ALL_READY.format(nproc=2)}if rank == 0: sys.exit(42)\n{other}\n"
    code, _, err = job.run("--nproc", "2", "--grace", f"{grace}", job.script(body))
    ready = max(path.stat().st_mtime for path in job.folder.glob("ready*"))
    assert time.time() - ready < 0.6 + SLACK
    assert code == expected and said in err.splitlines()[-1], err
    if expected != 3:
        code, _, err = job.run("--max-restarts", "1", job.script("sys.exit(42)\n"))
        assert code == 42 and "generation 2" not in err


STARTS_ANOTHER = (
    "import subprocess\n"
    "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'])\n"
    "print(os.getpid(), child.pid, flush=True)\n"
)


def test_no_process_outlives_a_launcher_that_is_killed(job: Launcher) -> None:
    process = job.start("--nproc", "2", job.script(STARTS_ANOTHER + WAIT))
    assert process.stdout is not None
    said = [LINE.fullmatch(process.stdout.readline().rstrip()) for _ in range(2)]
    pids = [int(pid) for match in said if match for pid in match[2].split()]
    assert len(pids) == 4 and not any(gone(p) for p in pids)
    process.kill()
    process.communicate(timeout=30)
    assert until(lambda: all(gone(p) for p in pids))


def test_what_a_rank_started_ends_with_it(job: Launcher) -> None:
    code, out, _ = job.run(job.script(STARTS_ANOTHER))
    assert code == 0
    assert until(lambda: gone(int(lines_of(out)[0][0].split()[1])))


# Restarts


def test_a_failed_job_is_started_again_as_a_whole(job: Launcher) -> None:
    body = (
        "generation = os.environ['OSTRIA_GENERATION']\n"
        "print('generation', generation, flush=True)\n"
        "if generation != '3' and rank == 1: sys.exit(7)\n"
        "if generation != '3': time.sleep(60)\n"
    )
    script = job.script(body)
    code, out, err = job.run("--nproc", "2", "--max-restarts", "2", "--log-dir", "logs", script)
    assert code == 0, err
    assert lines_of(out)[1] == ["generation 1", "generation 2", "generation 3"]
    assert err.count("root cause: rank 1") == 2
    assert (job.folder / "logs/rank-1.3.log").read_text() == "generation 3\n"
    code, _, err = job.run("--nproc", "2", "--max-restarts", "1", script)
    assert code == 7 and "root cause" in err.splitlines()[-1]


def test_a_rank_that_fails_twice_in_a_row_costs_a_process(job: Launcher) -> None:
    body = (
        "print(os.environ['OSTRIA_WORLD_SIZE'], os.environ['OSTRIA_LOCAL_SIZE'], flush=True)\n"
        + ALL_READY.format(nproc="int(os.environ['OSTRIA_WORLD_SIZE'])")
        + "if rank == (os.environ['OSTRIA_GENERATION'] == '2'): sys.exit(7)\n"
        + WAIT
    )
    flags = ["--nproc", "3", "--min-nproc", "2", "--max-restarts"]
    code, out, err = job.run(*flags, "5", job.script(body))
    assert code == 7
    # Ranks 0, 1, 0, 0: one less; 0, 0: there are no less than 2.
    assert lines_of(out)[0] == ["3 3", "3 3", "3 3", "3 3", "2 2", "2 2"]
    assert err.count("with 2 process(es): rank 0 failed twice") == 1, err


# Evidence of a kill for want of memory


def tree(folder: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder


def test_control_groups_of_version_2(tmp_path: Path) -> None:
    proc = tree(tmp_path / "proc", {"7/cgroup": "0::/job/rank\n"})
    groups = tree(
        tmp_path / "cgroup",
        {
            "job/rank/memory.events": "low 0\nhigh 0\nmax 9\noom 1\noom_kill 1\noom_group_kill 0\n",
            "job/rank/memory.max": "max\n",
            "job/rank/memory.peak": "68157440\n",
            "job/memory.max": "67108864\n",
        },
    )
    folder = find_group(7, proc, groups)
    assert folder == groups / "job/rank"
    assert read_group(folder, groups) == MemoryGroup(str(folder), 1, 64 << 20, 65 << 20)
    assert find_group(8, proc, groups) is None


def test_control_groups_of_version_1(tmp_path: Path) -> None:
    proc = tree(tmp_path / "proc", {"7/cgroup": "4:cpu:/x\n3:hugetlb,memory:/job\n0::/\n"})
    groups = tree(
        tmp_path / "cgroup",
        {
            "memory/job/memory.oom_control": "oom_kill_disable 0\nunder_oom 0\noom_kill 2\n",
            "memory/job/memory.limit_in_bytes": "67108864\n",
            "memory/job/memory.max_usage_in_bytes": "67108864\n",
            "memory/memory.limit_in_bytes": "9223372036854771712\n",
        },
    )
    folder = find_group(7, proc, groups)
    assert folder == groups / "memory/job"
    assert read_group(folder, groups) == MemoryGroup(str(folder), 2, 64 << 20, 64 << 20)


def test_what_is_said_of_a_kill() -> None:
    before, after = (MemoryGroup("/g", n, 64 << 20, 64 << 20) for n in (3, 4))
    text = say_why_killed(before, after, 1, 60 << 20)
    assert "out-of-memory killer ended 1 process(es) in control group /g (limit 64 MiB" in text
    assert "at most 60 MiB" in text
    text = say_why_killed(after, after, 0, 1 << 20)
    assert "ended nothing in control group /g" in text and "somebody sent the signal" in text
    text = say_why_killed(after, after, 2, 1 << 20)
    assert "ended 2 process(es) of this machine meanwhile, none of them in control group /g" in text
    assert "any control group that can be read" in say_why_killed(None, None, 0, 1 << 20)


@promises(
    11,
    "the launcher says that the kernel's out-of-memory killer ended the rank, in which control "
    "group and at which limit",
)
def test_a_kill_for_want_of_memory_is_told_from_others(job: Launcher) -> None:
    group = Path("/sys/fs/cgroup/memory") / f"ostria-{job.mark}"
    limit = "memory.limit_in_bytes"
    if not Path("/sys/fs/cgroup/memory").is_dir():
        group, limit = Path("/sys/fs/cgroup") / f"ostria-{job.mark}", "memory.max"
    try:
        group.mkdir()
        (group / limit).write_text(str(40 << 20))
        (group / "cgroup.procs").stat()
    except OSError as error:
        if group.is_dir():
            group.rmdir()
        pytest.skip(f"no control group with a limit can be made here: {error}")
    body = (
        "if rank == 1:\n"
        f"    open('{group}/cgroup.procs', 'w').write(str(os.getpid()))\n"
        "    time.sleep(1.2)\n"  # the launcher looks twice a second at which group it is in
        "    data = bytearray(256 << 20)\n" + WAIT
    )
    try:
        code, _, err = job.run("--nproc", "2", job.script(body))
    finally:
        until(lambda: not (group / "cgroup.procs").read_text().split())
        group.rmdir()
    assert code == 137
    said = err.splitlines()
    assert "rank 1" in said[-1] and "SIGKILL" in said[-1]
    assert "out-of-memory killer ended 1 process(es)" in said[-2]
    assert group.name in said[-2] and "limit 40 MiB" in said[-2]
