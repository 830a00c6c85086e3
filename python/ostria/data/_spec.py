# SPDX-License-Identifier: Apache-2.0
"""TensorSpec: the shape and dtype that one component of a dataset's elements has."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ostria._errors import at_line


class TensorSpec:
    """Shape and dtype of a component.

    Args:
      shape: sizes, None for those that differ between elements; None alone for any shape.
      dtype: anything that ``np.dtype`` takes, or an ostria dtype.
      name: for the reader only.
    """

    __slots__ = ("dtype", "name", "shape")

    def __init__(
        self, shape: Sequence[int | None] | None, dtype: Any = np.float32, name: str | None = None
    ) -> None:
        self.shape = None if shape is None else tuple(shape)
        for size in self.shape or ():
            if size is not None and (not isinstance(size, int | np.integer) or size < 0):
                raise ValueError(
                    at_line(
                        f"TensorSpec: size {size!r} in shape {self.shape}; sizes are integers of "
                        "at "
                        "least 0, or None for a size that differs between elements"
                    )
                )
        self.dtype = np.dtype(getattr(dtype, "name", dtype))
        self.name = name

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, TensorSpec)
            and self.shape == other.shape
            and self.dtype == other.dtype
        )

    def __hash__(self) -> int:
        return hash((self.shape, self.dtype))

    def __repr__(self) -> str:
        return f"TensorSpec(shape={self.shape}, dtype={self.dtype})"
