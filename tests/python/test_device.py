# SPDX-License-Identifier: Apache-2.0
"""Tensors, ops and compiled steps on a GPU: here on the driver that runs kernels on the host."""

from __future__ import annotations

import importlib.util
import os
import pathlib
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).parents[2]
BEGIN = """
import numpy as np
import ostria as ost
from ostria import _native
x = np.arange(6, dtype=np.float32).reshape(2, 3)
"""


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    fakes = sorted(ROOT.glob("build/*/fake_cuda/libcuda.so.1"))
    in_place = (ROOT / "python" / "ostria" / "libostria_cuda.so").exists()
    if not fakes or not (in_place or importlib.util.find_spec("ostria_cuda")):
        pytest.skip("no fake driver or no CUDA backend was built")
    cache = tmp_path_factory.mktemp("cache")
    folder = str(fakes[0].parent)
    env = {**os.environ, "OSTRIA_CUDA_LIBRARIES": folder, "OSTRIA_CACHE_DIR": str(cache)}

    def execute(program: str, **more: str) -> str:
        done = subprocess.run(
            [sys.executable, "-c", BEGIN + program],
            env={**env, **more},
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    return execute


def test_tensors_go_there_and_back(run):
    run("""
assert _native.devices() == ["cpu", "cuda:0", "cuda:1"]
t = _native.to_device(ost.asarray(x), "cuda:1")
assert t.device == "cuda:1" and _native.to_device(t, "cuda:1").device == "cuda:1"
np.testing.assert_array_equal(t.numpy(), x)
back = _native.to_device(t, "cpu")
assert back.device == "cpu"
np.testing.assert_array_equal(back.numpy(), x)
assert t.__dlpack_device__() == (2, 1)
try:
    np.from_dlpack(t)
    raise SystemExit("no error")
except (BufferError, RuntimeError) as error:
    pass
""")


def test_ops_run_where_their_tensors_are(run):
    run("""
t = _native.to_device(ost.asarray(x), "cuda")
y = ost.transpose(t)
assert y.device == "cuda:0"
np.testing.assert_array_equal(y.numpy(), x.T)
assert y[2, 1].item() == 5.0
try:
    t + ost.asarray(x)
    raise SystemExit("no error")
except ValueError as error:
    assert "cuda:0 and on cpu" in str(error), error
    assert "ost.to_device" in str(error), error
""")


def test_the_default_device_is_that_of_the_environment(run):
    program = """
assert _native.get_default_device() == DEVICE
assert ost.transpose(ost.asarray(x)).device == DEVICE
assert ost.Variable(x, name="w").device == DEVICE
_native.set_default_device("cpu")
assert ost.transpose(ost.asarray(x)).device == "cpu"
"""
    run(program.replace("DEVICE", "'cuda:1'"), OSTRIA_DEVICE="cuda:1")
    run(program.replace("DEVICE", "'cpu'"))


def test_a_compiled_step_moves_its_variables(run):
    run("""
w = ost.Variable(x, name="w")

@ost.compile(device="cuda")
def step(y):
    w.assign(ost.transpose(ost.transpose(w) * 2.0) + y)
    return ost.sum(w), w.value()

want = x
for i in range(6):
    total, value = step(x)
    want = want * 2 + x
    assert total.device == value.device == w.device == "cuda:0"
    assert total.item() == want.sum()
    np.testing.assert_array_equal(value.numpy(), want)
np.testing.assert_array_equal(w.numpy(), want)
np.testing.assert_array_equal(w.value().numpy(), want)
w.move_to("cpu")
assert w.device == "cpu" and w.view().device == "cpu"
np.testing.assert_array_equal(w.numpy(), want)
step(x)
assert w.device == "cuda:0"
""")


def test_a_bad_index_is_an_error_when_the_result_is_read(run):
    run("""
@ost.compile(device="cuda")
def pick(table, rows):
    return ost.gather(table, rows)

for rows in ([0, 1], [1, 0], [1, 1]):
    np.testing.assert_array_equal(pick(x, np.array(rows)).numpy(), x[rows])
bad = pick(x, np.array([0, 7]))
try:
    bad.numpy()
    raise SystemExit("no error")
except IndexError as error:
    assert "gather: index 7" in str(error) and "valid are -2..1" in str(error), error
    assert "<string>:9" in str(error), error
np.testing.assert_array_equal(pick(x, np.array([1, 0])).numpy(), x[[1, 0]])
""")


def test_a_plan_counts_the_launches_of_a_run(run):
    run("""
import ctypes, os
from ostria import nn
fake = ctypes.CDLL(os.environ["OSTRIA_CUDA_LIBRARIES"] + "/libcuda.so.1")
fake.fake_cuda_count.restype = ctypes.c_int64

for optimizer in (ost.optim.Adam(0.1), ost.optim.AdamW(0.1), ost.optim.Lamb(0.1)):
    model = nn.Sequential([nn.Dense(4, activation="tanh"), nn.LayerNormalization(), nn.Dense(2)])

    def step(x):
        loss = ost.mean(model(x) ** 2)
        optimizer.minimize(loss, model.trainable_variables)
        return loss

    step = ost.compile(step, device="cuda")
    plan = step.plan_for("cuda", x)
    assert step.plan_for(plan.description, x) == plan
    before = fake.fake_cuda_count(b"cuLaunchKernel")
    step(x)
    launched = fake.fake_cuda_count(b"cuLaunchKernel") - before
    calls = sum(n for name, n in plan.kernels.items() if name.startswith("cublaslt"))
    assert launched == plan.launches - calls, (launched, str(plan))
""")


def test_what_a_device_cannot_be(run):
    run("""
for name, text in (("cuda:7", "there are 2"), ("gpu", "names no device"), ("null", "no tensors")):
    try:
        _native.to_device(ost.asarray(x), name)
        raise SystemExit("no error")
    except (RuntimeError, ValueError) as error:
        assert text in str(error), error
""")
