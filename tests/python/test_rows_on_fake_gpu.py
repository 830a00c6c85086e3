# SPDX-License-Identifier: Apache-2.0
"""Every row of `tests/ops/rows` on a GPU that the host plays: values and gradients against NumPy.

Kernels of kernels/ run as they are, NVIDIA's libraries by their stand-ins, and generated loops are
interpreted from the program in their text: compiling each would take an hour. That the text
computes its program is checked by tests/unit/backend_cuda (loop_test, loop_ops_test), which compile
it for the host, and by `make gpu-check` on a real GPU.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import pytest
from fake_gpu import ROOT, folder

SHARDS, AT_ONCE = 8, 2  # CI has two cores
# Rows that say what the CPU computes; tests/unit/backend_cuda compares these ops on a GPU.
OTHERWISE = {
    "conv_stats": "cuDNN sums what it has not rounded to 16 bits yet",
    "recurrent_layer": "what cuDNN keeps for the gradient is its own",
    "recurrent_layer_grad": "it reads what cuDNN kept",
}
NAMES = sorted({p.stem for p in (ROOT / "tests/ops/rows").glob("*.py")} - OTHERWISE.keys())
# Ops with implementations by cuDNN behind ours, which nothing else runs.
SECOND = ["batch_norm", "batch_norm_grad", "layer_norm", "layer_norm_grad", "rms_norm"]
SECOND += ["rms_norm_grad", "max_pool1d", "max_pool2d", "max_pool3d", "max_pool_grad"]
SECOND += ["avg_pool1d", "avg_pool2d", "avg_pool3d", "avg_pool_grad"]
Done = subprocess.CompletedProcess[str]


def _run(tests: str, names: list[str], environment: dict[str, str]) -> Done:
    rows = " or ".join(f"[{name}]" for name in names)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--tb=short"]
    command += ["tests/ops/test_ops.py", "-k", f"({tests}) and ({rows})"]
    return subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True)


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Future[Done]]]:
    environment = {
        **os.environ,
        "OSTRIA_DEVICE": "cuda",
        "OSTRIA_TEST_DEVICE": "cuda:0",
        "OSTRIA_CUDA_LIBRARIES": folder(),
        "OSTRIA_CACHE_DIR": str(tmp_path_factory.mktemp("cache")),
        "FAKE_CUDA_INTERPRET": "1",
    }
    with ThreadPoolExecutor(AT_ONCE) as pool:
        asked = [("test_every_implementation", SECOND)]
        for shard in range(SHARDS):
            asked.append(("test_forward or test_gradients", NAMES[shard::SHARDS]))
        yield [pool.submit(_run, tests, names, environment) for tests, names in asked]
        pool.shutdown(cancel_futures=True)


@pytest.mark.parametrize("shard", range(SHARDS))
def test_values_and_gradients(runs: list[Future[Done]], shard: int) -> None:
    done = runs[1 + shard].result()
    assert done.returncode == 0, done.stdout[-8000:] + done.stderr[-2000:]
    assert int(done.stdout.split(" passed")[0].split()[-1]) >= 2 * len(NAMES[shard::SHARDS])


def test_every_implementation_of_what_cudnn_has_too(runs: list[Future[Done]]) -> None:
    done = runs[0].result()
    assert done.returncode == 0, done.stdout[-8000:] + done.stderr[-2000:]
    assert f"{len(SECOND)} passed" in done.stdout
