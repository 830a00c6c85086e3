# SPDX-License-Identifier: Apache-2.0
"""NumPy arrays to and from what `ostria._native.io` takes and gives."""

from __future__ import annotations

import functools
import importlib
import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal

from ostria._errors import add_line, at_line

if TYPE_CHECKING:
    import numpy as np

#: A path as `open` takes it.
PathLike = str | os.PathLike[str]
#: How bfloat16, which NumPy lacks, is handed out: widened (exactly) or as its 16 bits.
BFloat16As = Literal["float32", "bits"]


class _Edge:
    """A part of the extension whose errors end with the user's line, those about files too.

    The core leaves that line out where a file is at fault, as it may run without Python.
    """

    def __init__(self, target: Any) -> None:
        self._target = target

    def __getattr__(self, name: str) -> Any:
        member = getattr(self._target, name)
        if not callable(member):
            return member

        def call(*args: Any) -> Any:
            try:
                result = member(*args)
            except (OSError, ValueError, TypeError) as error:
                add_line(error)
                raise
            return _Edge(result) if isinstance(member, type) else result

        self.__dict__[name] = call  # the next time without a detour
        return call


@functools.cache
def native() -> Any:
    """The extension's `io` module, loaded on first use."""
    return _Edge(importlib.import_module("ostria._native").io)


def to_path(path: PathLike) -> str:
    """``path`` as text.

    Raises:
      TypeError: it is no path.
    """
    if not isinstance(path, (str, os.PathLike)):
        kind = type(path).__name__
        raise TypeError(at_line(f"io: {path!r} ({kind}) is no path; give a str or a pathlib.Path"))
    return os.fspath(path)


def to_native(tensors: Mapping[str, Any]) -> dict[str, Any]:
    """C-contiguous, native-endian arrays; pairs (uint16 array, "bfloat16") pass through."""
    import numpy as np

    from ostria import _native

    out: dict[str, Any] = {}
    for name, value in tensors.items():
        if isinstance(value, tuple):
            out[name] = value
            continue
        if isinstance(value, (_native.Tensor, _native.Variable)) and (
            value.dtype == _native.bfloat16
        ):
            out[name] = bfloat16_pair(value)
            continue
        array = np.asarray(value, order="C")  # unlike ascontiguousarray, keeps rank 0
        if array.dtype.name == "bfloat16":  # ml_dtypes
            out[name] = (array.view(np.uint16), "bfloat16")
        else:
            out[name] = array.astype(array.dtype.newbyteorder("="), copy=False)
    return out


def bfloat16_pair(x: Any) -> tuple[np.ndarray, str]:
    """(bits, "bfloat16") of a bfloat16 Tensor or Variable, NaN payloads included."""
    import numpy as np

    from ostria import _native

    # Widening to float32 is exact, and its upper half are the bits.
    wide = _native.ops.cast(x, _native.float32).numpy()
    return np.asarray(wide.view(np.uint32) >> 16, np.uint16), "bfloat16"


def from_native(
    tensors: Mapping[str, tuple[str, np.ndarray]], bfloat16: BFloat16As
) -> dict[str, np.ndarray]:
    """Plain arrays of (dtype name, array) pairs."""
    if bfloat16 not in ("float32", "bits"):
        raise ValueError(
            at_line(f"load: bfloat16={bfloat16!r} is unknown; accepted are 'float32' and 'bits'")
        )
    import numpy as np

    out: dict[str, np.ndarray] = {}
    for name, (dtype, array) in tensors.items():
        if dtype == "bfloat16" and bfloat16 == "float32":
            array = (array.astype(np.uint32) << 16).view(np.float32)
        out[name] = array
    return out
