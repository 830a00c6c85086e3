# SPDX-License-Identifier: Apache-2.0
"""Runs `ostria launch` with small scripts, for tests."""

from __future__ import annotations

import json
import os
import random
import re
import socket
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable
from pathlib import Path

import ostria

PACKAGE = str(Path(ostria.__file__).parents[1])
HOST = socket.gethostname()
LINE = re.compile(r"\[rank (\d+)\] (.*)")
# What a machine that is busy with other tests may take on top.
SLACK = 5.0
MARK = "LAUNCH_TEST_MARK"
HEAD = "import os, signal, sys, time\nrank = int(os.environ['OSTRIA_RANK'])\n"
WAIT = "time.sleep(60)\n"


def gone(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")")[1].split()[0] in "ZX"
    except OSError:
        return True


def until(what: Callable[[], bool], patience: float = SLACK) -> bool:
    end = time.monotonic() + patience
    while not what():
        if time.monotonic() > end:
            return False
        time.sleep(0.01)
    return True


def free_port(host: str = "127.0.0.1") -> int:
    """To listen at later; none that others get meanwhile who ask the system for any port."""
    given = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    while True:
        port = random.SystemRandom().randrange(2048, max(given, 4096))
        try:
            family = socket.AF_INET6 if ":" in host else socket.AF_INET
            socket.create_server((host, port), family=family).close()
        except OSError:
            continue
        return port


class Launcher:
    """Runs jobs below a folder, and knows the processes that belong to them."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.mark = folder, uuid.uuid4().hex
        self.environ = {
            k: v for k, v in os.environ.items() if not k.startswith(("OSTRIA_", "PET_", "SLURM_"))
        }
        self.environ |= {MARK: self.mark, "PYTHONPATH": PACKAGE}

    def script(self, body: str, name: str = "train.py") -> str:
        path = self.folder / name
        path.write_text(HEAD + body)
        return str(path)

    def start(self, *words: str, **environ: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", "ostria", "launch", *words],
            env={**self.environ, **environ},
            cwd=self.folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, *words: str, **environ: str) -> tuple[int, str, str]:
        return self.end(self.start(*words, **environ))

    def end(self, process: subprocess.Popen[str]) -> tuple[int, str, str]:
        try:
            out, err = process.communicate(timeout=60)
        finally:
            process.kill()
        assert not re.search(r"^Traceback", err, re.M), err
        return process.returncode, out, err

    def by_tf_config(
        self, script: str, kinds: list[str], **environ: str
    ) -> list[subprocess.Popen[str]]:
        """Processes of "chief", "worker" and "evaluator", told apart by TF_CONFIG alone."""
        secret = self.folder / "secret"
        secret.write_text("00112233445566778899aabbccddeeff" * 2)
        secret.chmod(0o600)
        cluster = {"chief": [f"127.0.0.1:{free_port()}"], "worker": ["127.0.0.1:1"]}
        processes = []
        for kind in kinds:
            config = json.dumps({"cluster": cluster, "task": {"type": kind, "index": 0}})
            own = {"TF_CONFIG": config, "OSTRIA_SECRET_FILE": str(secret), **environ}
            processes.append(
                subprocess.Popen(
                    [sys.executable, script],
                    env={**self.environ, **own},
                    cwd=self.folder,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.PIPE,
                    text=True,
                )
            )
        return processes

    def pids(self) -> list[int]:
        """Of everything that inherited this job's environment, launcher and guard included."""
        found = []
        for folder in Path("/proc").iterdir():
            try:
                mine = folder.name.isdigit() and self.mark in (folder / "environ").read_text()
            except OSError:
                continue
            if mine and not gone(int(folder.name)):
                found.append(int(folder.name))
        return found


def elsewhere(job: Launcher, name: str) -> Launcher:
    """The same launcher in a folder of its own."""
    other = Launcher(job.folder / name)
    other.folder.mkdir()
    other.mark, other.environ = job.mark, job.environ
    return other


def wait_for(words: str, process: subprocess.Popen[str], patience: float = 30.0) -> str:
    """What `process` says on stderr until `words` are there; fails where they do not come."""
    assert process.stderr is not None
    late = threading.Timer(patience, process.kill)  # which ends the line that is waited for
    late.start()
    said = ""
    try:
        while words not in said:
            line = process.stderr.readline()
            assert line, f"it ended, or took {patience} s, without {words!r}: {said}"
            said += line
    finally:
        late.cancel()
    return said


def lines_of(text: str) -> dict[int, list[str]]:
    found: dict[int, list[str]] = {}
    for line in text.splitlines():
        match = LINE.fullmatch(line)
        assert match, f"not the line of a rank: {line!r}"
        found.setdefault(int(match[1]), []).append(match[2])
    return found
