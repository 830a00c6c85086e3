# SPDX-License-Identifier: Apache-2.0
"""DLPack with PyTorch and JAX on a GPU: values, shared memory and the order of streams."""

from __future__ import annotations

import gc
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch

import ostria as ost


@pytest.fixture(autouse=True)
def gpu() -> None:
    if "cuda:0" not in ost.devices():
        pytest.skip("ostria sees no GPU; `ostria doctor` says why")


@pytest.fixture
def torch_gpu() -> None:
    if not torch.cuda.is_available():
        pytest.skip("this PyTorch has no CUDA or sees no GPU")


@pytest.fixture
def jax_gpu() -> Any:
    try:
        return jax.devices("cuda")[0]
    except RuntimeError as error:
        pytest.skip(f"this JAX has no CUDA: {error}")


X = np.arange(71 * 229, dtype=np.float32).reshape(71, 229)


def test_torch_takes_ours(torch_gpu: None) -> None:
    t = ost.to_device(X, "cuda")
    for _ in range(20):  # still in our stream when it is taken
        t = t + 1.0
    theirs = torch.from_dlpack(t)
    assert theirs.is_cuda and theirs.device.index == 0
    np.testing.assert_array_equal((theirs * 2).cpu().numpy(), 2 * (X + 20))
    again = torch.from_dlpack(t)
    assert again.data_ptr() == theirs.data_ptr()


def test_torch_on_another_stream(torch_gpu: None) -> None:
    t = ost.to_device(X, "cuda") * 3.0
    with torch.cuda.stream(torch.cuda.Stream()):
        theirs = torch.from_dlpack(t) + 1
        back = ost.from_dlpack(theirs)
    np.testing.assert_array_equal((back - 1.0).numpy(), 3 * X)


@pytest.mark.parametrize("dtype", ["float32", "float64", "float16", "bfloat16", "int64", "bool"])
def test_ours_takes_torch(torch_gpu: None, dtype: str) -> None:
    theirs = torch.arange(600, device="cuda").reshape(20, 30).to(getattr(torch, dtype))
    for _ in range(20):
        theirs = theirs.clone()
    t = ost.asarray(theirs)
    assert t.device == "cuda:0" and t.dtype == dtype
    assert bool(ost.all(t == ost.from_dlpack(theirs.clone())).item())
    turned = ost.from_dlpack(theirs.T)
    assert turned.shape == (30, 20) and bool(ost.all(turned == ost.transpose(t)).item())
    with pytest.raises(BufferError, match="contiguous"):
        ost.from_dlpack(theirs[:, ::2])


def test_torch_memory_outlives_its_tensor(torch_gpu: None) -> None:
    theirs = torch.ones(1 << 20, device="cuda")
    t = ost.from_dlpack(theirs)
    del theirs
    gc.collect()
    torch.cuda.empty_cache()
    y = t + 1.0
    del t
    assert y.numpy().min() == 2 == y.numpy().max()


def test_a_compiled_step_takes_torch(torch_gpu: None) -> None:
    step = ost.compile(lambda x: ost.sum(x * x), device="cuda")
    for _ in range(4):
        theirs = torch.full((1000,), 2.0, device="cuda")
        assert step(ost.from_dlpack(theirs)).item() == 4000


def test_jax_both_ways(jax_gpu: Any) -> None:
    t = ost.to_device(X, "cuda") + 1.0
    theirs = jax.dlpack.from_dlpack(t)
    np.testing.assert_array_equal(np.asarray(theirs + 1), X + 2)
    back = ost.from_dlpack(jax.device_put(jnp.asarray(X), jax_gpu) * 2)
    assert back.device == "cuda:0"
    np.testing.assert_array_equal((back + 1.0).numpy(), 2 * X + 1)
