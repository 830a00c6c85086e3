# SPDX-License-Identifier: Apache-2.0
"""Values that replicas hold of one thing, and how they become one value again."""

from __future__ import annotations

import enum
from collections.abc import Callable, Sequence
from typing import Any

from ostria import _functions as F
from ostria import _native, _tree
from ostria._errors import at_line


class ReduceOp(enum.Enum):
    """How values of replicas become one; "sum" and "mean" in any case will do as well."""

    SUM = "sum"
    MEAN = "mean"


def reduce_op(op: Any, what: str) -> ReduceOp:
    """`op` as a ReduceOp.

    Raises:
        ValueError: it is none.
    """
    if isinstance(op, ReduceOp):
        return op
    if isinstance(op, str) and op.lower() in ("sum", "mean"):
        return ReduceOp(op.lower())
    raise ValueError(
        at_line(f"{what}: reduce_op {op!r} is not accepted; give ReduceOp.SUM or ReduceOp.MEAN")
    )


class PerReplica:
    """What the replicas of this process hold of one thing: `values`, in their order.

    An argument of `strategy.run` that is one is split: each replica is given its own value.

    Example:
        >>> import ostria as ost
        >>> ost.distribute.PerReplica([1, 2]).values
        (1, 2)
    """

    def __init__(self, values: Sequence[Any]) -> None:
        self.values = tuple(values)

    def __repr__(self) -> str:
        texts = [f"  {i}: {value!r}" for i, value in enumerate(self.values)]
        return "\n".join(["PerReplica:{", *texts, "}"])


class ValueContext:
    """What `experimental_distribute_values_from_function` tells its function of a replica."""

    def __init__(self, replica_id: int, num_replicas: int) -> None:
        self.replica_id_in_sync_group = replica_id
        self.num_replicas_in_sync = num_replicas

    def __repr__(self) -> str:
        return f"ValueContext({self.replica_id_in_sync_group}, {self.num_replicas_in_sync})"


def regroup(values: Sequence[Any], what: str) -> Any:
    """One structure whose leaves are PerReplica; the value itself where there is one replica.

    Raises:
        ValueError: the structures differ.
    """
    if len(values) == 1:
        return values[0]
    leaves, structure = _tree.flatten(values[0])
    columns = [leaves]
    for i, value in enumerate(values[1:], 1):
        more, other = _tree.flatten(value)
        if other != structure:
            raise ValueError(
                at_line(
                    f"{what}: replica 0 has {describe(values[0])}, replica {i} "
                    f"{describe(value)}; all replicas must have one structure"
                )
            )
        columns.append(more)
    merged = [PerReplica(column) for column in zip(*columns, strict=True)]
    return _tree.unflatten(structure, merged)


def describe(tree: Any) -> str:
    """The structure of a value in short: `(leaf, {'a': leaf})`."""
    return str(_tree.map_structure(lambda leaf: _Leaf(), tree))


class _Leaf:
    def __repr__(self) -> str:
        return "leaf"


def local(value: Any, replicas: int) -> tuple[Any, ...]:
    """The value of each replica of this process, of a structure that may hold PerReplica leaves."""
    leaves, structure = _tree.flatten(value)
    if not any(isinstance(leaf, PerReplica) for leaf in leaves):
        return (value,)
    return tuple(
        _tree.unflatten(
            structure, [x.values[i] if isinstance(x, PerReplica) else x for x in leaves]
        )
        for i in range(replicas)
    )


def joined(value: Any, replicas: int, what: str, join: Callable[[list[Any]], Any]) -> Any:
    """`join` of every leaf's tensors of all replicas.

    Raises:
        ValueError: a leaf has values of another number of replicas.
    """

    def one(leaf: Any) -> Any:
        values = leaf.values if isinstance(leaf, PerReplica) else (leaf,) * replicas
        if len(values) != replicas:
            raise ValueError(
                at_line(
                    f"{what}: the value has parts of {len(values)} replicas, but the strategy has "
                    f"{replicas} in this process; give what strategy.run returned"
                )
            )
        return join([x if isinstance(x, _native.Tensor) else F.asarray(x) for x in values])

    return _tree.map_structure(one, value)


def as_float(x: Any, dtype: Any) -> Any:
    """`x` as that dtype where it is a float; integers stay what they are."""
    return F.cast(x, dtype) if x.dtype.kind == "float" else x


def tree_sum(values: list[Any]) -> Any:
    """The sum in the order of neighbours first, (0 + 1) + (2 + 3), as transports add."""
    while len(values) > 1:
        pairs = [values[i] + values[i + 1] for i in range(0, len(values) - 1, 2)]
        values = pairs + values[len(values) - len(values) % 2 :]
    return values[0]


def require_equal_shapes(values: Sequence[Any], axis: int | None, first: int) -> None:
    """Of the values that replicas from number `first` on have, apart from `axis`.

    Addition would broadcast them, and the sum be one of numbers that nobody has.

    Raises:
        ValueError: two differ.
    """

    def kept(x: Any) -> list[int]:
        sizes = [int(n) for n in x.shape]
        if axis is not None:
            del sizes[axis]
        return sizes

    for i, x in enumerate(values[1:], 1):
        if kept(x) == kept(values[0]):
            continue
        one, other = [int(n) for n in values[0].shape], [int(n) for n in x.shape]
        text = (
            f"strategy.reduce: replica {first} has a value of shape {one}, and replica {first + i} "
            f"one of shape {other}; "
        )
        pairs = enumerate(zip(one, other, strict=False))
        differing = [at for at, (n, m) in pairs if n != m]
        if axis is not None:
            text += f"only sizes along axis {axis}, which is reduced, may differ"
        elif len(one) == len(other) and len(differing) == 1:
            text += (
                "without an axis shapes must be equal: give "
                f"axis={differing[0]}, to reduce that axis as well"
            )
        else:
            text += "without an axis shapes must be equal: let all replicas return one shape"
        raise ValueError(at_line(text))
