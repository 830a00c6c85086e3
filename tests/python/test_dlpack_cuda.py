# SPDX-License-Identifier: Apache-2.0
"""DLPack on a GPU, both ways: whose stream waits for whom, who keeps memory and until when.

The other library is written in Python here, on the driver that runs kernels on the host, late and
in any order that streams allow. `tests/interop/test_dlpack_cuda.py` has PyTorch and JAX.
"""

from __future__ import annotations

import pytest
from fake_gpu import run  # noqa: F401

OTHER = """
import ctypes, os
import numpy as np
import ostria as ost

cuda = ctypes.CDLL(os.environ["OSTRIA_CUDA_LIBRARIES"] + "/libcuda.so.1")
api, P, N = ctypes.pythonapi, ctypes.c_void_p, ctypes.c_int64
api.PyCapsule_GetName.restype, api.PyCapsule_GetName.argtypes = ctypes.c_char_p, [ctypes.py_object]
api.PyCapsule_GetPointer.restype = P
api.PyCapsule_GetPointer.argtypes = [ctypes.py_object, ctypes.c_char_p]
api.PyCapsule_SetName.argtypes = [ctypes.py_object, ctypes.c_char_p]
api.PyCapsule_New.restype, api.PyCapsule_New.argtypes = ctypes.py_object, [P, ctypes.c_char_p, P]
cuda.fake_cuda_count.restype = N

class DLTensor(ctypes.Structure):
    _fields_ = [("data", P), ("kind", ctypes.c_int32), ("id", ctypes.c_int32),
                ("ndim", ctypes.c_int32), ("code", ctypes.c_uint8), ("bits", ctypes.c_uint8),
                ("lanes", ctypes.c_uint16), ("shape", ctypes.POINTER(N)),
                ("strides", ctypes.POINTER(N)), ("offset", ctypes.c_uint64)]
Deleter = ctypes.CFUNCTYPE(None, P)
class Versioned(ctypes.Structure):
    _fields_ = [("major", ctypes.c_uint32), ("minor", ctypes.c_uint32), ("context", P),
                ("deleter", Deleter), ("flags", ctypes.c_uint64), ("tensor", DLTensor)]
class Old(ctypes.Structure):
    _fields_ = [("tensor", DLTensor), ("context", P), ("deleter", Deleter)]

def check(result):
    assert result == 0, result

ost.synchronize("cuda")  # the driver runs
context = P()
check(cuda.cuDevicePrimaryCtxRetain(ctypes.byref(context), 0))
check(cuda.cuCtxSetCurrent(context))
def new_stream():
    stream = P()
    check(cuda.cuStreamCreateWithPriority(ctypes.byref(stream), 1, 0))
    return stream.value
def count(function):
    return cuda.fake_cuda_count(function.encode())

class Consumed:
    '''A tensor as another library takes it: read after its own stream, and nothing else.'''
    def __init__(self, source, stream, **more):
        self.capsule = source.__dlpack__(stream=stream, **more)
        name = api.PyCapsule_GetName(self.capsule)
        self.versioned = name == b"dltensor_versioned"
        assert self.versioned or name == b"dltensor", name
        kind = Versioned if self.versioned else Old
        self.managed = kind.from_address(api.PyCapsule_GetPointer(self.capsule, name))
        self.tensor = self.managed.tensor
        self.stream = stream
    def numpy(self):
        if self.stream is None or self.stream > 0:
            check(cuda.cuStreamSynchronize(P(1 if self.stream is None else self.stream)))
        t = self.tensor
        shape = [t.shape[i] for i in range(t.ndim)]
        many = int(np.prod(shape))
        return np.array((ctypes.c_float * many).from_address(t.data)).reshape(shape)

class Producer:
    '''Memory of another library, filled late in a stream of its own.'''
    def __init__(self, values, shape=None, strides=None, device=(2, 0), versioned=True, offset=0):
        values = np.ascontiguousarray(values, np.float32)
        self.values, self.device, self.versioned = values, device, versioned
        self.asked, self.deleted, self.memory = [], 0, P()
        check(cuda.cuMemAlloc_v2(ctypes.byref(self.memory), ctypes.c_size_t(values.nbytes)))
        self.stream = new_stream()
        source = values.ctypes.data_as(P)
        size = ctypes.c_size_t(values.nbytes)
        check(cuda.cuMemcpyHtoDAsync_v2(self.memory, source, size, P(self.stream)))
        shape = values.shape if shape is None else shape
        self.shape = (N * len(shape))(*shape)
        self.strides = None if strides is None else (N * len(shape))(*strides)
        self.offset = offset
    def __dlpack_device__(self):
        return self.device
    def __dlpack__(self, *, stream=None, **more):
        if not self.versioned and more:
            raise TypeError("an old producer")
        self.asked.append((stream, more))
        event = P()
        check(cuda.cuEventCreate(ctypes.byref(event), 2))
        check(cuda.cuEventRecord(event, P(self.stream)))
        check(cuda.cuStreamWaitEvent(P(stream), event, 0))
        self.managed = (Versioned if self.versioned else Old)()
        t = self.managed.tensor
        t.data, t.offset, (t.kind, t.id) = self.memory, self.offset, self.device
        t.ndim, t.code, t.bits, t.lanes = len(self.shape), 2, 32, 1
        t.shape = ctypes.cast(self.shape, ctypes.POINTER(N))
        if self.strides is not None:
            t.strides = ctypes.cast(self.strides, ctypes.POINTER(N))
        if self.versioned:
            self.managed.major = 1
        self.managed.deleter = self.keep = Deleter(self.delete)
        name = b"dltensor_versioned" if self.versioned else b"dltensor"
        return api.PyCapsule_New(ctypes.addressof(self.managed), name, None)
    def delete(self, _):
        self.deleted += 1
        check(cuda.cuMemFree_v2(self.memory))  # what still reads it would be a fault

def refused(call, *texts):
    try:
        call()
    except BufferError as error:
        for text in texts:
            assert text in str(error), error
    else:
        raise SystemExit("no error")

x = np.arange(3000, dtype=np.float32).reshape(60, 50)
there = ost.to_device(ost.asarray(x), "cuda")
V = {"max_version": (1, 0)}
"""


