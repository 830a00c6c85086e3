# SPDX-License-Identifier: Apache-2.0
"""Ostria: a deep learning framework on a C++ graph executor.

Array API names at top level; `ost.compile`, `ost.grad`, `ost.nn`, `ost.optim`, `ost.losses`,
`ost.metrics`, `ost.data`, `ost.estimator`, `ost.distribute` and `ost.io` are imported when first
used.
"""

from __future__ import annotations

import importlib as _importlib
import os as _os
import sys as _sys
from typing import Any as _Any

from ostria import _native
from ostria._version import __version__

_native.set_own_folders(
    _os.path.dirname(_os.path.abspath(__file__)), _os.path.dirname(_os.path.abspath(_os.__file__))
)
_native.set_wheel_folders([p for p in _sys.path if p.endswith(("site-packages", "dist-packages"))])

from ostria._array_api import *
from ostria._attention import attention
from ostria._autodiff import GradientTape, custom_gradient, grad, gradients, value_and_grad
from ostria._checkpoint import checkpoint
from ostria._compile import CompiledFunction, compile, debug
from ostria._device import *
from ostria._einsum import *
from ostria._control import cond, scan, while_loop
from ostria._functions import *
from ostria._indexing import split
from ostria._memory import *
from ostria._native import (
    DataCorruptionError,
    DeviceUnavailableError,
    DistributedError,
    DType,
    NonFiniteError,
    OutOfMemoryError,
    PeerFailedError,
    SymInt,
    Tensor,
    Variable,
    dtype,
    dtypes,
    from_dlpack,
)
from ostria._plan import PlanReport
from ostria._reductions import *
from ostria._sorting import *
from ostria._tensor import install as _install

bool = bool_ = _native.bool_
int8, int16, int32, int64 = _native.int8, _native.int16, _native.int32, _native.int64
uint8, uint16, uint32, uint64 = _native.uint8, _native.uint16, _native.uint32, _native.uint64
float16, bfloat16 = _native.float16, _native.bfloat16
float32, float64 = _native.float32, _native.float64

# Every op that needs no sugar is a function as it is registered.
for _name in _native.public_ops:
    if _name not in globals():
        globals()[_name] = getattr(_native.ops, _name)
_install()

_SUBMODULES = (
    "nn",
    "optim",
    "losses",
    "metrics",
    "data",
    "estimator",
    "io",
    "random",
    "diagnose",
    "distribute",
    "train",
    "distribute",
    "mixed_precision",
)


def __getattr__(name: str) -> _Any:
    if name in _SUBMODULES:
        return _importlib.import_module(f"ostria.{name}")
    raise AttributeError(f"module 'ostria' has no attribute '{name}'")


def __dir__() -> list[str]:
    hidden = {"annotations"}
    return sorted({n for n in globals() if n not in hidden} | set(_SUBMODULES))
