# SPDX-License-Identifier: Apache-2.0
"""Programs in processes of their own, on the driver that runs kernels on the host."""

from __future__ import annotations

import importlib.util
import os
import pathlib
import subprocess
import sys
from collections.abc import Callable

import pytest

ROOT = pathlib.Path(__file__).parents[2]


def folder() -> str:
    """Where the fake libraries are; skips the test where they or the backend were not built."""
    fakes = sorted(ROOT.glob("build/*/fake_cuda/libcuda.so.1"))
    in_place = (ROOT / "python" / "ostria" / "libostria_cuda.so").exists()
    if not fakes or not (in_place or importlib.util.find_spec("ostria_cuda")):
        pytest.skip("no fake driver or no CUDA backend was built")
    return str(fakes[0].parent)


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Callable[..., str]:
    """Runs a program with these environment variables and returns what it printed."""
    cache = tmp_path_factory.mktemp("cache")
    env = {**os.environ, "OSTRIA_CUDA_LIBRARIES": folder(), "OSTRIA_CACHE_DIR": str(cache)}

    def execute(program: str, **more: str) -> str:
        done = subprocess.run(
            [sys.executable, "-c", program],
            env={**env, **more},
            capture_output=True,
            text=True,
            timeout=180,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    return execute
