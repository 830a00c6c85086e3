# SPDX-License-Identifier: Apache-2.0
"""`ostria doctor`: what it says of installations that work, lack things or are broken."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import fake_gpu
import pytest

import ostria as ost
from ostria.cli import gpu
from ostria.cli.facts import SETTINGS

PACKAGE = Path(ost.__file__).parent
COMPILER = shutil.which("cc") or shutil.which("gcc")


def ask(*words: str, path: Path = PACKAGE.parent, **env: str) -> tuple[int, str]:
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("OSTRIA_", "CUDA_", "FAKE_"))}
    done = subprocess.run(
        [sys.executable, "-m", "ostria", "doctor", *words],
        env={**clean, "PYTHONPATH": str(path), **env},
        capture_output=True,
        text=True,
        timeout=180,
    )
    assert "Traceback" not in done.stderr, done.stderr
    return done.returncode, done.stdout


def facts(**env) -> tuple[int, dict]:
    status, text = ask("--json", **env)
    return status, json.loads(text)


def part(found: dict, title: str) -> dict:
    return next(p for p in found["gpu"]["parts"] if title in p["title"])


def compiled(folder: Path, name: str, code: str) -> str:
    """Makes a library of C code; returns its folder."""
    if COMPILER is None:
        pytest.skip("no C compiler")
    (folder / "code.c").write_text(code)
    subprocess.run(
        [COMPILER, "-shared", "-fPIC", "-o", folder / name, folder / "code.c"], check=True
    )
    return str(folder)


def without_cuda(folder: Path) -> Path:
    """The package as the wheel `ostria` alone installs it."""
    to = folder / "site-packages" / "ostria"
    left_out = shutil.ignore_patterns("libostria_cuda.so", "__pycache__")
    shutil.copytree(PACKAGE, to, ignore=left_out)
    return to.parent


def test_a_cpu_alone_is_fine(tmp_path):
    status, text = ask(path=without_cuda(tmp_path), HOME=str(tmp_path))
    assert status == 0, text
    assert f"Ostria {ost.__version__} in {tmp_path}" in text
    assert "-- libostria_cuda: device 'cuda' needs libostria_cuda.so" in text
    assert "Tried:" in text and "site-packages/ostria/libostria_cuda.so: " in text
    assert "ok threads: " in text and "ok oneDNN: " in text and "ok instructions: " in text
    assert f"{tmp_path}/.cache/ostria" in text and "can be written" in text
    install = f"pip install 'ostria-cuda[libraries]=={ost.__version__}'"
    assert f"Verdict: the CPU works; for a GPU, `{install}`." in text


def test_a_working_gpu(tmp_path):
    status, found = facts(
        OSTRIA_CUDA_LIBRARIES=fake_gpu.folder(), OSTRIA_CACHE_DIR=str(tmp_path), OSTRIA_TF32="1"
    )
    (tmp_path / "x.bin").write_bytes(b"1" * 1000)
    assert status == 0 and found["problems"] == []
    assert found["ostria"]["build_id"] == found["gpu"]["library"]["build_id"] != ""
    driver = part(found, "driver")
    assert driver["state"] == "works" and driver["needed"] == "13.0 or later"
    assert driver["found"] == "13.0" and driver["path"].endswith("libcuda.so.1")
    cudnn = part(found, "cuDNN")
    assert cudnn["needed"] == "9.11.0 or later within 9.x" and cudnn["found"] == "9.99.99"
    assert "compute capability 9.0, 8.00 GiB, 4 multiprocessors" in part(found, "cuda:1")["text"]
    assert found["settings"]["OSTRIA_TF32"] == "1"
    assert found["cache"]["folder"] == str(tmp_path) and found["cache"]["writable"]
    status, text = ask(OSTRIA_CUDA_LIBRARIES=fake_gpu.folder(), OSTRIA_CACHE_DIR=str(tmp_path))
    assert status == 0 and "the CPU and 2 GPUs work; device='cuda' runs on Fake H100" in text
    assert "1 files, 0.0 MiB, can be written" in text and "the same" in text
    assert "13.0 in " in text and "needed is 13.0 or later" in text


def test_no_driver_is_no_fault(tmp_path):
    if Path("/proc/driver/nvidia/version").exists():
        pytest.skip("there is a driver")
    fake_gpu.folder()
    status, found = facts(OSTRIA_CUDA_LIBRARIES="/nowhere")
    assert status == 0 and part(found, "driver")["state"] == "missing"
    assert "libcuda.so.1) was not found" in part(found, "driver")["text"]
    assert "/nowhere/libcuda.so.1: " in part(found, "driver")["text"]
    assert "there is no NVIDIA driver, which a GPU needs (13.0 or later)" in found["verdict"]
    status, found = facts(OSTRIA_CUDA_LIBRARIES="/nowhere", OSTRIA_DEVICE="cuda")
    assert status == 1 and "OSTRIA_DEVICE is 'cuda'" in found["problems"][0]


def test_an_old_driver_says_found_and_needed():
    status, found = facts(OSTRIA_CUDA_LIBRARIES=fake_gpu.folder(), FAKE_CUDA_VERSION="12040")
    assert status == 1 and len(found["problems"]) == 1
    for text in ("libcuda.so.1 is the NVIDIA driver", " 12.4,", "needs 13.0", "update NVIDIA's"):
        assert text in found["problems"][0]
    assert part(found, "driver")["found"] == "12.4"
    assert "the CPU works; one thing is wrong" in found["verdict"]


def test_a_driver_that_lacks_a_function(tmp_path):
    fake_gpu.folder()
    code = "int cuDriverGetVersion(int* v) { *v = 13000; return 0; }"
    status, found = facts(OSTRIA_CUDA_LIBRARIES=compiled(tmp_path, "libcuda.so.1", code))
    assert status == 1
    assert "has no function cuInit" in found["problems"][0]
    assert part(found, "driver")["path"] == f"{tmp_path}/libcuda.so.1"


def test_a_wrong_version_of_cudnn(tmp_path):
    for fake in Path(fake_gpu.folder()).glob("lib*.so*"):
        if "cudnn" not in fake.name:
            (tmp_path / fake.name).symlink_to(fake)
    code = "unsigned long cudnnGetVersion(void) { return 91000; }"
    status, found = facts(
        OSTRIA_CUDA_LIBRARIES=compiled(tmp_path, "libcudnn.so.9", code),
        CUDA_HOME="/nowhere",
    )
    cudnn = part(found, "cuDNN")
    if cudnn["state"] == "works":  # a newer one of the toolkit was taken instead
        assert status == 0 and cudnn["path"] != f"{tmp_path}/libcudnn.so.9"
        pytest.skip("another cuDNN was found and taken instead")
    assert status == 1 and cudnn["found"] == "9.10.0"
    assert "9.10.0, and this build needs 9.11.0 or later within 9.x" in found["problems"][0]
    assert "`pip install --upgrade nvidia-cudnn-cu13`" in found["problems"][0]


def test_no_gpu_and_gpus_that_are_hidden():
    env = {"OSTRIA_CUDA_LIBRARIES": fake_gpu.folder(), "FAKE_CUDA_DEVICES": "0"}
    status, found = facts(**env)
    assert status == 1 and "the driver sees no GPU" in found["problems"][0]
    status, found = facts(**env, CUDA_VISIBLE_DEVICES="")
    assert status == 0 and found["problems"] == []
    assert "CUDA_VISIBLE_DEVICES hides every GPU" in found["verdict"]
    assert found["settings"]["CUDA_VISIBLE_DEVICES"] == ""


def test_a_backend_of_another_build(tmp_path):
    root = without_cuda(tmp_path)
    code = 'void* ostria_cuda_entry(const char* id, const char** own) { *own = "b2"; return 0; }'
    compiled(root / "ostria", "libostria_cuda.so", code)
    status, text = ask(path=root)
    assert status == 1
    assert "!! libostria_cuda: build b2 in " in text and "ANOTHER BUILD" in text
    assert f"(b2) than libostria.so ({ost._native.build_id()})" in text


def test_settings_that_are_none_and_a_folder_that_cannot_be_written(tmp_path):
    status, found = facts(OSTRIA_THREADS="2")
    assert status == 0 and "OSTRIA_THREADS is no setting of this release" in found["notes"][0]
    status, found = facts(OSTRIA_ISA="mmx")
    assert status == 1 and "OSTRIA_ISA" in found["problems"][0]
    (tmp_path / "file").write_text("")
    status, found = facts(
        OSTRIA_CUDA_LIBRARIES=fake_gpu.folder(), OSTRIA_CACHE_DIR=str(tmp_path / "file" / "cache")
    )
    assert status == 1 and "cannot be written" in found["problems"][0]


def test_it_tells_nobody_the_secret_of_a_job():
    status, found = facts(OSTRIA_SECRET="5e" * 32)
    assert status == 0 and found["settings"]["OSTRIA_SECRET"] == "(hidden)"
    assert "5e5e" not in str(found)


def test_it_knows_the_settings_that_are_documented():
    page = (fake_gpu.ROOT / "docs" / "architecture.md").read_text()
    assert sorted(set(re.findall(r"OSTRIA_[A-Z0-9_]+", page))) == sorted(SETTINGS)


def test_a_driver_that_crashes_or_hangs(tmp_path, monkeypatch):
    fake_gpu.folder()
    crash = "void abort(void); int cuDriverGetVersion(int* v) { abort(); }"
    status, found = facts(OSTRIA_CUDA_LIBRARIES=compiled(tmp_path, "libcuda.so.1", crash))
    assert status == 1 and "ended with SIGABRT" in found["problems"][0]
    hang = "unsigned sleep(unsigned); int cuDriverGetVersion(int* v) { return sleep(300); }"
    monkeypatch.setenv("OSTRIA_CUDA_LIBRARIES", compiled(tmp_path, "libcuda.so.1", hang))
    assert "did not answer within 3 s" in gpu.probe(patience=3)["failure"]
