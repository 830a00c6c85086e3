# SPDX-License-Identifier: Apache-2.0
"""Ranks that are killed, stopped, or hang: cases 1 to 4."""

from __future__ import annotations

import io
import json
import os
import signal

from launching import HOST, Launcher, until
from programs import expect_named, program, run, start, told
from promises import promises

from ostria.cli.explain_hang import explain_hang

SURVIVE = """
try:
    while True:
        {before}
        work()
except ost.DistributedError as error:
    tell_error(error)
    {after}
    raise
"""
# So long that a thread can see that it is within it, as it has no lock of Python's.
LONG_STEP = """
w = ost.Variable(np.full((256, 256), 1e-3, np.float32), name="w")
optimizer = ost.optim.SGD(1e-6)

def step(x):
    for layer in range(12):
        x = ost.tanh(x @ w)
    loss = ost.mean(x) / strategy.num_replicas_in_sync
    optimizer.minimize(loss, [w])
    return loss

x = np.ones((256, 256), np.float32)
entered = None

def work():
    global entered
    entered = time.monotonic()
    strategy.run(step, (x,))
    entered = None

work()
work()
time.sleep(0.3)

def kill_within_a_step():
    while True:
        began = entered
        if began is not None and time.monotonic() - began > 0.005:
            write("fails.json")
            os.kill(os.getpid(), signal.SIGKILL)
        time.sleep(0.001)
"""


@promises(
    1,
    "every other rank raises `PeerFailedError` that names rank, host and operation, at its next "
    "collective; `ostria launch` ends who computes for half a second more by SIGTERM. The job ends "
    "with status 137, and its last line names the rank that was killed",
    bound="2 s",
)
def test_kill_within_a_step(job: Launcher, limit: float) -> None:
    body = "if rank == 1: threading.Thread(target=kill_within_a_step, daemon=True).start()\n"
    body += SURVIVE.format(before="pass", after="pass")
    code, err = run(job, program(body, steps=LONG_STEP))
    assert all((job.folder / f"rank-{r}.json").exists() for r in (0, 2)), err
    expect_named(job, 1, (0, 2), limit)
    assert code == 128 + signal.SIGKILL
    assert f"root cause: rank 1 on {HOST}" in err.splitlines()[-1]


@promises(2, "the same, though all others were outside of a collective", bound="2 s")
def test_kill_between_steps(job: Launcher, limit: float) -> None:
    """Rank 0, which is no other than its peers."""
    before = (
        'if rank == 0: write("fails.json"); os.kill(os.getpid(), signal.SIGKILL)\n'
        '        exists("fails.json"); time.sleep(0.2)'
    )
    code, err = run(job, program(SURVIVE.format(before=before, after="pass")))
    expect_named(job, 0, (1, 2), limit)
    assert code == 128 + signal.SIGKILL
    assert f"root cause: rank 0 on {HOST}" in err.splitlines()[-1]


@promises(
    3,
    "every other rank raises `PeerFailedError` that names it, and so does the last line of "
    "`ostria launch`; when it goes on, it is refused as stale",
    bound="`dead` + 2 s",
)
def test_a_stopped_rank(job: Launcher, limit: float) -> None:
    before = (
        "if rank == 1:\n"
        '            write("fails.json", pid=os.getpid())\n'
        "            os.kill(os.getpid(), signal.SIGSTOP)"
    )
    after = 'exists("rank-1.json")  # the store is there until rank 1 has asked it'
    body = program(SURVIVE.format(before=before, after=after), options="timeout=60")
    process = start(job, body, OSTRIA_TIMER_NO_PROGRESS="60s")
    paths = [job.folder / f"rank-{rank}.json" for rank in (0, 2)]
    assert until(lambda: all(p.exists() for p in paths), 25)
    os.kill(told(job, "fails.json")["pid"], signal.SIGCONT)
    code, _, err = job.end(process)
    expect_named(job, 1, (0, 2), limit)
    for path in paths:
        assert "no heartbeat for 2 s" in json.loads(path.read_text())["text"]
    assert "stale" in told(job, 1)["text"], told(job, 1)
    assert code != 0
    assert "root cause, as rank " in err.splitlines()[-1], err
    assert f" says of strategy.run of step: rank 1 ({HOST}, pid " in err.splitlines()[-1], err


@promises(
    4,
    "every other rank raises `PeerFailedError` that names who did not enter which operation; "
    "with `OSTRIA_RECORD_DIR`, `ostria explain-hang` names that rank too",
    bound="`no progress` + 2 s",
)
def test_a_hang_with_a_live_heartbeat(job: Launcher, limit: float) -> None:
    before = (
        "if rank == 2:\n"
        '            write("fails.json")\n'
        '            exists("records/rank-2.json", 60)\n'
        "            signal.signal(signal.SIGTERM, signal.SIG_DFL)\n"
        "            time.sleep(60)"
    )
    records = job.folder / "records"
    code, err = run(
        job,
        program(SURVIVE.format(before=before, after="pass")),
        OSTRIA_RECORD_DIR=str(records),
    )
    expect_named(job, 2, (0, 1), limit)
    for rank in (0, 1):
        assert "did not enter operation #" in told(job, rank)["text"]
    assert code != 0
    assert f" says of strategy.run of step: rank 2 ({HOST}, pid " in err.splitlines()[-1], err
    assert (records / "rank-2.json").exists(), "who hangs leaves its record too"
    text = io.StringIO()
    explain_hang(str(records), as_json=False, out=text)
    assert "rank 2" in text.getvalue(), text.getvalue()
    number = told(job, 0)["text"].partition("did not enter operation ")[2].split()[0]
    assert f"did not enter collective {number} " in text.getvalue(), (number, text.getvalue())
