# SPDX-License-Identifier: Apache-2.0
"""What a user reads where a GPU cannot be had, or has too little memory; and that the process goes
on. On the driver that runs kernels on the host."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
from fake_gpu import run  # noqa: F401

import ostria as ost

# Every way to ask for a device ends in the same sentence and the user's line.
ASK = """
import numpy as np
import ostria as ost
def messages(device):
    @ost.compile(device=device)
    def step(x):
        return x + 1.0
    def inside():
        with ost.device(device):
            pass
    x = np.ones(3, np.float32)
    for call in (
        lambda: ost.asarray(x, device=device),
        lambda: ost.to_device(x, device),
        inside,
        lambda: step(x),
        lambda: ost.set_default_device(device),
        lambda: ost.synchronize(device),
    ):
        try:
            call()
            raise SystemExit("no error")
        except ost.DeviceUnavailableError as error:
            assert "<string>:" in str(error), error
            yield str(error)
def expect(device, *texts):
    for message in messages(device):
        for text in texts:
            assert text in message, (text, message)
    assert (ost.asarray(np.ones(3, np.float32)) + 1.0).device == "cpu", "the CPU goes on"
"""


def test_a_device_that_is_not_there(run):  # noqa: F811
    run(
        ASK + "expect('cuda:1', \"device 'cuda:1' does not exist; there is one, 'cuda:0'\")",
        FAKE_CUDA_DEVICES="1",
    )
    run(ASK + "expect('cuda:2', \"'cuda:2' does not exist; there are 2, numbered from 0\")")


def test_no_gpu_and_hidden_gpus(run):  # noqa: F811
    run(
        ASK + "expect('cuda', 'sees no GPU; CUDA_VISIBLE_DEVICES is not set', '`nvidia-smi`')",
        FAKE_CUDA_DEVICES="0",
    )
    run(
        ASK + "expect('cuda', \"sees no GPU; CUDA_VISIBLE_DEVICES is ''; unset it\")",
        FAKE_CUDA_DEVICES="0",
        CUDA_VISIBLE_DEVICES="",
    )


def test_no_driver_and_an_old_one(run):  # noqa: F811
    if not Path("/proc/driver/nvidia/version").exists():
        run(
            ASK + "expect('cuda', 'libcuda.so.1) was not found; install NVIDIA', 'Tried:')",
            OSTRIA_CUDA_LIBRARIES="/nowhere",
        )
    run(
        ASK + "expect('cuda', 'the NVIDIA driver for CUDA 12.4, and this build needs 13.0')",
        FAKE_CUDA_VERSION="12040",
    )


def test_a_gpu_that_the_kernels_are_not_for(run):  # noqa: F811
    run(
        ASK + "expect('cuda', 'has compute capability 7.5, and the kernels', 'are for 9.0')",
        FAKE_CUDA_CAPABILITY="75",
    )


def test_no_backend_and_one_of_another_build(run, tmp_path):  # noqa: F811
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        pytest.skip("no C compiler")
    package = tmp_path / "ostria"
    ignore = shutil.ignore_patterns("libostria_cuda.so", "__pycache__")
    shutil.copytree(Path(ost.__file__).parent, package, ignore=ignore)
    path = {"PYTHONPATH": str(tmp_path)}
    run(ASK + "expect('cuda', \"needs libostria_cuda.so, which this\", 'ostria-cuda')", **path)
    code = 'void* ostria_cuda_entry(const char* i, const char** own) { *own = "b2"; return 0; }'
    (tmp_path / "code.c").write_text(code)
    command = [compiler, "-shared", "-fPIC", "-o", package / "libostria_cuda.so"]
    subprocess.run([*command, tmp_path / "code.c"], check=True)
    own = ost._native.build_id()
    run(ASK + f"expect('cuda', 'is of another build (b2) than libostria.so ({own})')", **path)


def test_too_little_memory_for_a_plan(run):  # noqa: F811
    run(
        """
import numpy as np
import ostria as ost

@ost.compile(device="cuda", dynamic_batch=True)
def step(x):
    y = ost.cumsum(x, axis=0)
    z = ost.sort(y, axis=0)
    return ost.sum(ost.cumsum(z * y, axis=1))

big, small = np.ones((2000, 2500), np.float32), np.ones((20, 2500), np.float32)
for _ in range(2):
    try:
        step(big)
        raise SystemExit("no error")
    except ost.OutOfMemoryError as error:
        text = str(error)
    for part in ("cuda:0: out of memory", "the plan needs", "Largest values:\\n",
                 "float32[2000,2500]  cumsum [<string>:7]", "sort [<string>:8]"):
        assert part.replace(",", ", ") in text or part in text, text
    assert step(small).item() > 0
    with ost.device("cuda"):
        assert ost.sum(ost.ones((3,))).item() == 3
""",
        FAKE_CUDA_MEMORY=str(48 << 20),
    )


def test_too_little_memory_for_tensors(run):  # noqa: F811
    run(
        """
import numpy as np
import ostria as ost
kept = []
x = np.ones(1 << 21, np.float32)
try:
    for _ in range(20):
        kept.append(ost.to_device(x, "cuda"))
    raise SystemExit("no error")
except ost.OutOfMemoryError as error:
    text = str(error)
for part in ("cuda:0: out of memory: a tensor needs 8.00 MiB", "the largest tensors alive take "
             "8.00 MiB, 8.00 MiB", "use a smaller batch", "[<string>:8]"):
    assert part in text, text
assert len(kept) >= 3
kept.clear()
np.testing.assert_array_equal(ost.to_device(x, "cuda").numpy(), x)
""",
        FAKE_CUDA_MEMORY=str(48 << 20),
    )


def test_too_little_memory_for_results_leaves_the_state(run):  # noqa: F811
    run(
        """
import numpy as np
import ostria as ost
w = ost.Variable(np.zeros(3, np.float32), name="w")

@ost.compile(device="cuda")
def step(x):
    w.assign(w.value() + 1.0)
    return x * 2.0

x = np.ones(1 << 20, np.float32)
step(x), step(x), step(x)
held = []
try:
    for _ in range(40):
        held.append(step(x))
    raise SystemExit("no error")
except ost.OutOfMemoryError:
    pass
count = 3 + len(held)
np.testing.assert_array_equal(w.numpy(), np.full(3, count))
held.clear()
np.testing.assert_array_equal(step(x).numpy(), 2 * x)
np.testing.assert_array_equal(w.numpy(), np.full(3, count + 1))
""",
        FAKE_CUDA_MEMORY=str(64 << 20),
    )
