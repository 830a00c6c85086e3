# SPDX-License-Identifier: Apache-2.0
"""`ostria launch` with real processes: what ranks are told, and what is seen of them."""

from __future__ import annotations

import os
import pty
import select
import socket
import subprocess
import sys

import pytest
from launching import PACKAGE, Launcher, free_port, lines_of, wait_for

from ostria.cli.launch import meeting
from ostria.cli.launch.output import LineStream, RankLog, Terminal

SECRET = "0123456789abcdef" * 4

# What ranks are told


def test_ranks_learn_their_place(job: Launcher) -> None:
    body = (
        "from ostria.distribute import read_environment\n"
        "e = read_environment()\n"
        "print(e.rank, e.world_size, e.local_rank, e.local_size, e.node_rank, e.node_count,\n"
        "      e.rendezvous, os.environ['OSTRIA_JOB_ID'], os.environ['OSTRIA_GENERATION'])\n"
    )
    code, out, err = job.run("--nproc", "3", job.script(body))
    assert code == 0, err
    said = {rank: lines[0].split() for rank, lines in lines_of(out).items()}
    for rank in range(3):
        assert said[rank][:6] == [str(rank), "3", str(rank), "3", "0", "1"]
    assert len({tuple(words[6:]) for words in said.values()}) == 1
    assert said[0][8] == "1" and said[0][6].startswith("127.0.0.1:")


def test_hosts_share_a_world_and_a_secret(job: Launcher) -> None:
    secret = job.folder / "secret"
    secret.write_text(SECRET)
    secret.chmod(0o600)
    body = "print(os.environ['OSTRIA_RANK'], os.environ['OSTRIA_NODE_RANK'], *sys.argv[1:],\n"
    body += "      os.environ['OSTRIA_RENDEZVOUS'], os.environ['OSTRIA_JOB_ID'],\n"
    body += "      open(os.environ['OSTRIA_SECRET_FILE']).read())\n"
    script = job.script(body)
    address = f"127.0.0.1:{free_port()}"
    ids = set()
    for node in (0, 1):
        flags = ["--nproc", "2", "--nnodes", "2", "--node-rank", str(node)]
        where = ["--rendezvous", address]
        code, out, err = job.run(*flags, *where, script, OSTRIA_SECRET_FILE=str(secret))
        assert code == 0, err
        for rank, (line,) in lines_of(out).items():
            said = line.split()
            assert said[:3] == [str(rank), str(node), address]
            assert rank // 2 == node and said[4] == SECRET
            ids.add(said[3])
    assert len(ids) == 1


def test_several_hosts_need_a_secret_that_only_its_owner_reads(job: Launcher) -> None:
    flags = ("--nnodes", "2", "--node-rank", "0", "--rendezvous", "127.0.0.1:1")
    code, _, err = job.run(*flags, job.script(""))
    assert code == 2 and "OSTRIA_SECRET_FILE is not set" in err
    secret = job.folder / "secret"
    secret.write_text(SECRET)
    secret.chmod(0o640)
    code, _, err = job.run(*flags, job.script(""), OSTRIA_SECRET_FILE=str(secret))
    assert code == 2 and "mode 640" in err and "chmod 600" in err
    secret.chmod(0o600)
    secret.write_text("too short")
    code, _, err = job.run(*flags, job.script(""), OSTRIA_SECRET_FILE=str(secret))
    assert code == 2 and "9 characters" in err and "64 digits" in err


def test_the_secret_is_no_argument_and_no_variable(job: Launcher) -> None:
    body = (
        "secret = open(os.environ['OSTRIA_SECRET_FILE']).read()\n"
        "seen = open('/proc/self/environ').read() + open('/proc/self/cmdline').read()\n"
        "seen += open(f'/proc/{os.getppid()}/cmdline').read()\n"
        "mode = os.stat(os.environ['OSTRIA_SECRET_FILE']).st_mode & 0o777\n"
        "print(len(secret), secret in seen, oct(mode), secret)\n"
    )
    code, out, err = job.run("--nproc", "2", job.script(body))
    assert code == 0, err
    said = lines_of(out)
    assert said[0] == said[1]
    assert said[0][0].split()[:3] == ["64", "False", "0o600"]


def test_arguments_arrive_as_they_are(job: Launcher) -> None:
    words = ["--nproc", "7", "a b", "; rm -rf x", "$(id)", "-m", "*", ""]
    code, out, _ = job.run(job.script("print(sys.argv[1:])\n"), *words)
    assert (code, lines_of(out)[0]) == (0, [str(words)])
    job.script("print(__name__, sys.argv[1:])\n", "module.py")
    code, out, _ = job.run("-m", "module", "--x", PYTHONPATH=f"{PACKAGE}:{job.folder}")
    assert (code, lines_of(out)[0]) == (0, ["__main__ ['--x']"])


