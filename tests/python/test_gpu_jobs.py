# SPDX-License-Identifier: Apache-2.0
"""What `make gpu-check` and `make gpu-pack` hold to where things go wrong, without a GPU."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from benchmarks.gpu import jobs, op_tests, pack
from benchmarks.gpu.jobs import Findings, Job
from benchmarks.gpu.record import Record

VERSION = f"{sys.version_info.major}.{sys.version_info.minor}"


@pytest.fixture
def record(tmp_path: Path) -> Record:
    return Record(tmp_path / "record.json", "check", "none")


def _script(text: str, findings: Findings, name: str, seconds: float = 30.0) -> Job:
    def after(outcome: jobs.Outcome) -> list[Job]:
        findings.add(name, outcome.trouble)
        return []

    return Job(name, [sys.executable, "-c", text], seconds, after)


def test_what_crashes_or_hangs_takes_nothing_with_it(record: Record) -> None:
    found, late = Findings(record, "some"), Findings(record, "not run")
    scripts = {
        "good": "pass",
        "dies": "import os, sys; print('last words', flush=True); os.abort()",
        "hangs": "import time; time.sleep(60)",
        "raises": "raise ValueError('said why')",
    }
    made = [_script(text, found, name, 3.0) for name, text in scripts.items()]
    jobs.run_all(made, 2, time.monotonic() + 60, late)
    on_disk = json.loads(record.path.read_text())["results"]["some"]
    assert on_disk["passed"] == 1
    assert set(on_disk["failed"]) == {"dies", "hangs", "raises"}
    assert "SIGABRT\nlast words" in on_disk["failed"]["dies"]
    assert on_disk["failed"]["hangs"].startswith("was stopped after 3 s")
    assert "ValueError: said why" in on_disk["failed"]["raises"]
    assert not late.failed


def test_what_does_not_begin_in_time_is_told(record: Record) -> None:
    found, late = Findings(record, "some"), Findings(record, "not run")
    made = [_script("import time; time.sleep(1.5)", found, str(i)) for i in range(3)]
    jobs.run_all(made, 1, time.monotonic() + 1, late)
    assert found.passed == 1
    assert set(late.failed) == {"1", "2"}


def test_ops_go_on_after_a_test_that_kills_its_process(
    record: Record, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    (tmp_path / "test_some.py").write_text(
        "import os, pytest\n"
        "def test_a(): pass\n"
        "def test_b(): os.kill(os.getpid(), 9)\n"
        "def test_c(): assert 1 == 2, 'not so'\n"
        f"def test_d(): raise RuntimeError({op_tests.ENDS_CUDA!r})\n"
        "def test_e(): pytest.skip('no need')\n"
        "def test_f(): pass\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(jobs.ROOT))
    monkeypatch.setattr(jobs, "ROOT", tmp_path)
    found, late = Findings(record, "ops"), Findings(record, "not run")
    ids = [f"test_some.py::test_{c}" for c in "abcdef"]
    jobs.run_all(list(op_tests.jobs(found, ids)), 1, time.monotonic() + 60, late)
    assert (found.passed, found.skipped) == (2, 1)
    failed = {name[-1]: text for name, text in found.failed.items()}
    assert set(failed) == {"b", "c", "d"}
    assert failed["b"].startswith("the process died of SIGKILL")
    assert "not so" in failed["c"]
    assert op_tests.ENDS_CUDA in failed["d"]


def test_an_archive_runs_from_an_empty_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage, output = tmp_path / "build/stage", tmp_path / "there/some.pyz"
    (stage / "python").mkdir(parents=True)
    (stage / "python/carried.py").write_text("print('carried', __file__)\n")
    pack.pack(stage, VERSION, output)
    monkeypatch.setenv("OSTRIA_GPU_FOLDER", str(tmp_path / "unpacked"))
    command = [sys.executable, output, "python", "-m", "carried"]
    for _ in range(2):
        done = subprocess.run(command, capture_output=True, text=True, cwd=output.parent)
        assert done.stdout == f"carried {tmp_path / 'unpacked/python/carried.py'}\n", done.stderr


def test_an_archive_for_another_python_says_so(tmp_path: Path) -> None:
    stage, output = tmp_path / "build/stage", tmp_path / "some.pyz"
    stage.mkdir(parents=True)
    pack.pack(stage, "2.7", output)
    done = subprocess.run([sys.executable, output, "check"], capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr == (
        f"some.pyz was built for Python 2.7, and this is {VERSION}; run it with python2.7, "
        f"or pack it with --python of a Python {VERSION}\n"
    )
