# SPDX-License-Identifier: Apache-2.0
"""bfloat16 tensors are written as they are, without a package that gives NumPy the dtype."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import ostria as ost
from ostria import io

# Every pattern but signalling NaNs, which no cast makes.
BITS = np.arange(2**16, dtype=np.uint16)
BITS = BITS[((BITS & 0x7F80) != 0x7F80) | ((BITS & 0x7F) == 0) | ((BITS & 0x40) != 0)]


def tensor() -> Any:
    wide = (BITS.astype(np.uint32) << 16).view(np.float32)
    return ost.cast(ost.asarray(wide), "bfloat16")


@pytest.mark.parametrize("kind", [lambda t: t, lambda t: ost.Variable(t, name="w")])
def test_every_pattern_comes_back(kind: Any, tmp_path: Path) -> None:
    z = kind(tensor())
    io.save_tensors(tmp_path / "t", {"z": z, "scalar": ost.cast(ost.asarray(1.5), "bfloat16")})
    found = io.load_tensors(tmp_path / "t", bfloat16="bits")
    np.testing.assert_array_equal(found["z"], BITS)
    assert found["scalar"].shape == () and found["scalar"] == 0x3FC0


def test_other_readers_see_bfloat16(tmp_path: Path) -> None:
    safetensors = pytest.importorskip("safetensors")
    io.save_tensors(tmp_path / "t", {"z": tensor()})
    ((_, found),) = safetensors.deserialize((tmp_path / "t").read_bytes())
    assert found["dtype"] == "BF16" and bytes(found["data"]) == BITS.tobytes()


def test_checkpoints_take_them_too(tmp_path: Path) -> None:
    io.save_checkpoint(tmp_path, 3, {"z": tensor()})
    found = io.load_latest_checkpoint(tmp_path, bfloat16="bits")
    assert found is not None and found.dtypes["z"] == "bfloat16"
    np.testing.assert_array_equal(found.tensors["z"], BITS)
