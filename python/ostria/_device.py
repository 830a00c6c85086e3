# SPDX-License-Identifier: Apache-2.0
"""Devices by name: which there are, which one is used where none is named, copies between them.

"cpu" is always there; "cuda:0" and on are the GPUs that the driver shows (CUDA_VISIBLE_DEVICES).
"cuda" is "cuda:0". No device is touched before something is put on it.
"""

from __future__ import annotations

import threading
from typing import Any

import numpy as np

from ostria import _native

__all__ = ["default_device", "device", "devices", "set_default_device", "synchronize", "to_device"]

# Counts changes of the default, so that whoever remembers it sees that it is another one now.
version = 0
_lock = threading.Lock()


def _changed() -> None:
    global version
    with _lock:
        version += 1


def devices() -> list[str]:
    """The devices of this machine, "cpu" first. Without a driver there are no others.

    Example:
        >>> import ostria as ost
        >>> ost.devices()[0]
        'cpu'
    """
    return _native.devices()


def default_device() -> str:
    """Where this thread's tensors, variables and compiled functions go that name no device.

    "cpu", or what OSTRIA_DEVICE says, unless `ost.device` or `set_default_device` chose another.

    Example:
        >>> import ostria as ost
        >>> with ost.device("cpu"):
        ...     print(ost.default_device())
        cpu
    """
    return _native.get_default_device()


def set_default_device(name: str) -> None:
    """Chooses the default device of this thread from now on; see `device` for a block of code.

    Raises:
        ValueError: the name is none of a device.
        DeviceUnavailableError: there is no such device; the message says why.

    Example:
        >>> import ostria as ost
        >>> ost.set_default_device("cpu")
    """
    _native.set_default_device(name)
    _changed()


class device:
    """Context manager: inside, what names no device goes to this one.

    Args:
        name: "cpu", "cuda" or "cuda:1". On "null" nothing is computed and values are undefined:
            models made there take no memory, to be planned (`plan_for`) and not to be run.

    Raises:
        ValueError: the name is none of a device.
        DeviceUnavailableError: there is no such device; the message says why.

    Example:
        >>> import ostria as ost
        >>> with ost.device("cpu"):
        ...     x = ost.zeros((2, 3))
        >>> x.device
        'cpu'
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self._outer: list[str] = []

    def __enter__(self) -> device:
        self._outer.append(_native.get_default_device())
        set_default_device(self.name)
        return self

    def __exit__(self, *exc: object) -> None:
        _native.set_default_device(self._outer.pop())
        _changed()

    def __repr__(self) -> str:
        return f"ost.device({self.name!r})"


def to_device(x: Any, name: str) -> Any:
    """`x` on a device: itself where it lies there already, else a copy.

    Args:
        x: a tensor, or what `ost.asarray` takes.
        name: "cpu", "cuda" or "cuda:1".

    Raises:
        ValueError: the name is none of a device.
        DeviceUnavailableError: there is no such device; the message says why.

    Example:
        >>> import ostria as ost
        >>> ost.to_device(ost.asarray([1.0]), "cpu").device
        'cpu'
    """
    if not isinstance(x, _native.Tensor):
        from ostria._functions import asarray

        x = asarray(x)
    here: Any = x.device
    if here == name or (name == "cuda" and here == "cuda:0"):
        return x
    return _native.to_device(x, name)


def is_on_gpu(obj: Any) -> bool:
    """Whether it is a tensor of another library that lies on a GPU, by DLPack.

    Example:
        >>> import numpy as np
        >>> from ostria._device import is_on_gpu
        >>> is_on_gpu(np.zeros(3)), is_on_gpu(3.0)
        (False, False)
    """
    try:
        if isinstance(obj, (np.ndarray, np.generic, list, tuple)):
            return False
        return bool(obj.__dlpack_device__()[0] == 2)
    except (AttributeError, BufferError, NotImplementedError):  # NumPy may know more of it
        return False


def synchronize(name: str | None = None) -> None:
    """Waits until a device (the default one) has done everything that was asked of it.

    Raises:
        IndexError: a step found bad indices in its data; the message names the op and your line.

    Example:
        >>> import ostria as ost
        >>> ost.synchronize("cpu")
    """
    _native.synchronize(default_device() if name is None else name)
