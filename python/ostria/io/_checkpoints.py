# SPDX-License-Identifier: Apache-2.0
"""Checkpoint directories: complete or absent, checked when read, the newest good one wins."""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ostria.io._bridge import BFloat16As, PathLike, from_native, native, to_native, to_path

if TYPE_CHECKING:
    import numpy as np


@dataclasses.dataclass(frozen=True)
class Checkpoint:
    """What a checkpoint holds.

    Attributes:
        path: its directory.
        step: the global step it was taken at.
        tensors: name to array.
        dtypes: name to dtype as stored; "bfloat16" where the array was widened.
        blobs: name to bytes (iterator state and the like).
        metadata: text for people and tools.
    """

    path: str
    step: int
    tensors: dict[str, np.ndarray]
    dtypes: dict[str, str]
    blobs: dict[str, bytes]
    metadata: dict[str, str]


def _wrap(path: str, raw: tuple[Any, Any, Any, Any], bfloat16: BFloat16As) -> Checkpoint:
    step, tensors, blobs, metadata = raw
    return Checkpoint(
        path=path,
        step=step,
        tensors=from_native(tensors, bfloat16),
        dtypes={name: dtype for name, (dtype, _) in tensors.items()},
        blobs=dict(blobs),
        metadata=dict(metadata),
    )


def _warn(messages: list[str]) -> None:
    for message in messages:
        warnings.warn(message, RuntimeWarning, stacklevel=3)


def save_checkpoint(
    directory: PathLike,
    step: int,
    tensors: Mapping[str, Any],
    *,
    blobs: Mapping[str, bytes | str] | None = None,
    metadata: Mapping[str, str] | None = None,
    keep_max: int | None = 5,
    keep_every_n_hours: float = 10000,
) -> str:
    """Save `<directory>/ckpt-<step>` and prune old ones; return its path.

    A process that is killed at any point leaves complete checkpoints only. A checkpoint that holds
    a file named `keep` is never pruned. Checkpoints of later steps, left by a run that was rewound,
    are renamed to `superseded-...` with a warning.

    Args:
        directory: made when missing; one process at a time writes to it.
        step: the global step, 0 or more.
        tensors: name to array, as `save_tensors` takes them.
        blobs: small texts or bytes.
        metadata: text for people and tools.
        keep_max: how many of the newest stay; 0 or None keeps all.
        keep_every_n_hours: besides those, one per this many hours stays.

    Raises:
        OSError: it cannot be written, e.g. the disk is full; the checkpoints before are intact.
        ValueError, TypeError: as `save_tensors`.
    """
    path, messages = native().save_checkpoint(
        to_path(directory),
        step,
        to_native(tensors),
        dict(blobs or {}),
        dict(metadata or {}),
        keep_max or 0,
        keep_every_n_hours,
    )
    _warn(messages)
    return str(path)


def load_checkpoint(path: PathLike, *, bfloat16: BFloat16As = "float32") -> Checkpoint:
    """Read one checkpoint and verify every checksum.

    Args:
        path: the checkpoint's directory.
        bfloat16: as in `load_tensors`.

    Raises:
        DataCorruptionError: it is damaged; names the file and the byte.
        OSError: it cannot be read.
    """
    return _wrap(to_path(path), native().load_checkpoint(to_path(path)), bfloat16)


def load_latest_checkpoint(
    directory: PathLike, *, bfloat16: BFloat16As = "float32"
) -> Checkpoint | None:
    """Read the newest checkpoint that is whole, with a RuntimeWarning for each damaged one before.

    Returns None when there is no checkpoint at all.

    Raises:
        DataCorruptionError: there are checkpoints, and all are damaged.
    """
    found, messages = latest_and_messages(directory, bfloat16)
    _warn(messages)
    return found


def latest_and_messages(
    directory: PathLike, bfloat16: BFloat16As = "float32"
) -> tuple[Checkpoint | None, list[str]]:
    """As `load_latest_checkpoint`, which warns of what is told here of each damaged one."""
    found, messages = native().load_latest(to_path(directory))
    return None if found is None else _wrap(found[0], found[1], bfloat16), list(messages)


def list_checkpoints(directory: PathLike) -> list[tuple[int, str]]:
    """(step, path) of the checkpoints in a directory, oldest first; reads no content."""
    return [(step, path) for step, path in native().list_checkpoints(to_path(directory))]


def latest_checkpoint(directory: PathLike) -> str | None:
    """Path of the newest checkpoint, or None; does not check that it is whole."""
    found = list_checkpoints(directory)
    return found[-1][1] if found else None
