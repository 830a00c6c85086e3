# SPDX-License-Identifier: Apache-2.0
"""Training programs that go wrong in one way each, and what their ranks told of it.

A rank that meets an error writes `rank-R.json`; one that is about to fail writes when.
"""

from __future__ import annotations

import json
import textwrap
from typing import Any

from launching import HOST, Launcher
from promises import VARIABLES

HEAD = """
import json, threading
import numpy as np
import ostria as ost

def write(name, **fields):
    with open(name + ".part", "w") as file:
        json.dump(dict(fields, at=time.time()), file)
    os.replace(name + ".part", name)

def tell(**fields):
    write(f"rank-{rank}.json", **fields)

def tell_error(error):
    peer = isinstance(error, ost.PeerFailedError)
    tell(kind=type(error).__name__, text=str(error), rank=error.rank if peer else None,
         host=error.host if peer else None, operation=error.operation if peer else None)

def exists(name, patience=20.0):
    end = time.monotonic() + patience
    while not os.path.exists(name) and time.monotonic() < end:
        time.sleep(0.01)
    return os.path.exists(name)
"""
# Survivors have time to tell: the launcher's SIGTERM, half a second after a failure, ends none.
SURVIVES = "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
STRATEGY = "strategy = ost.distribute.MultiWorkerMirroredStrategy({options})\n"
STEPS = """
w = ost.Variable(np.zeros((64, 64), np.float32), name="w")
optimizer = ost.optim.SGD(1e-6)

def step(x):
    loss = ost.mean((x @ w - x) ** 2) / strategy.num_replicas_in_sync
    optimizer.minimize(loss, [w])
    return loss

x = np.ones((64, 64), np.float32)

def work():
    return strategy.run(step, (x,))

for warm_up in range(3):
    work()
time.sleep(0.3)  # heartbeats tell what was done
"""


def program(body: str, *, options: str = "", steps: str = STEPS) -> str:
    return HEAD + STRATEGY.format(options=options) + SURVIVES + steps + textwrap.dedent(body)


def start(job: Launcher, body: str, *words: str, nproc: int = 3, **environ: str) -> Any:
    return job.start("--nproc", str(nproc), *words, job.script(body), **{**VARIABLES, **environ})


def run(job: Launcher, body: str, *words: str, nproc: int = 3, **environ: str) -> tuple[int, str]:
    """Exit status and stderr."""
    code, _, err = job.end(start(job, body, *words, nproc=nproc, **environ))
    return code, err


def told(job: Launcher, name: str | int) -> dict[str, Any]:
    path = job.folder / (f"rank-{name}.json" if isinstance(name, int) else name)
    assert path.exists(), f"{path.name} was not written"
    return json.loads(path.read_text())


def expect_named(job: Launcher, failed: int, survivors: tuple[int, ...], limit: float) -> None:
    """Every survivor raised PeerFailedError with rank, host and operation, in time."""
    begin = told(job, "fails.json")["at"]
    for rank in survivors:
        error = told(job, rank)
        assert error["kind"] == "PeerFailedError", error
        assert (error["rank"], error["host"]) == (failed, HOST), error
        assert f"rank {failed} ({HOST}, pid " in error["text"], error
        assert "strategy.run of step" in error["text"], error
        assert error["operation"].startswith("#"), error
        assert error["at"] - begin < limit, error
