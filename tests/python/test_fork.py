# SPDX-License-Identifier: Apache-2.0
"""A child of fork() gets an error, not a hang: the threads are the parent's."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

PROGRAM = """
import os, signal
import numpy as np
import ostria as ost
a = ost.asarray(np.ones((512, 512), np.float32))
work = {work}
work()
child = os.fork()
if child == 0:
    signal.alarm(20)
    try:
        work()
    except NotImplementedError as error:
        os._exit(0 if "spawn" in str(error) else 3)
    os._exit(4)
_, status = os.waitpid(child, 0)
print(os.waitstatus_to_exitcode(status))
"""


STRATEGY = "ost.distribute.MirroredStrategy(['cpu:0', 'cpu:1'])"


@pytest.mark.parametrize(
    "work",
    [
        "lambda: a @ a",
        "lambda: ost.exp(a)",
        f"(lambda s: lambda: s.run(ost.exp, (np.float32(1),)))({STRATEGY})",
    ],
)
def test_work_on_several_threads_in_a_child_says_spawn(work: str) -> None:
    program = PROGRAM.format(work=work)
    environment = {"OSTRIA_NUM_THREADS": "2", "OMP_WAIT_POLICY": "passive"}
    run = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert run.stdout.strip() == "0", run.stdout + run.stderr
