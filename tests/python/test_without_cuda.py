# SPDX-License-Identifier: Apache-2.0
"""A machine without nvcc skips what needs it, and says so with the reason."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def said(cache: Path) -> tuple[bool, str]:
    done = subprocess.run(
        [ROOT / "cmake/without_cuda.sh", "some tests", cache], capture_output=True, text=True
    )
    return done.returncode == 0, done.stdout


def test_a_build_says_whether_it_has_the_backend(tmp_path: Path) -> None:
    cache = tmp_path / "CMakeCache.txt"
    cache.write_text("OSTRIA_CUDA:INTERNAL=TRUE\nOSTRIA_CUDA_OBSTACLE:INTERNAL=\n")
    assert said(cache) == (False, "")
    cache.write_text("OSTRIA_CUDA:INTERNAL=FALSE\nOSTRIA_CUDA_OBSTACLE:INTERNAL=no nvcc; get it\n")
    assert said(cache) == (True, "SKIP: some tests: no nvcc; get it\n")
    assert said(tmp_path / "missing") == (False, "")


def test_the_build_knows_why(tmp_path: Path) -> None:
    cmake = shutil.which("cmake")
    if cmake is None:
        pytest.skip("no cmake")
    (tmp_path / "CMakeLists.txt").write_text(
        "cmake_minimum_required(VERSION 3.25)\nproject(none NONE)\n"
        f'include("{ROOT}/cmake/Cuda.cmake")\n'
    )
    folder = tmp_path / "toolkit"
    folder.mkdir()
    (folder / "nvcc").write_text("")
    configure = [cmake, "-S", tmp_path, "-B", tmp_path / "build"]
    subprocess.run([*configure, f"-DOSTRIA_NVCC={folder / 'nvcc'}"], check=True)
    found, text = said(tmp_path / "build/CMakeCache.txt")
    assert found and "lacks cuda.h cublasLt.h cudnn.h nvrtc.h nccl.h" in text
