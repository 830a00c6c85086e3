# SPDX-License-Identifier: Apache-2.0
"""NumPy arrays to and from what `ostria._native.io` takes and gives."""

from __future__ import annotations

import importlib
import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    import numpy as np

#: A path as `open` takes it.
PathLike = str | os.PathLike[str]
#: How bfloat16, which NumPy lacks, is handed out: widened (exactly) or as its 16 bits.
BFloat16As = Literal["float32", "bits"]


def native() -> Any:
    """The extension's `io` module, loaded on first use."""
    return importlib.import_module("ostria._native").io


def to_native(tensors: Mapping[str, Any]) -> dict[str, Any]:
    """C-contiguous, native-endian arrays; pairs (uint16 array, "bfloat16") pass through."""
    import numpy as np

    out: dict[str, Any] = {}
    for name, value in tensors.items():
        if isinstance(value, tuple):
            out[name] = value
            continue
        array = np.asarray(value, order="C")  # unlike ascontiguousarray, keeps rank 0
        if array.dtype.name == "bfloat16":  # ml_dtypes
            out[name] = (array.view(np.uint16), "bfloat16")
        else:
            out[name] = array.astype(array.dtype.newbyteorder("="), copy=False)
    return out


def from_native(
    tensors: Mapping[str, tuple[str, np.ndarray]], bfloat16: BFloat16As
) -> dict[str, np.ndarray]:
    """Plain arrays of (dtype name, array) pairs."""
    if bfloat16 not in ("float32", "bits"):
        raise ValueError(f"bfloat16={bfloat16!r} is unknown; 'float32' and 'bits' are accepted")
    import numpy as np

    out: dict[str, np.ndarray] = {}
    for name, (dtype, array) in tensors.items():
        if dtype == "bfloat16" and bfloat16 == "float32":
            array = (array.astype(np.uint32) << 16).view(np.float32)
        out[name] = array
    return out
