# SPDX-License-Identifier: Apache-2.0
"""A run that is killed twenty times, also while it saves, ends as one that is left alone."""

import os
import random
import signal
import subprocess
import sys
import threading
import time

import pytest

pytest.importorskip("ostria._native")
from resume_worker import STEPS

import ostria as ost

WORKER = os.path.join(os.path.dirname(__file__), "resume_worker.py")
KILLS = 20


def start(folder):
    # One thread and no spinning: twenty starts on a busy machine ought not to take minutes.
    env = {**os.environ, "OSTRIA_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        [sys.executable, WORKER, str(folder)],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=env,
    )  # fmt: skip


def finish(folder):
    out, err = start(folder).communicate(timeout=300)
    assert out.rstrip().endswith("done"), err


def content(folder):
    found = ost.io.load_latest_checkpoint(folder)
    tensors = {name: (a.dtype.str, a.shape, a.tobytes()) for name, a in found.tensors.items()}
    return found.step, tensors, found.blobs, found.metadata


def kill(folder, saves, delay):
    """Kills a run `delay` seconds after it begins its `saves`-th checkpoint; False: it was over."""
    process = start(folder)
    errors = []
    reader = threading.Thread(target=lambda: errors.append(process.stderr.read()), daemon=True)
    reader.start()
    begun = 0
    try:
        for line in process.stdout:
            begun += line.startswith("saving")
            if begun == saves:
                time.sleep(delay)
                break
        process.send_signal(signal.SIGKILL)
    finally:
        process.kill()
        code = process.wait()
        reader.join()
        process.stdout.close()
        process.stderr.close()
    assert code in (0, -signal.SIGKILL), errors[0]  # a failure of its own would have another code
    return code == -signal.SIGKILL


@pytest.mark.slow
def test_twenty_kills_change_nothing(tmp_path):
    finish(tmp_path / "whole")
    rng = random.Random(11)
    kills, unfinished = 0, 0
    for i in range(KILLS):
        # Every other kill falls into the first milliseconds of a save, the others anywhere.
        delay = rng.uniform(0, 0.004) if i % 2 else rng.uniform(0, 0.06)
        kills += kill(tmp_path / "killed", saves=rng.randint(2, 4), delay=delay)
        unfinished += any(name.startswith(".tmp-") for name in os.listdir(tmp_path / "killed"))
    assert kills == KILLS, "the run was over before the last kill: make it longer"
    assert unfinished, "no kill fell into a save"
    finish(tmp_path / "killed")
    assert content(tmp_path / "killed") == content(tmp_path / "whole")
    assert content(tmp_path / "whole")[0] == STEPS


@pytest.mark.slow
def test_sigint_ends_cleanly_and_resumes(tmp_path):
    finish(tmp_path / "whole")
    process = start(tmp_path / "stopped")
    for line in process.stdout:
        if line == "saving 21\n":
            process.send_signal(signal.SIGINT)
            break
    _, err = process.communicate(timeout=120)
    assert "TrainingInterrupted: training was stopped by SIGINT after step" in err
    step = ost.io.load_latest_checkpoint(tmp_path / "stopped").step
    assert 21 <= step < STEPS
    finish(tmp_path / "stopped")
    assert content(tmp_path / "stopped") == content(tmp_path / "whole")
