# SPDX-License-Identifier: Apache-2.0
"""NumPy, DLPack and the Array API: who shares memory with whom, and what is refused."""

from __future__ import annotations

import copy
import gc
import importlib.util
import pickle
import resource
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import ostria as ost

DTYPES = ("bool int8 int16 int32 int64 uint8 uint16 uint32 uint64 float16 float32 float64").split()


def array() -> Any:
    return np.arange(6, dtype=np.float32).reshape(2, 3)


# --- NumPy ----------------------------------------------------------------------------------------


def test_numpy_in_and_out_without_a_copy() -> None:
    a = array()
    t = ost.asarray(a)
    assert np.shares_memory(t.numpy(), a)
    assert np.shares_memory(np.asarray(t), a)
    assert not np.shares_memory(ost.asarray(a, copy=True).numpy(), a)


def test_what_numpy_sees_cannot_be_written() -> None:
    t = ost.asarray(array())
    with pytest.raises(ValueError, match="read-only"):
        t.numpy()[0] = 1
    with pytest.raises(ValueError, match="WRITEABLE"):
        t.numpy().setflags(write=True)


def test_memory_outlives_its_first_owner() -> None:
    a = array()
    t = ost.asarray(a)
    view = t.numpy()
    del a, t
    gc.collect()
    np.testing.assert_array_equal(view, array())


@pytest.mark.parametrize("dtype", DTYPES)
def test_every_dtype_goes_round(dtype: str) -> None:
    a = np.array([[0, 1, 1], [1, 0, 1]], dtype)
    t = ost.asarray(a)
    assert t.dtype == dtype
    assert t.numpy().dtype == a.dtype
    np.testing.assert_array_equal(t.numpy(), a)
    np.testing.assert_array_equal(ost.from_dlpack(a).numpy(), a)


def test_strided_empty_and_scalar_arrays() -> None:
    a = np.arange(24, dtype=np.float32).reshape(4, 6)
    for b in (a.T, a[::2, 1::2], a[::-1], a[:, None], a[:0], np.float32(3), np.array(3.0)):
        t = ost.asarray(b)
        assert t.shape == np.shape(b)
        np.testing.assert_array_equal(t.numpy(), b)


def test_array_protocol_copies_only_when_it_must() -> None:
    t = ost.asarray(array())
    assert np.array(t, copy=True).flags.writeable
    assert np.asarray(t, dtype=np.float64).dtype == np.float64
    with pytest.raises(ValueError, match="copy=False, but float32 to float64 needs a copy"):
        t.__array__(np.float64, copy=False)


def test_operators_beside_numpy_give_tensors() -> None:
    a, t = array(), ost.asarray(array())
    for result in (a + t, t + a, np.float32(1) * t, 2.0 * t, t @ a.T, a @ t.T, a > t):
        assert isinstance(result, ost.Tensor)
    np.testing.assert_array_equal((a + t).numpy(), a + a)
    np.testing.assert_array_equal((a @ t.T).numpy(), a @ a.T)
    assert np.sum(t).item() == 15.0


def test_bfloat16_has_no_numpy_dtype_of_its_own() -> None:
    t = ost.cast(ost.asarray([1.0, 2.5]), "bfloat16")
    assert ost.cast(t, "float32").numpy().tolist() == [1.0, 2.5]
    assert repr(t) == "tensor([1. , 2.5], dtype=bfloat16)"
    if importlib.util.find_spec("ml_dtypes") is None:  # tests/interop has it
        with pytest.raises(TypeError, match="NumPy has no bfloat16; install the ml_dtypes package"):
            t.numpy()


def test_pickle_and_deepcopy() -> None:
    for t in (ost.asarray(array()), ost.cast(ost.asarray([1.5]), "bfloat16"), ost.zeros((0, 2))):
        for other in (pickle.loads(pickle.dumps(t)), copy.deepcopy(t)):
            assert (other.dtype, other.shape) == (t.dtype, t.shape)
            assert ost.all(other == t)


# --- DLPack ---------------------------------------------------------------------------------------


def test_dlpack_to_numpy_shares_and_is_read_only() -> None:
    t = ost.asarray(array())
    a = np.from_dlpack(t)
    assert t.__dlpack_device__() == (1, 0)
    np.testing.assert_array_equal(a, array())
    if np.lib.NumpyVersion(np.__version__) >= "2.1.0":  # speaks DLPack 1.0
        assert np.shares_memory(a, t.numpy())
        assert not a.flags.writeable


def test_dlpack_from_numpy_shares_what_is_dense() -> None:
    a = array()
    assert np.shares_memory(ost.from_dlpack(a).numpy(), a)
    assert not np.shares_memory(ost.from_dlpack(a, copy=True).numpy(), a)
    t = ost.from_dlpack(a.T)
    assert not np.shares_memory(t.numpy(), a)
    np.testing.assert_array_equal(t.numpy(), a.T)
    with pytest.raises(BufferError, match=r"copy=False, but the tensor is strided or not aligned"):
        ost.from_dlpack(a.T, copy=False)


def test_dlpack_keeps_memory_alive() -> None:
    a = array()
    t = ost.from_dlpack(a)
    del a
    gc.collect()
    np.testing.assert_array_equal(t.numpy(), array())
    b = np.from_dlpack(t)
    del t
    gc.collect()
    np.testing.assert_array_equal(b, array())


