# SPDX-License-Identifier: Apache-2.0
"""Windows of convolutions and pools: sizes as users give them, padding as the ops take it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ostria._checks import is_int
from ostria._errors import at_line

AXES = {1: "length", 2: "height, width", 3: "depth, height, width"}
IMAGES = {dims: f"[batch, {axes}, channels]" for dims, axes in AXES.items()}
_TUPLES = {1: "a tuple of one", 2: "a pair of them", 3: "three of them"}
_PADDING = {
    1: "two numbers (first, last)",
    2: "four numbers (top, bottom, left, right)",
    3: "six numbers (front, back, top, bottom, left, right)",
}


def sizes(value: Any, dims: int, what: str, least: int = 1) -> tuple[int, ...]:
    """One integer per spatial axis, of one for all or a tuple."""
    if is_int(value):
        items: tuple[Any, ...] = (value,) * dims
    else:
        items = tuple(value) if isinstance(value, (list, tuple)) else ()
    if len(items) != dims or any(not is_int(i) or i < least for i in items):
        kind = "a positive integer" if least == 1 else f"an integer of at least {least}"
        raise ValueError(
            at_line(f"{what} {value!r} is not accepted; give {kind} or {_TUPLES[dims]}")
        )
    return tuple(int(i) for i in items)


def pairs(value: Any, dims: int, what: str) -> tuple[tuple[int, int], ...]:
    """(before, after) per spatial axis, of Keras's three spellings."""
    if is_int(value):
        value = (value,) * dims
    elif dims == 1 and isinstance(value, (list, tuple)) and len(value) == 2:
        value = (value,)
    items = []
    for item in value if isinstance(value, (list, tuple)) else ():
        pair = (item, item) if is_int(item) else item
        if isinstance(pair, (list, tuple)) and len(pair) == 2:
            items += [(i, n) for i, n in [pair] if is_int(i) and is_int(n) and min(i, n) >= 0]
    if len(items) != dims or len(value) != dims:
        raise ValueError(
            at_line(
                f"{what} {value!r} is not accepted; give an integer of at least 0, one per axis "
                f"({AXES[dims]}), or a pair (before, after) per axis"
            )
        )
    return tuple(items)


def known_sizes(x_shape: Sequence[Any], what: str) -> tuple[int, ...]:
    """The spatial sizes of an image's shape, which must be known."""
    inside = tuple(x_shape[1:-1])
    if not all(isinstance(size, int) for size in inside):
        names = AXES[len(inside)].replace(", ", " and ")
        raise ValueError(at_line(f"{what} needs a known {names}, but the input is {list(x_shape)}"))
    return inside


def resolve_padding(
    padding: Any,
    x_shape: Sequence[Any],
    window: Sequence[int],
    strides: Sequence[int],
    dilation: Sequence[int] | None = None,
) -> list[int]:
    """Zeros before and after, per axis, for 'valid', 'same' (as TensorFlow) or given numbers."""
    dims = len(window)
    if isinstance(padding, (list, tuple)):
        return [int(p) for p in padding]
    kind = padding.lower() if isinstance(padding, str) else padding
    if kind == "valid":
        return [0, 0] * dims
    if kind != "same":
        raise ValueError(
            at_line(
                f"padding {padding!r} is not known; accepted are 'valid', 'same', or "
                f"{_PADDING[dims]}"
            )
        )
    out = []
    for axis, size in enumerate(known_sizes(x_shape, "padding 'same'")):
        reach = reach_of(window, dilation, axis)
        total = max((-(-size // strides[axis]) - 1) * strides[axis] + reach - size, 0)
        out += [total // 2, total - total // 2]
    return out


def reach_of(window: Sequence[int], dilation: Sequence[int] | None, axis: int) -> int:
    """How many elements a window covers, gaps of its dilation too."""
    return (window[axis] - 1) * (dilation[axis] if dilation else 1) + 1


def transpose_padding(
    padding: str,
    window: Sequence[int],
    strides: Sequence[int],
    dilation: Sequence[int],
    output_padding: Sequence[int] | None,
) -> tuple[list[int], list[int]]:
    """(padding, output padding) of the ops that give the sizes of Keras's transposed layers.

    Without `output_padding` the result of 'same' is `stride` times as large as the input, and that
    of 'valid' is the largest from which a convolution would give the input.
    """
    same = padding.lower() == "same"
    around, more = [], []
    for axis, stride in enumerate(strides):
        reach = reach_of(window, dilation, axis)
        if output_padding is not None:
            cut = (reach // 2 * 2 if same else 0) - output_padding[axis]
        else:
            cut = reach - stride if same else min(reach - stride, 0)
        around += [max(cut, 0) // 2, max(cut, 0) - max(cut, 0) // 2]
        more.append(max(-cut, 0))
    return around, more
