# SPDX-License-Identifier: Apache-2.0
"""The memory of tensors on this host: what is in use, and what waits to be used again."""

from __future__ import annotations

from ostria import _native

__all__ = ["empty_cache", "memory_stats"]


def empty_cache() -> int:
    """Gives memory of freed tensors back to the system; returns how many bytes.

    Freed blocks above 64 KiB wait for the next tensor of their size, since the system clears every
    page that it hands out. Tensors and waiting blocks together never take more than tensors alone
    did at their peak, or 256 MiB; `OSTRIA_CACHE_MB` in the environment lets fewer wait, 0 none.

    >>> import ostria as ost
    >>> x = ost.zeros((1024, 1024)) + 1
    >>> del x
    >>> ost.empty_cache() >= 1024 * 1024 * 4
    True
    """
    return _native.empty_cache()


def memory_stats() -> dict[str, int]:
    """Bytes of tensors above 64 KiB: `in_use`, the `peak` of that, and those that are `cached`.

    The peak counts from the start or the last `empty_cache`. Variables and the memory that compiled
    functions work in are not part of it.

    >>> import ostria as ost
    >>> before = ost.memory_stats()["in_use"]
    >>> x = ost.zeros((1024, 1024)) + 1
    >>> ost.memory_stats()["in_use"] - before
    4194304
    """
    return _native.memory_stats()
