# SPDX-License-Identifier: Apache-2.0
"""Fashion-MNIST: 70,000 images of clothes, 28 x 28 grey pixels, ten classes (Xiao et al. 2017).

Read from the four published files, whose sizes and SHA-256 sums are checked after unpacking;
nothing is downloaded.
"""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import Any

import numpy as np

from ostria._errors import at_line

CLASS_NAMES = (
    "T-shirt/top", "Trouser", "Pullover", "Dress", "Coat",
    "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot",
)  # fmt: skip

SYSTEM_FOLDER = Path("/usr/share/datasets/fashion-mnist")  # Debian's package

# name -> (shape, SHA-256 of the unpacked file). The packed bytes differ between distributors.
FILES: dict[str, tuple[tuple[int, ...], str]] = {
    "train-images-idx3-ubyte.gz": (
        (60000, 28, 28),
        "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
    ),
    "train-labels-idx1-ubyte.gz": (
        (60000,),
        "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
    ),
    "t10k-images-idx3-ubyte.gz": (
        (10000, 28, 28),
        "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
    ),
    "t10k-labels-idx1-ubyte.gz": (
        (10000,),
        "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
    ),
}

Array = np.ndarray[Any, Any]


def fashion_mnist(
    path: str | os.PathLike[str] | None = None,
) -> tuple[tuple[Array, Array], tuple[Array, Array]]:
    """Reads Fashion-MNIST.

    Args:
      path: the folder with the four files. Without it these are tried: ``$OSTRIA_DATA_DIR`` and its
        subfolder ``fashion-mnist``, the system's folder, ``~/.ostria/fashion-mnist``.

    Returns:
      ``((x_train, y_train), (x_test, y_test))``: uint8 images [60000, 28, 28, 1] and
      [10000, 28, 28, 1], int64 labels [60000] and [10000] that index ``FASHION_MNIST_CLASSES``.

    Raises:
      FileNotFoundError: no folder holds all four files; says which are missing where.
      ValueError: a file has the wrong size or checksum.
    """
    folder = _find(path)
    x_train, y_train, x_test, y_test = [_read(folder / name) for name in FILES]
    return (
        (x_train[..., np.newaxis], y_train.astype(np.int64)),
        (x_test[..., np.newaxis], y_test.astype(np.int64)),
    )


def _folders(path: str | os.PathLike[str] | None) -> list[Path]:
    if path is not None:
        return [Path(path).expanduser()]
    folders = []
    if own := os.environ.get("OSTRIA_DATA_DIR"):
        folders += [Path(own).expanduser(), Path(own).expanduser() / "fashion-mnist"]
    return [*folders, SYSTEM_FOLDER, Path("~/.ostria/fashion-mnist").expanduser()]


def _find(path: str | os.PathLike[str] | None) -> Path:
    tried = []
    for folder in _folders(path):
        missing = [name for name in FILES if not (folder / name).is_file()]
        if not missing:
            return folder
        if not folder.is_dir():
            tried.append(f"{folder}: no such folder")
        else:
            tried.append(f"{folder}: lacks {', '.join(missing)}")
    raise FileNotFoundError(
        at_line(
            "fashion_mnist: the data files were not found. Looked in\n  "
            + "\n  ".join(tried)
            + "\nOn Debian or Ubuntu: apt-get install dataset-fashion-mnist. Elsewhere put the "
            f"four files ({', '.join(FILES)}) into a folder and pass it as path= or set "
            "OSTRIA_DATA_DIR."
        )
    )


def _read(file: Path) -> Array:
    import gzip
    import hashlib
    import zlib

    shape, checksum = FILES[file.name]
    again = "the file is incomplete or another one; install it again"
    try:
        raw = gzip.decompress(file.read_bytes())
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise ValueError(
            at_line(f"fashion_mnist: {file} cannot be unpacked ({error}); {again}")
        ) from None
    # idx: 0, 0, 8 (uint8), rank; sizes as big-endian 32-bit integers; the values.
    offset = 4 + 4 * len(shape)
    size = offset + math.prod(shape)
    if len(raw) != size:
        raise ValueError(
            at_line(f"fashion_mnist: {file} unpacks to {len(raw)} bytes instead of {size}; {again}")
        )
    found = hashlib.sha256(raw).hexdigest()
    if found != checksum:
        raise ValueError(
            at_line(
                f"fashion_mnist: {file} is damaged: its content has SHA-256 {found} instead of "
                f"{checksum}; {again}"
            )
        )
    return np.frombuffer(raw, np.uint8, offset=offset).reshape(shape)