@pytest.mark.parametrize("seed", range(4))
def test_the_consumers_stream_waits_for_ours(run, seed):  # noqa: F811
    run(
        OTHER
        + """
for stream in (1, 2, None, new_stream()):
    y = there
    for _ in range(3):
        y = y + 1.0
    waits = count("cuStreamSynchronize") + count("cuEventSynchronize")
    got = Consumed(y, stream, **V)
    assert count("cuStreamSynchronize") + count("cuEventSynchronize") == waits
    np.testing.assert_array_equal(got.numpy(), x + 3)
    assert (got.tensor.kind, got.tensor.id) == (2, 0) == y.__dlpack_device__()
    assert got.versioned and got.managed.flags == 1, "shared and read-only"
""",
        FAKE_CUDA_SEED=str(seed),
    )


def test_what_a_consumer_may_ask_for(run):  # noqa: F811
    run(
        OTHER
        + """
waits = count("cuStreamWaitEvent")
shared = Consumed(there, -1, **V)
assert count("cuStreamWaitEvent") == waits, "-1: no order"
refused(lambda: there.__dlpack__(stream=0), "stream=0", "accepted are None, -1")
refused(lambda: there.__dlpack__(stream=-7), "stream=-7")
refused(lambda: there.__dlpack__(stream="main"), "pass a number")
refused(lambda: there.__dlpack__(dl_device=(2, 1)), "is on cuda:0, (2, 0)", "(2, 1)", "to_device")
again = Consumed(there, 1, copy=False)
assert again.tensor.data == shared.tensor.data and not again.versioned
old = Consumed(there, 1)  # cannot be told that it must not write
copied = Consumed(there, 1, copy=True, **V)
assert copied.managed.flags == 2
for c in (old, copied):
    assert c.tensor.data != shared.tensor.data
    np.testing.assert_array_equal(c.numpy(), x)
host = Consumed(there, None, dl_device=(1, 0), **V)
assert (host.tensor.kind, host.tensor.id) == (1, 0)
np.testing.assert_array_equal(host.numpy(), x)
refused(lambda: there.__dlpack__(dl_device=(1, 0), copy=False), "copy=False")
small = ost.compile(lambda t: ost.sum(t), device="cuda")
for _ in range(3):
    total = small(x)  # in pinned memory of the host
c = Consumed(total, 1, **V)
assert c.numpy() == x.sum() and c.managed.flags == 2
refused(lambda: total.__dlpack__(stream=1, copy=False), "pinned")
empty = Consumed(ost.to_device(ost.asarray(np.zeros((0, 3), np.float32)), "cuda"), 1, **V)
assert empty.numpy().shape == (0, 3)
"""
    )


def test_a_capsule_that_nobody_takes_frees_what_it_holds(run):  # noqa: F811
    run(
        OTHER
        + """
import gc
for _ in range(3):
    there.__dlpack__(stream=1, **V)
    there.__dlpack__(stream=1)
gc.collect()
big = ost.to_device(ost.asarray(np.ones(1 << 20, np.float32)), "cuda")
capsule = big.__dlpack__(stream=1, **V)
del big
c = Versioned.from_address(api.PyCapsule_GetPointer(capsule, b"dltensor_versioned"))
first = np.array((ctypes.c_float * 4).from_address(c.tensor.data))
np.testing.assert_array_equal(first, 1.0)  # alive through the capsule
"""
    )


