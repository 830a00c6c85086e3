# SPDX-License-Identifier: Apache-2.0
"""NVIDIA's libraries from Python, without a binding: found, called, and their errors raised."""

from __future__ import annotations

import ctypes
import glob
import os
import sys
from typing import Any


def library(name: str) -> ctypes.CDLL:
    """A library by its file's name: as the loader knows it, in wheels, below CUDA_HOME.

    Raises:
        OSError: it is nowhere; the text lists what was tried.
    """
    tried = []
    patterns = [os.path.join(p, "nvidia", "*", "lib", name) for p in sys.path if p]
    patterns.append(os.path.join(os.environ.get("CUDA_HOME", "/usr/local/cuda"), "lib64", name))
    for path in [name, *(p for pattern in patterns for p in sorted(glob.glob(pattern)))]:
        try:
            return ctypes.CDLL(path)
        except OSError as error:
            tried.append(f"{path}: {error}")
    raise OSError(f"{name} was not found; tried {'; '.join(tried)}")


def call(lib: Any, function: str, *arguments: Any) -> None:
    """Calls what returns 0 where it went well."""
    status = getattr(lib, function)(*arguments)
    if status:
        raise RuntimeError(f"{function} failed with {status}")
