# SPDX-License-Identifier: Apache-2.0
"""Tensors, ops and compiled steps on a GPU: here on the driver that runs kernels on the host."""

from __future__ import annotations

import os
import subprocess
import sys

import fake_gpu
import pytest

BEGIN = """
import numpy as np
import ostria as ost
from ostria import _native
x = np.arange(6, dtype=np.float32).reshape(2, 3)
"""


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    cache = tmp_path_factory.mktemp("cache")
    folder = fake_gpu.folder()
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


def test_no_device_is_touched_that_was_not_asked_for(run):
    run("""
import ctypes, os
fake = ctypes.CDLL(os.environ["OSTRIA_CUDA_LIBRARIES"] + "/libcuda.so.1")
fake.fake_cuda_count.restype = ctypes.c_int64
fake.fake_cuda_used.restype = ctypes.c_int64
contexts = lambda: fake.fake_cuda_count(b"cuDevicePrimaryCtxRetain")
used = lambda: [fake.fake_cuda_used(d) for d in (0, 1)]
ost.compile(lambda x: ost.transpose(x))(x)
assert fake.fake_cuda_count(b"cuInit") == 0
assert len(ost.devices()) == 3
assert contexts() == 0 and used() == [0, 0]
w = ost.Variable(x, name="w")

@ost.compile(device="cuda:1")
def step(y):
    w.assign(w.value() + y)
    return ost.sum(w)

for _ in range(4):
    step(x).item()
assert ost.to_device(ost.asarray(x), "cuda:1").numpy().sum() == 15
assert contexts() == 1
assert used()[0] == 0 < used()[1] < 1 << 27, used()  # grows, never takes all of the 8 GiB
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


def test_recurrent_layers_train_there_as_on_the_cpu(run):
    out = run("""
from ostria import nn
ids = np.arange(24).reshape(4, 6) % 11
def losses(device, layer):
    with ost.device(device):
        net = nn.Sequential([nn.Embedding(11, 5), layer(), nn.Dense(11)])
        net(ids)
        opt = ost.optim.SGD(0.5)
        @ost.compile(device=device)
        def step(x):
            logits = net(x, training=True)
            loss = ost.losses.sparse_categorical_crossentropy(x, logits, from_logits=True)
            opt.minimize(ost.mean(loss), net.trainable_variables)
            return ost.mean(loss)
        return [step(ids).item() for _ in range(4)], step.explain()
more = {"return_sequences": True}
for layer in (nn.LSTM, nn.GRU, nn.SimpleRNN):
    for backwards in (False, True):
        make = lambda: layer(7, go_backwards=backwards, **more)
        want, _ = losses("cpu", make)
        got, text = losses("cuda:0", make)
        np.testing.assert_allclose(got, want, rtol=1e-5)
        print(layer.__name__, backwards, "recurrent_layer_grad <cudnn" in text)
""")
    library = {line.rsplit(" ", 1)[0]: line.endswith("True") for line in out.splitlines()}
    assert library == {
        "LSTM False": True,
        "LSTM True": False,
        "GRU False": True,
        "GRU True": False,
        "SimpleRNN False": False,
        "SimpleRNN True": False,
    }


def test_loops_that_data_end_run_there(run):
    run("""
def collatz(n, most):
    zero = ost.zeros((), dtype="int64")
    def halve(n):
        return ost.while_loop(lambda n: n % 2 == 0, lambda n: n // 2, n)
    def body(c):
        n, k = c
        return halve(3 * n + 1), k + 1
    return ost.while_loop(lambda c: (c[0] != 1) & (c[1] < most), body, (halve(n), zero))
f = ost.compile(collatz, device="cuda")
for n in (1, 27, 6, 7, 27, 1):
    for most in (100, 2):
        got = [int(v.item()) for v in f(np.int64(n), np.int64(most))]
        while n % 2 == 0:
            n //= 2
        want, k = n, 0
        while want != 1 and k < most:
            want, k = 3 * want + 1, k + 1
            while want % 2 == 0:
                want //= 2
        assert got == [want, k], (n, most, got)

w = ost.Variable(np.full(3, 0.9, np.float32), name="w")
def train(x):
    y = ost.while_loop(lambda a: ost.sum(a) > 0.5, lambda a: a * w, x, max_steps=4)
    return y, ost.gradients(ost.sum(y), [w])[0]
here, there = (ost.compile(train, device=d) for d in ("cpu", "cuda"))
for v in (0.1, 1.0, 8.0, 0.1):
    want = [o.numpy() for o in here(np.full(3, v, np.float32))]
    got = [o.numpy() for o in there(np.full(3, v, np.float32))]
    np.testing.assert_allclose(got, want, rtol=1e-6)
""")
