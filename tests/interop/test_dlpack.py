# SPDX-License-Identifier: Apache-2.0
"""DLPack with PyTorch and JAX, both ways: who shares memory with whom, and who may write."""

from __future__ import annotations

import gc
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest
import torch

import ostria as ost

DTYPES = ["float32", "float64", "float16", "bfloat16", "int8", "int32", "int64", "uint8", "bool"]
NO_X64 = {"float64", "int64"}  # JAX keeps 32 bits unless told otherwise


def ours(dtype: str = "float32") -> Any:
    return ost.cast(ost.asarray(np.arange(6, dtype=np.float32).reshape(2, 3)), dtype)


@pytest.mark.parametrize("dtype", DTYPES)
def test_torch_both_ways(dtype: str) -> None:
    x = ours(dtype)
    theirs = torch.from_dlpack(x)
    assert str(theirs.dtype) == f"torch.{dtype}"
    assert tuple(theirs.shape) == x.shape
    back = ost.from_dlpack(theirs.contiguous())
    assert back.dtype == dtype
    assert ost.all(back == x)
    assert ost.all(ost.from_dlpack(theirs.T) == x.T)


def test_torch_memory_is_shared_and_kept_alive() -> None:
    theirs = torch.arange(6, dtype=torch.float32).reshape(2, 3)
    x = ost.from_dlpack(theirs)
    assert x.numpy().ctypes.data == theirs.data_ptr()
    del theirs
    gc.collect()
    np.testing.assert_array_equal(x.numpy(), np.arange(6).reshape(2, 3))


def test_torch_shares_our_memory() -> None:
    # Exported read-only, which PyTorch does not look at: clone there before writing in place.
    x = ours()
    theirs = torch.from_dlpack(x)
    assert theirs.data_ptr() == x.numpy().ctypes.data
    theirs.clone().add_(1)
    np.testing.assert_array_equal(x.numpy(), np.arange(6).reshape(2, 3))


def test_torch_strides_empty_and_scalar() -> None:
    base = torch.arange(24, dtype=torch.float32).reshape(4, 6)
    for theirs in (base.T, base[::2, 1::2], base[:0], base[1, 2], base.expand(2, 4, 6)):
        x = ost.from_dlpack(theirs)
        assert x.shape == tuple(theirs.shape)
        np.testing.assert_array_equal(x.numpy(), theirs.numpy())
        assert tuple(torch.from_dlpack(x).shape) == tuple(theirs.shape)


def test_torch_tensors_that_need_gradients_say_so() -> None:
    with pytest.raises((BufferError, RuntimeError), match="grad"):
        ost.from_dlpack(torch.ones(2, requires_grad=True))


def test_a_variable_in_torch_is_a_snapshot() -> None:
    v = ost.Variable(np.zeros(3, np.float32), name="v")
    theirs = torch.from_dlpack(v)
    v.assign(np.ones(3, np.float32))
    assert theirs.tolist() == [0, 0, 0]


@pytest.mark.parametrize("dtype", [d for d in DTYPES if d not in NO_X64])
def test_jax_both_ways(dtype: str) -> None:
    x = ours(dtype)
    theirs = jnp.from_dlpack(x)
    assert str(theirs.dtype) == dtype
    back = ost.from_dlpack(theirs)
    assert back.dtype == dtype
    assert ost.all(back == x)


def test_a_torch_model_and_ours_agree_on_shared_weights() -> None:
    theirs = torch.nn.Linear(5, 3)
    layer = ost.nn.Dense(3)
    x = np.random.default_rng(0).normal(size=(4, 5)).astype(np.float32)
    layer(x)
    layer.kernel.assign(ost.from_dlpack(theirs.weight.detach().T))
    layer.bias.assign(ost.from_dlpack(theirs.bias.detach()))
    np.testing.assert_allclose(
        layer(x).numpy(), theirs(torch.from_numpy(x)).detach().numpy(), rtol=1e-5, atol=1e-6
    )
