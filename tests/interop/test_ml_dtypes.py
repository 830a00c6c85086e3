# SPDX-License-Identifier: Apache-2.0
"""bfloat16 in NumPy, where the ml_dtypes package brings it."""

from __future__ import annotations

from pathlib import Path

import ml_dtypes
import numpy as np

import ostria as ost
from ostria import io


def test_bfloat16_tensors_become_arrays_and_back() -> None:
    t = ost.cast(ost.asarray([1.0, 2.5]), "bfloat16")
    a = t.numpy()
    assert a.dtype == ml_dtypes.bfloat16
    assert a.astype(np.float32).tolist() == [1.0, 2.5]
    back = ost.asarray(a)
    assert back.dtype == "bfloat16"
    assert ost.all(back == t)


def test_bfloat16_arrays_are_saved_as_their_bits(tmp_path: Path) -> None:
    bits = np.array([[0x3F80, 0xC000], [0x7F80, 0x0001]], np.uint16)
    io.save_tensors(tmp_path / "bits", {"w": (bits, "bfloat16")})
    io.save_tensors(tmp_path / "array", {"w": bits.view(ml_dtypes.bfloat16)})
    assert (tmp_path / "array").read_bytes() == (tmp_path / "bits").read_bytes()