def test_cores_are_divided(job: Launcher) -> None:
    names = "OSTRIA_NUM_THREADS", "OMP_NUM_THREADS"
    script = job.script(f"print(*[os.environ[name] for name in {names}])\n")
    job.environ.pop("OMP_NUM_THREADS", None)
    cores = len(os.sched_getaffinity(0))
    for nproc in (1, 2, cores + 1):
        _, out, _ = job.run("--nproc", str(nproc), script)
        share = max(1, cores // nproc)
        assert lines_of(out) == {rank: [f"{share} {share}"] for rank in range(nproc)}
    _, out, _ = job.run("--nproc", "2", script, OSTRIA_NUM_THREADS="5", OMP_NUM_THREADS="3")
    assert lines_of(out)[0] == ["5 3"]


def test_kubeflows_variables_are_defaults(job: Launcher) -> None:
    script = job.script("print(os.environ['OSTRIA_WORLD_SIZE'])\n")
    _, out, _ = job.run(script, PET_NPROC_PER_NODE="2")
    assert lines_of(out) == {0: ["2"], 1: ["2"]}
    _, out, _ = job.run("--nproc", "1", script, PET_NPROC_PER_NODE="2")
    assert lines_of(out) == {0: ["1"]}


@pytest.mark.parametrize(
    ("words", "parts"),
    [
        (["--nproc", "0", "x"], ["--nproc is '0'", "from 1 to 4096, or auto"]),
        (["--nproc", "two", "x"], ["--nproc is 'two'"]),
        (["--nnodes", "2", "x"], ["--node-rank is missing", "0 to 1"]),
        (["--nnodes", "2", "--node-rank", "2", "x"], ["--node-rank is 2", "--nnodes is 2"]),
        (["--nnodes", "2", "--node-rank", "1", "x"], ["--rendezvous is missing", "host:port"]),
        (["--rendezvous", "here", "x"], ["--rendezvous is 'here'", "host:port"]),
        (["--grace", "-1", "x"], ["--grace is '-1'", "0 to 86400"]),
        (["--grace", "nan", "x"], ["--grace is 'nan'"]),
        (["--max-restarts", "x", "x"], ["--max-restarts is 'x'"]),
        (
            ["--nproc", "2", "--min-nproc", "3", "x"],
            ["--min-nproc is '3'", "from 1 to 2, which is --nproc"],
        ),
        (
            ["--nproc", "2", "--min-nproc", "1", "--max-restarts", "1", "x"],
            ["--min-nproc is 1", "--max-restarts is 1", "give --max-restarts 2 or more"],
        ),
        (
            ["--nproc", "2", "--min-nproc", "1", "--nnodes", "2", "--node-rank", "0", "x"],
            ["--min-nproc is 1", "--nnodes is 2", "goes on from the last checkpoint"],
        ),
        (
            ["--log-dir", "x/y", "x"],
            ["ostria launch: --log-dir is 'x/y'", "Not a directory", "can be written"],
        ),
        (["missing.py"], ["there is no script 'missing.py'"]),
        (["--rendezvous", "192.0.2.1:29400", "x"], ["192.0.2.1:29400 is no address of this host"]),
    ],
)
def test_wrong_flags_start_nothing(job: Launcher, words: list[str], parts: list[str]) -> None:
    (job.folder / "x").write_text("print('started')")
    code, out, err = job.run(*words)
    assert (code, out) == (2, "")
    for part in parts:
        assert part in err


# The port


def test_the_launcher_holds_the_port_where_ranks_meet(job: Launcher) -> None:
    body = (
        "from ostria.cli.launch.meeting import holder_of\n"
        "port = int(os.environ['OSTRIA_RENDEZVOUS'].rsplit(':', 1)[1])\n"
        "print(os.getppid(), holder_of(port))\n"
    )
    code, out, err = job.run("--nproc", "2", job.script(body))
    assert code == 0, err
    for lines in lines_of(out).values():
        launcher = lines[0].split()[0]
        assert lines[0].startswith(f"{launcher} process {launcher} ("), lines


def test_a_host_that_nobody_knows_is_refused(job: Launcher) -> None:
    code, out, err = job.run("--rendezvous", "nobody.invalid:29400", job.script("print('here')\n"))
    assert (code, out) == (2, "")
    assert "the host of nobody.invalid:29400 is not known" in err
    assert "give --rendezvous a name or an address of host 0" in err


def test_a_port_that_becomes_free_is_taken(job: Launcher) -> None:
    """Bound again for up to three times: another job may just be ending."""
    taken = socket.create_server(("127.0.0.1", 0))
    port = taken.getsockname()[1]
    pauses = []

    def sleep(seconds: float) -> None:
        pauses.append(seconds)
        if len(pauses) == 2:
            taken.close()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(meeting.time, "sleep", sleep)
        with meeting.bind("127.0.0.1", port) as listener:
            assert listener.getsockname()[1] == port
    assert len(pauses) == 2


# What is seen of them


def test_lines_come_whole_with_their_rank(job: Launcher) -> None:
    body = (
        "for i in range(200):\n"
        "    os.write(1, b'x' * 50)\n"
        "    os.write(1, b'y' * 50 + b'\\n')\n"
        "os.write(2, b'to stderr\\n')\n"
        "os.write(1, b'no end of line')\n"
    )
    code, out, err = job.run("--nproc", "3", job.script(body))
    assert code == 0
    for lines in lines_of(out).values():
        assert lines == ["x" * 50 + "y" * 50] * 200 + ["no end of line"]
    assert sorted(lines_of(out)) == [0, 1, 2]
    assert sorted(e for e in err.splitlines() if "to stderr" in e) == [
        f"[rank {r}] to stderr" for r in range(3)
    ]
    assert "\033" not in out + err


def test_colours_are_for_terminals(job: Launcher) -> None:
    main, other = pty.openpty()
    words = [sys.executable, "-m", "ostria", "launch", job.script("print('hi')\n")]
    process = subprocess.Popen(words, env=job.environ, stdout=other, stderr=subprocess.DEVNULL)
    os.close(other)
    try:
        assert process.wait(30) == 0
        assert os.read(main, 1000) == b"\033[36m[rank 0] \033[0mhi\r\n"
    finally:
        process.kill()
        os.close(main)


def test_a_file_per_rank(job: Launcher) -> None:
    script = job.script("print('out', rank, flush=True)\nprint('err', rank, file=sys.stderr)\n")
    code, _, _ = job.run("--nproc", "2", "--log-dir", "logs/a", script)
    assert code == 0
    for rank in range(2):
        text = (job.folder / f"logs/a/rank-{rank}.log").read_text()
        assert sorted(text.splitlines()) == [f"err {rank}", f"out {rank}"]


def test_a_terminal_that_is_gone_does_not_stop_the_job(job: Launcher) -> None:
    process = job.start("--log-dir", "logs", job.script("print('a\\n' * 100000)\nprint('end')\n"))
    assert process.stdout is not None
    process.stdout.close()
    assert process.wait(30) == 0
    assert process.stderr is not None
    process.stderr.close()
    assert (job.folder / "logs/rank-0.log").read_text().endswith("end\n")


def test_a_full_disk_under_the_logs_does_not_stop_the_job(capfdbinary) -> None:
    readable, writable = os.pipe()
    terminal = Terminal(1)
    stream = LineStream(readable, terminal, RankLog(0, "/dev/full", terminal))
    os.write(writable, b"one\ntwo\n")
    assert stream.read()
    os.close(writable)
    assert not stream.read()
    os.close(readable)
    said = capfdbinary.readouterr().out.decode()
    assert "log file /dev/full ends here" in said
    assert said.endswith("[rank 0] one\n[rank 0] two\n")


def test_a_stream_waits_for_the_end_of_its_neighbours_line() -> None:
    """And the launcher does not spin meanwhile: there is nothing to wait for on that stream."""
    ends = [os.pipe() for _ in range(2)]
    out, err = (Terminal(writable) for _, writable in ends)
    out._neighbour, err._neighbour = err, out
    out.write(b"a" * 100_000 + b"\n")  # more than a pipe takes
    err.write(b"whole\n")
    assert out.is_waiting and not err.is_waiting
    got = b""
    while not got.endswith(b"\n") and select.select([ends[0][0]], [], [], 10.0)[0]:
        got += os.read(ends[0][0], 1 << 20)
        out.pump()
    assert len(got) == 100_001
    assert err.is_waiting
    err.pump()
    assert os.read(ends[1][0], 100) == b"whole\n"
    for end in (fd for pair in ends for fd in pair):
        os.close(end)


def test_a_line_without_end_does_not_fill_the_memory(capfdbinary) -> None:
    readable, writable = os.pipe()
    stream = LineStream(
        readable,
        Terminal(1),
        RankLog(0, None, Terminal(2)),
    )
    for _ in range(40):
        os.write(writable, b"z" * 65536)
        stream.read()
    assert len(stream._rest) <= 1 << 20
    os.close(writable)
    os.close(readable)


def test_a_reader_that_takes_nothing_does_not_hold_the_launcher_up(job: Launcher) -> None:
    """Ranks wait for it; a failure and a signal are seen all the same."""
    body = (
        "if rank == 1:\n"
        "    while not os.path.exists('full'): time.sleep(0.01)\n"
        "    sys.exit(6)\n"
        "signal.signal(signal.SIGTERM, lambda *_: os._exit(0))\n"
        "for i in range(100000):\n"
        "    if i == 1000: open('full', 'w').close()\n"
        "    os.write(1, b'x' * 999 + b'\\n')\n"
    )
    process = job.start("--nproc", "2", job.script(body))
    assert process.stdout is not None and process.stderr is not None
    # Nobody reads stdout until the launcher has said on stderr what happened.
    said = wait_for("root cause", process)
    assert "root cause: rank 1" in said and "exit code 6" in said
    lines = process.stdout.read().splitlines()
    assert 1000 < len(lines) < 5000, "what fits into pipes and the launcher"
    assert set(lines) == {"[rank 0] " + "x" * 999}
    assert process.wait(30) == 6
    process.stderr.close()
    process.stdout.close()
