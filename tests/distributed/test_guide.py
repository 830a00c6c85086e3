# SPDX-License-Identifier: Apache-2.0
"""Every command of docs/distributed.md is run as it stands there, with the page's own scripts.

Names of hosts become addresses of the loopback, and the port a free one. What stands below a line
`# on host-N` runs at the same time as what stands below the others.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from launching import free_port
from test_real_launchers import clean_environ, needed, slurm  # noqa: F401

from ostria._native import dist

GUIDE = Path(__file__).resolve().parents[2] / "docs/distributed.md"
TEXT = GUIDE.read_text()
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.M | re.S)
PORT = "29400"
EPOCHS = [f"epoch {n}: loss " for n in range(5)]


def blocks(language: str) -> dict[str, str]:
    """Code of the page by the title above it."""
    found: dict[str, str] = {}
    for match in BLOCK.finditer(TEXT):
        if match[1] == language:
            title = re.findall(r"^#+ (.*)$", TEXT[: match.start()], re.M)[-1]
            assert title not in found, f"two commands below '{title}'"
            found[title] = match[2]
    return found


COMMANDS = blocks("sh")
SECRET = COMMANDS.pop("The secret")
# What trains by a Trainer, with what rank 0 says at the end.
RECOVERY = {
    "After a failure": "step 40 on 2 rank(s)",
    "With fewer processes, or more": "step 40 on 2 rank(s) step 80 on 3 rank(s)",
    "When it is told to stop": "step 40 on 2 rank(s)",
}
RESUMED = {title: COMMANDS.pop(title) for title in RECOVERY}
# A whole file is one whose first line names it.
FILES = {
    code.split(None, 2)[1]: code for code in blocks("python").values() if code.startswith("# ")
}


def hosts_of(command: str) -> list[str]:
    """What runs at the same time."""
    parts = re.split(r"^# on host-\d+\n", command, flags=re.M)
    return [part for part in parts if part.strip()]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    assert sorted(FILES) == ["resume.py", "train.py"]
    for name, code in FILES.items():
        (tmp_path / name).write_text(code)
    programs = tmp_path / "bin"
    programs.mkdir()
    for name, words in (("python", ""), ("ostria", " -m ostria")):
        (programs / name).write_text(f'#!/bin/sh\nexec {sys.executable}{words} "$@"\n')
        (programs / name).chmod(0o755)
    return tmp_path


def run(folder: Path, command: str, **environ: str) -> str:
    """What the commands print; fails where one of them does."""
    port = str(free_port())
    environ = clean_environ(
        PATH=f"{folder / 'bin'}:{os.environ['PATH']}",
        OMP_WAIT_POLICY="passive",
        **environ,
    )
    subprocess.run(["bash", "-ec", SECRET], cwd=folder, env=environ, check=True)
    export = SECRET.splitlines()[-1]
    processes = []
    for part in hosts_of(command):
        part = part.replace("host-0", "127.0.0.1").replace("host-1", "127.0.0.2")
        processes.append(
            subprocess.Popen(
                ["bash", "-ec", f"{export}\n{part.replace(PORT, port)}"],
                cwd=folder,
                env=environ,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                start_new_session=True,
            )
        )
    try:
        ends = [process.communicate(timeout=60) for process in processes]
    finally:
        for process in processes:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
    assert [process.returncode for process in processes] == [0] * len(processes), ends
    return "".join(out for out, _ in ends)


def expect_training(out: str, ranks: int) -> None:
    lines = [line.removeprefix("[rank 0] ") for line in out.splitlines()]
    assert len(lines) == len(EPOCHS), f"rank 0 alone prints: {lines}"
    for line, epoch in zip(lines, EPOCHS, strict=True):
        assert line.startswith(epoch) and line.endswith(f" on {ranks} rank(s)"), out
    losses = [float(line.split()[3]) for line in lines]
    assert losses[-1] < losses[0] / 10, losses


def test_every_way_to_start_is_tried() -> None:
    assert list(COMMANDS) == [
        "One host",
        "Several hosts, `ostria launch` on each",
        "TF_CONFIG",
        "Variables as torchrun sets them",
        "Slurm",
        "Open MPI",
    ]


@pytest.mark.parametrize("title", list(COMMANDS)[:4])
def test_commands_that_need_nothing(folder: Path, title: str) -> None:
    expect_training(run(folder, COMMANDS[title]), ranks=2)


@pytest.mark.parametrize("title", list(RECOVERY))
def test_commands_of_recovery(folder: Path, title: str) -> None:
    lines = run(folder, RESUMED[title]).splitlines()
    assert " ".join(line.removeprefix("[rank 0] ") for line in lines) == RECOVERY[title]


def test_slurm(folder: Path, slurm) -> None:  # noqa: F811
    out = run(folder, COMMANDS["Slurm"], SLURM_CONF=str(slurm.conf))
    expect_training(out, ranks=2)


def test_open_mpi(folder: Path) -> None:
    needed("mpirun")
    allowed = {"OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1"}
    out = run(folder, COMMANDS["Open MPI"], OMPI_MCA_rmaps_base_oversubscribe="1", **allowed)
    expect_training(out, ranks=2)


def test_the_script_runs_alone(folder: Path) -> None:
    expect_training(run(folder, "python train.py"), ranks=1)


def test_timers_are_those_of_the_page() -> None:
    said = re.findall(r"^\| ([\w ]+) \| (\S+ s) \| `(OSTRIA_TIMER_\w+)` \|", TEXT, re.M)
    assert ", ".join(f"{name} {value}" for name, value, _ in said) == str(dist.Timers({}))
    for name, _, variable in said:
        assert variable == "OSTRIA_TIMER_" + name.upper().replace(" ", "_")
