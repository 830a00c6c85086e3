# SPDX-License-Identifier: Apache-2.0
"""TFRecord files: sequences of byte strings with checksums."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import Any

from ostria._errors import at_line
from ostria.io._bridge import PathLike, native, to_path


class RecordWriter:
    """Writes a TFRecord file; a context manager.

    Args:
        path: the file; replaced unless `append`.
        append: go on at the end of an existing file.

    Raises:
        OSError: the file cannot be written.

    Example:
        >>> import os, tempfile
        >>> path = os.path.join(tempfile.mkdtemp(), "data.tfrecord")
        >>> with RecordWriter(path) as records:
        ...     records.write(b"hello")
        >>> list(RecordReader(path))
        [b'hello']
    """

    def __init__(self, path: PathLike, *, append: bool = False) -> None:
        self._native = native().RecordWriter(to_path(path), append)

    def write(self, record: bytes) -> None:
        """Append one record."""
        self._native.write(record)

    def flush(self) -> None:
        """Make what was written visible to readers."""
        self._native.flush()

    def close(self) -> None:
        """Flush and close; a second call does nothing."""
        self._native.close()

    def __enter__(self) -> RecordWriter:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class RecordReader:
    """Iterates over the records (bytes) of a TFRecord file; a context manager.

    Args:
        path: the file.
        on_damage: where a checksum does not fit or the file ends inside a record: "raise", or
            "skip", which goes on at the next record that is whole, with a RuntimeWarning for each
            damaged place. All that read the file see the same records.

    Raises:
        DataCorruptionError: the file is damaged; names file, byte and number of the record, which
            counts from 0.
        OSError: the file cannot be read.
        ValueError: `on_damage` is something else.
    """

    def __init__(self, path: PathLike, *, on_damage: str = "raise") -> None:
        if on_damage not in ("raise", "skip"):
            raise ValueError(
                at_line(
                    f"RecordReader: on_damage {on_damage!r} is unknown; accepted are 'raise' and "
                    "'skip'"
                )
            )
        self._native: Any = native().RecordReader(to_path(path), False, on_damage == "skip")
        self._skipped = 0

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        reader = self._open()
        record: bytes | None = reader.read()
        if self._skipped != reader.num_skipped:
            count, self._skipped = reader.num_skipped - self._skipped, reader.num_skipped
            places = "left out" if count == 1 else f"left out {count} places, the last of them"
            warnings.warn(f"{places}: {reader.skipped}", RuntimeWarning, stacklevel=2)
        if record is None:
            raise StopIteration
        return record

    @property
    def num_skipped(self) -> int:
        """Damaged places that were left out so far (`on_damage="skip"`): a record each, or several
        in a row where their lengths are lost too."""
        return self._skipped

    @property
    def offset(self) -> int:
        """Where the next record starts, in bytes; `seek` comes back to it."""
        return int(self._open().offset)

    def seek(self, offset: int) -> None:
        """Go to a record's start."""
        self._open().seek(offset)

    def close(self) -> None:
        """Close the file; a second call does nothing."""
        self._native = None

    def _open(self) -> Any:
        if self._native is None:
            raise ValueError(
                at_line(
                    "RecordReader: this reader is closed; open the file anew with "
                    "RecordReader(path)"
                )
            )
        return self._native

    def __enter__(self) -> RecordReader:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
