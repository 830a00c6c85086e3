# SPDX-License-Identifier: Apache-2.0
"""Nested structures of tensors: dict, list, tuple, named tuple; anything else is a leaf."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ostria._errors import at_line

_Structure = (
    Any  # hashable description: ("leaf",) | ("tuple", cls, children) | ("dict", keys, children)
)
LEAF = ("leaf",)


def flatten(tree: Any) -> tuple[list[Any], _Structure]:
    """Leaves in order, and the structure that `unflatten` needs. Dicts are visited in key order.

    Raises:
        TypeError: a dict has keys that cannot be ordered.
    """
    leaves: list[Any] = []
    return leaves, _flatten_into(tree, leaves)


def _flatten_into(tree: Any, leaves: list[Any]) -> _Structure:
    if (
        type(tree) is tuple
        or type(tree) is list
        or (isinstance(tree, tuple) and hasattr(tree, "_fields"))
    ):
        return ("tuple", type(tree), tuple(_flatten_into(item, leaves) for item in tree))
    if isinstance(tree, dict):
        try:
            keys = sorted(tree)
        except TypeError:
            kinds = sorted({type(key).__name__ for key in tree})
            raise TypeError(
                at_line(
                    f"a dict with keys of types {', '.join(kinds)} has no order to take its "
                    "tensors "
                    "in; give it keys of one type"
                )
            ) from None
        return ("dict", tuple(keys), tuple(_flatten_into(tree[k], leaves) for k in keys))
    if tree is None:
        return ("none",)
    leaves.append(tree)
    return LEAF


def places(structure: _Structure, outer: str = "") -> list[str]:
    """How Python reaches each leaf: `['a'][0]`, `.field`; in the order of `flatten`."""
    kind = structure[0]
    if kind == "leaf":
        return [outer]
    if kind == "none":
        return []
    if kind == "dict":
        steps = [f"[{key!r}]" for key in structure[1]]
    else:
        fields = getattr(structure[1], "_fields", None)
        steps = (
            [f".{f}" for f in fields] if fields else [f"[{i}]" for i in range(len(structure[2]))]
        )
    return [
        place
        for step, child in zip(steps, structure[2], strict=True)
        for place in places(child, outer + step)
    ]


def unflatten(structure: _Structure, leaves: list[Any]) -> Any:
    """The inverse of `flatten`."""
    iterator = iter(leaves)
    return _build(structure, iterator)


def _build(structure: _Structure, leaves: Any) -> Any:
    kind = structure[0]
    if kind == "leaf":
        return next(leaves)
    if kind == "none":
        return None
    if kind == "dict":
        return {
            k: _build(child, leaves) for k, child in zip(structure[1], structure[2], strict=True)
        }
    items = [_build(child, leaves) for child in structure[2]]
    cls = structure[1]
    return cls(*items) if hasattr(cls, "_fields") else cls(items)


def map_structure(fn: Callable[[Any], Any], tree: Any) -> Any:
    """The same structure with `fn` applied to every leaf."""
    leaves, structure = flatten(tree)
    return unflatten(structure, [fn(leaf) for leaf in leaves])