@pytest.mark.parametrize("seed", range(4))
def test_the_producer_makes_our_stream_wait_and_keeps_its_memory(run, seed):  # noqa: F811
    run(
        OTHER
        + """
for versioned in (True, False):
    for _ in range(3):
        p = Producer(x, versioned=versioned)
        t = ost.from_dlpack(p)
        stream, more = p.asked[-1]
        assert isinstance(stream, int) and stream > 2, "ours, not a default one"
        assert more == (V if versioned else {})
        assert t.device == "cuda:0" and t.shape == (60, 50)
        assert Consumed(t, -1, **V).tensor.data == p.memory.value, "shared"
        y = t * 2.0 + t
        del t
        assert p.deleted == 0, "our stream may still read it"
        np.testing.assert_array_equal(y.numpy(), 3 * x)
        ost.synchronize("cuda")
        assert p.deleted == 1
        step = ost.compile(lambda a: a + 1.0, device="cuda")
        step(there), step(there)
        p = Producer(x)
        np.testing.assert_array_equal(step(ost.from_dlpack(p)).numpy(), x + 1)
        ost.synchronize("cuda")
        assert p.deleted == 1
""",
        FAKE_CUDA_SEED=str(seed),
    )


def test_what_is_copied_and_what_is_refused(run):  # noqa: F811
    run(
        OTHER
        + """
p = Producer(x)
t = ost.from_dlpack(p, copy=True)
assert Consumed(t, -1, **V).tensor.data != p.memory.value
np.testing.assert_array_equal(t.numpy(), x)
ost.synchronize("cuda")
assert p.deleted == 1
np.testing.assert_array_equal(ost.asarray(Producer(x)).numpy(), x)
assert ost.asarray(Producer(x)).device == "cuda:0"

turned = dict(shape=(50, 60), strides=(1, 50))
np.testing.assert_array_equal(ost.from_dlpack(Producer(x, **turned)).numpy(), x.T)
refused(lambda: ost.from_dlpack(Producer(x, **turned), copy=False), "copy=False", "copy=None")
cube = np.arange(24, dtype=np.float32).reshape(2, 3, 4)
p = Producer(cube, shape=(4, 2, 3), strides=(1, 12, 4))
np.testing.assert_array_equal(ost.from_dlpack(p).numpy(), cube.transpose(2, 0, 1))

tail = ost.from_dlpack(Producer(x.ravel(), shape=(10,), offset=4))  # does not begin as ours do
np.testing.assert_array_equal(tail.numpy(), np.arange(1, 11))
p = Producer(x, shape=(60, 25), strides=(50, 2))
refused(lambda: ost.from_dlpack(p), "gaps", "x.contiguous()")
ost.synchronize("cuda")
assert p.deleted == 1, "a refused one is given back"
p = Producer(x, shape=(3, 60, 50), strides=(0, 50, 1))
refused(lambda: ost.from_dlpack(p), "overlaps")
refused(lambda: ost.from_dlpack(Producer(x, device=(2, 5))), "cuda:5", "there are 2 devices")
refused(lambda: ost.from_dlpack(Producer(x, device=(10, 0))), "kind 10", "copy it to cpu first")
"""
    )


def test_our_own_tensors_go_round(run):  # noqa: F811
    run(
        OTHER
        + """
t = ost.from_dlpack(there)
assert t.device == "cuda:0"
np.testing.assert_array_equal((t + 1.0).numpy(), x + 1)
second = ost.to_device(ost.asarray(x), "cuda:1")
t = ost.from_dlpack(second)
assert t.device == "cuda:1" == f"cuda:{second.__dlpack_device__()[1]}"
np.testing.assert_array_equal(t.numpy(), x)
w = ost.Variable(x, name="w")
w.move_to("cuda")
np.testing.assert_array_equal(ost.from_dlpack(w.view()).numpy(), x)
"""
    )


def test_where_there_is_no_gpu(run):  # noqa: F811
    run(
        """
import numpy as np
import ostria as ost
class There:
    def __dlpack_device__(self):
        return (2, 0)
    def __dlpack__(self, **more):
        raise SystemExit("asked for what cannot be taken")
try:
    ost.from_dlpack(There())
    raise SystemExit("no error")
except ost.DeviceUnavailableError as error:
    assert "sees no GPU" in str(error), error
""",
        FAKE_CUDA_DEVICES="0",
    )
