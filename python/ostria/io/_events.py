# SPDX-License-Identifier: Apache-2.0
"""TensorBoard event files."""

from __future__ import annotations

from typing import Any

from ostria._errors import at_line
from ostria.io._bridge import PathLike, native, to_path


class EventWriter:
    """Writes scalars and histograms that TensorBoard shows; a context manager.

    What is written reaches the system after 120 seconds, on `flush` and on `close`.

    Args:
        directory: made when missing; the file's name holds time, host and process.
        suffix: ends the file's name.

    Raises:
        OSError: the file cannot be written.

    Example:
        >>> import tempfile
        >>> directory = tempfile.mkdtemp()
        >>> with EventWriter(directory) as events:
        ...     events.scalar("loss", 0.5, step=10)
        >>> read_events(directory)
        {10: {'loss': 0.5}}
    """

    def __init__(self, directory: PathLike, suffix: str = "") -> None:
        self._native = native().EventWriter(to_path(directory), suffix)

    @property
    def path(self) -> str:
        """The file."""
        return str(self._native.path)

    def scalar(self, tag: str, value: float, step: int) -> None:
        """Write one number (stored as float32) for a step."""
        try:
            number = float(value)
        except (TypeError, ValueError):
            raise TypeError(
                at_line(
                    f"EventWriter.scalar: the value of {tag!r} is {value!r}, which is not one "
                    "number; give a float or a tensor of one element, and arrays to histogram()"
                )
            ) from None
        self._native.scalar(tag, number, int(step))

    def histogram(self, tag: str, values: Any, step: int, buckets: int = 30) -> None:
        """Write how an array of any shape is distributed; non-finite values are left out."""
        self._native.histogram(tag, values, int(step), buckets)

    def flush(self) -> None:
        """Make what was written visible to readers."""
        self._native.flush()

    def close(self) -> None:
        """Flush and close; a second call does nothing."""
        self._native.close()

    def __enter__(self) -> EventWriter:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def read_events(path: PathLike) -> dict[int, dict[str, float]]:
    """The scalars of an event file, or of all event files of a directory: step to tag to value.

    Reads what any TensorBoard writer wrote, also while it is writing.

    Raises:
        DataCorruptionError: a record is damaged; names the file and the byte.
        OSError: the path does not exist or cannot be read.
    """
    scalars: dict[int, dict[str, float]] = native().read_scalars(to_path(path))
    return scalars