def test_old_consumers_get_a_copy_they_may_write() -> None:
    # Before DLPack 1.0 there is no read-only flag.
    t = ost.asarray(array())

    class Old:
        def __dlpack__(self) -> Any:
            return t.__dlpack__()

        def __dlpack_device__(self) -> tuple[int, int]:
            return t.__dlpack_device__()

    assert not np.shares_memory(ost.from_dlpack(Old()).numpy(), t.numpy())
    assert 'capsule object "dltensor"' in repr(t.__dlpack__())
    assert 'capsule object "dltensor_versioned"' in repr(t.__dlpack__(max_version=(1, 1)))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"dl_device": (2, 0)}, r"the tensor is on cpu, \(1, 0\), and is not copied to another"),
        ({"stream": 1}, "a cpu tensor takes no stream; pass stream=None"),
    ],
)
def test_dlpack_refuses(options: dict[str, Any], message: str) -> None:
    with pytest.raises(BufferError, match=message):
        ost.asarray(array()).__dlpack__(**options)


def test_a_capsule_serves_once() -> None:
    capsule = ost.asarray(array()).__dlpack__(max_version=(1, 0))

    class Given:
        def __dlpack__(self, **_: Any) -> Any:
            return capsule

    ost.from_dlpack(Given())
    with pytest.raises(BufferError, match="the capsule was consumed already"):
        ost.from_dlpack(Given())


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((1,) * 9, "a tensor of rank 9 or more was asked for"),
        ((2**31, 2**29), r"a tensor of shape \[2147483648, 536870912\] has more elements"),
    ],
)
def test_a_tensor_that_is_refused_is_given_back(shape: tuple[int, ...], message: str) -> None:
    a = np.broadcast_to(np.float32(1), shape)
    before = sys.getrefcount(a)
    with pytest.raises(ValueError, match=message):
        ost.from_dlpack(a)
    assert sys.getrefcount(a) == before


def resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


def test_unused_capsules_leak_nothing() -> None:
    t = ost.asarray(np.zeros(1_000_000, np.float32))
    t.__dlpack__(copy=True)
    before = resident_bytes()
    for _ in range(100):
        t.__dlpack__(copy=True)  # 400 MB if it leaked
    assert resident_bytes() - before < 100_000_000


def test_a_variable_gives_its_value_or_its_live_memory() -> None:
    v = ost.Variable(array(), name="v")
    snapshot, live = ost.from_dlpack(v), ost.from_dlpack(Alias(v))
    v.assign(array() * 2)
    np.testing.assert_array_equal(snapshot.numpy(), array())
    np.testing.assert_array_equal(live.numpy(), array() * 2)


class Alias:
    def __init__(self, variable: Any):
        self.variable = variable

    def __dlpack__(self, **options: Any) -> Any:
        return self.variable.__dlpack__(**{**options, "copy": False})


# --- Array API (its names: test_array_api.py) -----------------------------------------------------


def test_array_api_promotion() -> None:
    def both(a: str, b: str) -> str:
        return str((ost.ones((1,), dtype=a) + ost.ones((1,), dtype=b)).dtype)

    assert both("int8", "int32") == "int32"
    assert both("uint8", "int8") == "int16"
    assert both("uint32", "int32") == "int64"
    assert both("float32", "float64") == "float64"
    assert str((ost.ones((1,), dtype="int8") + 1).dtype) == "int8"
    assert str((ost.ones((1,), dtype="float32") * 2).dtype) == "float32"


def test_array_api_creation_matches_numpy() -> None:
    for ours, theirs in (
        (ost.arange(5), np.arange(5)),
        (ost.arange(1, 2, 0.25), np.arange(1, 2, 0.25, np.float32)),
        (ost.arange(5, 0, -2), np.arange(5, 0, -2)),
        (ost.linspace(0, 1, 5), np.linspace(0, 1, 5, dtype=np.float32)),
        (ost.eye(2, 3, k=1), np.eye(2, 3, 1, np.float32)),
        (ost.full((2,), 7), np.full(2, 7)),
        (ost.full((2,), 2**60 + 1), np.full(2, 2**60 + 1)),
        (ost.full((), True), np.full((), True)),
    ):
        assert ours.numpy().dtype == theirs.dtype
        np.testing.assert_array_equal(ours.numpy(), theirs)


@pytest.mark.parametrize(
    "index",
    [
        0, -1, slice(1, 3), slice(None, None, -1), slice(-2, None), slice(3, 0, -2), ...,
        (1, 2), (slice(None), 1), (..., 0), (None, 0), (0, None, slice(1, 2)), (slice(2, 2),),
        [2, 0, 2], (slice(None), [1, 1]), np.array([[0, 1], [1, 2]]),
        np.array([True, False, True, True]),
    ],
    ids=str,
)  # fmt: skip
def test_indexing_matches_numpy(index: Any) -> None:
    a = np.arange(4 * 3 * 2, dtype=np.float32).reshape(4, 3, 2)
    np.testing.assert_array_equal(ost.asarray(a)[index].numpy(), a[index])
