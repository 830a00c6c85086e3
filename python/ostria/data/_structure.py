# SPDX-License-Identifier: Apache-2.0
"""How the arrays of an element are nested: dicts, tuples and named tuples around array leaves.

The C++ pipeline sees flat lists. A list is a leaf (it becomes an array), as in tf.data.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from ostria._errors import at_line


class Structure:
    """A nesting without its leaves. ``kind`` is leaf, tuple, namedtuple or dict."""

    __slots__ = ("children", "cls", "keys", "kind")

    def __init__(
        self,
        kind: str,
        children: Sequence[Structure] = (),
        keys: Sequence[Any] = (),
        cls: Any = None,
    ) -> None:
        self.kind, self.children, self.keys, self.cls = kind, tuple(children), tuple(keys), cls

    @staticmethod
    def of(value: Any) -> Structure:
        """The nesting of ``value``."""
        if isinstance(value, Mapping):
            keys = list(value)
            return Structure("dict", [Structure.of(value[k]) for k in keys], keys)
        if isinstance(value, tuple):
            children = [Structure.of(v) for v in value]
            if hasattr(value, "_fields"):
                return Structure("namedtuple", children, value._fields, type(value))
            return Structure("tuple", children)
        return LEAF

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Structure) or self.kind != other.kind:
            return False
        if self.kind == "dict":  # the order of keys does not matter
            mine = dict(zip(self.keys, self.children, strict=True))
            return mine == dict(zip(other.keys, other.children, strict=True))
        return self.children == other.children and self.cls is other.cls

    __hash__ = None  # type: ignore[assignment]

    def __str__(self) -> str:
        if self.kind == "leaf":
            return "array"
        if self.kind == "tuple":
            inner = ", ".join(map(str, self.children))
            return f"({inner},)" if len(self.children) == 1 else f"({inner})"
        named = zip(self.keys, self.children, strict=True)
        if self.kind == "dict":
            return "{" + ", ".join(f"{k!r}: {c}" for k, c in named) + "}"
        return f"{self.cls.__name__}(" + ", ".join(f"{k}={c}" for k, c in named) + ")"

    def flatten(self, value: Any) -> list[Any]:
        """The leaves of ``value``, which must have this nesting."""
        if self.kind == "leaf":
            return [value]
        parts = [value[k] for k in self.keys] if self.kind == "dict" else value
        return [
            leaf
            for child, part in zip(self.children, parts, strict=True)
            for leaf in child.flatten(part)
        ]

    def pack(self, leaves: Sequence[Any]) -> Any:
        """The opposite of flatten."""
        rest = iter(leaves)
        return self._pack(lambda: next(rest))

    def _pack(self, take: Callable[[], Any]) -> Any:
        if self.kind == "leaf":
            return take()
        parts = [child._pack(take) for child in self.children]
        if self.kind == "dict":
            return dict(zip(self.keys, parts, strict=True))
        return tuple(parts) if self.kind == "tuple" else self.cls(*parts)

    def names(self, prefix: str = "") -> list[str]:
        """One name per leaf for messages: ``'image'``, ``[0]``, ``['a'][1]``."""
        if self.kind == "leaf":
            return [prefix or "the array"]
        keys: Sequence[Any] = self.keys if self.kind == "dict" else range(len(self.children))
        found = []
        for key, child in zip(keys, self.children, strict=True):
            found += child.names(f"{prefix}[{key!r}]")
        return found


LEAF = Structure("leaf")


def to_leaf(value: Any, where: str) -> np.ndarray[Any, Any]:
    """``value`` as a C-contiguous array.

    Arrays keep their dtype; of Python numbers and lists, floats become float32 and integers int64.

    Raises:
      TypeError: ``value`` is no array and no nested list of numbers.
      ValueError: a nested list whose rows differ in length.
    """
    if isinstance(value, np.ndarray | np.generic):
        array = np.asarray(value)
    else:
        try:
            array = np.asarray(value)
        except ValueError as error:
            raise ValueError(
                at_line(
                    f"{where}: a nested list does not make an array ({error}); make its rows "
                    "equally "
                    "long, or group several arrays in a tuple or a dict"
                )
            ) from None
        if array.dtype == np.float64 and not hasattr(value, "dtype"):
            array = array.astype(np.float32)
    if array.dtype.kind in "OUSMmc" or array.dtype.names is not None:
        raise TypeError(
            at_line(
                f"{where}: {type(value).__name__} of dtype {array.dtype} cannot be an element; "
                "accepted are bool, integer and float arrays, numbers, lists of them, and tuples "
                "and "
                "dicts of these"
            )
        )
    return np.ascontiguousarray(array) if array.ndim else array
