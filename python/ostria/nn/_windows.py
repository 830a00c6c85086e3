# SPDX-License-Identifier: Apache-2.0
"""Windows of convolutions and pools: sizes as users give them, padding as the ops take it."""

from __future__ import annotations

from typing import Any

from ostria._errors import at_line


def pair(value: Any, what: str) -> tuple[int, int]:
    """(height, width) of an int or a pair."""
    items = (value, value) if isinstance(value, int) else tuple(value)
    if len(items) != 2 or any(not isinstance(i, int) or i < 1 for i in items):
        raise ValueError(
            at_line(f"{what} {value!r} is not accepted; give a positive integer or a pair of them")
        )
    return items


def resolve_padding(
    padding: Any,
    x_shape: tuple[Any, ...],
    window: tuple[int, int],
    strides: tuple[int, int],
    dilation: tuple[int, int] = (1, 1),
) -> list[int]:
    """(top, bottom, left, right) for 'valid', 'same' (as TensorFlow) or given numbers."""
    if isinstance(padding, (list, tuple)):
        return [int(p) for p in padding]
    kind = padding.lower() if isinstance(padding, str) else padding
    if kind == "valid":
        return [0, 0, 0, 0]
    if kind != "same":
        raise ValueError(
            at_line(
                f"padding {padding!r} is not known; accepted are 'valid', 'same', or four numbers "
                "(top, bottom, left, right)"
            )
        )
    out = []
    for axis in (0, 1):
        size = x_shape[1 + axis]
        if not isinstance(size, int):
            raise ValueError(
                at_line(
                    "padding 'same' needs a known height and width, but the input is "
                    f"{list(x_shape)}"
                )
            )
        reach = (window[axis] - 1) * dilation[axis] + 1
        total = max((-(-size // strides[axis]) - 1) * strides[axis] + reach - size, 0)
        out += [total // 2, total - total // 2]
    return out
