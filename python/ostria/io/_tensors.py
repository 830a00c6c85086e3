# SPDX-License-Identifier: Apache-2.0
"""Named arrays in one file, in the safetensors layout."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ostria.io._bridge import BFloat16As, PathLike, from_native, native, to_native, to_path

if TYPE_CHECKING:
    import numpy as np


def save_tensors(
    path: PathLike, tensors: Mapping[str, Any], metadata: Mapping[str, str] | None = None
) -> None:
    """Write arrays to a file that safetensors readers take; the same arrays give the same bytes.

    The file is written beside its place and renamed into it: a reader never sees half of it.

    Args:
        path: the file.
        tensors: name to array of bool, integer or float dtype and any shape of rank 0 to 8;
            tensors and Variables too; bfloat16 as a tensor, an ml_dtypes array or a pair
            (uint16 array, "bfloat16").
        metadata: text for the header.

    Raises:
        TypeError: a dtype that the format lacks (complex, object, text).
        ValueError: a name that is reserved or not Unicode text, or a rank above 8.
        OSError: the file cannot be written.

    Example:
        >>> import numpy as np, os, tempfile
        >>> path = os.path.join(tempfile.mkdtemp(), "w.safetensors")
        >>> save_tensors(path, {"w": np.ones((2, 3), np.float32)}, {"note": "ones"})
        >>> load_tensors(path)["w"].shape
        (2, 3)
    """
    target = to_path(path)
    temporary = f"{target}.tmp-{os.getpid()}"
    try:
        native().write_tensor_file(temporary, to_native(tensors), dict(metadata or {}))
        os.replace(temporary, target)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise


def load_tensors(path: PathLike, *, bfloat16: BFloat16As = "float32") -> dict[str, np.ndarray]:
    """Read all arrays of a safetensors file, in the order of their data.

    Args:
        path: the file.
        bfloat16: NumPy has no bfloat16; "float32" widens it exactly, "bits" gives uint16.

    Raises:
        DataCorruptionError: the file is damaged; names the file and the byte.
        OSError: the file cannot be read.
    """
    tensors, _ = native().read_tensor_file(to_path(path))
    return from_native(tensors, bfloat16)


def read_metadata(path: PathLike) -> dict[str, str]:
    """The header's text of a safetensors file; reads no data. Raises as `load_tensors` does."""
    _, metadata = native().read_tensor_file_index(to_path(path))
    return dict(metadata)
