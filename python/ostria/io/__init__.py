# SPDX-License-Identifier: Apache-2.0
"""Files: tensors in the safetensors layout, checkpoints, TensorBoard events, TFRecords.

Every reader checks what it reads: a damaged or hostile file raises `DataCorruptionError` (a
ValueError) that names the file and the byte, and nothing is ever executed or unpickled.
"""

from __future__ import annotations

from ostria.io._checkpoints import (
    Checkpoint,
    latest_checkpoint,
    list_checkpoints,
    load_checkpoint,
    load_latest_checkpoint,
    save_checkpoint,
)
from ostria.io._events import EventWriter, read_events
from ostria.io._records import RecordReader, RecordWriter
from ostria.io._tensors import load_tensors, read_metadata, save_tensors

__all__ = [
    "Checkpoint",
    "EventWriter",
    "RecordReader",
    "RecordWriter",
    "latest_checkpoint",
    "list_checkpoints",
    "load_checkpoint",
    "load_latest_checkpoint",
    "load_tensors",
    "read_events",
    "read_metadata",
    "save_checkpoint",
    "save_tensors",
]
