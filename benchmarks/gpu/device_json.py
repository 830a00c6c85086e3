# SPDX-License-Identifier: Apache-2.0
"""The properties of a device as cuDNN writes them, for plans where there is no device."""

from __future__ import annotations

import ctypes
import json
from typing import Any

from benchmarks.gpu.native import call, library

_DEVICE_PROPERTIES = 38  # CUDNN_BACKEND_DEVICEPROP_DESCRIPTOR
_DEVICE_ID, _JSON = 2700, 2702
_CHAR, _INT32 = 24, 23  # CUDNN_TYPE_*


def describe(given: str | None = None) -> dict[str, Any]:
    """Those of the first device, or `given` (JSON) as the library reads and writes it."""
    library("libcuda.so.1")
    cudnn = library("libcudnn.so.9")
    descriptor = ctypes.c_void_p()
    call(cudnn, "cudnnBackendCreateDescriptor", _DEVICE_PROPERTIES, ctypes.byref(descriptor))
    if given is None:
        device = ctypes.c_int32(0)
        set_to = (_DEVICE_ID, _INT32, ctypes.c_int64(1), ctypes.byref(device))
    else:
        text = given.encode()
        set_to = (_JSON, _CHAR, ctypes.c_int64(len(text) + 1), ctypes.c_char_p(text))
    call(cudnn, "cudnnBackendSetAttribute", descriptor, *set_to)
    call(cudnn, "cudnnBackendFinalize", descriptor)
    size = ctypes.c_int64(0)
    ask = (descriptor, _JSON, _CHAR)
    call(cudnn, "cudnnBackendGetAttribute", *ask, ctypes.c_int64(0), ctypes.byref(size), None)
    buffer = ctypes.create_string_buffer(size.value + 1)
    call(cudnn, "cudnnBackendGetAttribute", *ask, size, ctypes.byref(size), buffer)
    call(cudnn, "cudnnBackendDestroyDescriptor", descriptor)
    found: dict[str, Any] = json.loads(buffer.value.decode())
    return found
