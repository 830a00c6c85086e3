# SPDX-License-Identifier: Apache-2.0
"""Einstein summation, lowered onto transpose, reshape, sum and batched matmul; and its relatives.

An operand here is a tensor with one label per axis. Labels that one operand alone has, and the
result has not, are summed at once; then operands are contracted in pairs, the pair first that
leaves least.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from typing import Any, NoReturn

from ostria import _functions as F
from ostria import _native
from ostria._errors import at_line
from ostria._functions import astensor
from ostria._indexing import getitem

__all__ = ["einsum", "inner", "outer", "vdot"]

_ops = _native.ops

Label = Any  # a letter, or an int for an axis of an ellipsis, counted from its end: -1, -2, …
_GUESS = 64  # what a symbolic size counts as when an order is chosen


class _Operand:
    def __init__(self, x: Any, labels: Sequence[Label]) -> None:
        self.x = x
        self.labels = list(labels)

    def size(self, label: Label) -> Any:
        return self.x.shape[self.labels.index(label)]


def einsum(equation: str, /, *operands: Any) -> Any:
    """Products of the operands' elements, summed as the equation says, as NumPy's `einsum`.

    One letter per axis: axes with one letter run together, and letters that are not behind `->`
    are summed over. A letter twice in one operand takes its diagonal, `...` stands for all other
    axes, and sizes of 1 broadcast. Without `->` the result has the letters that occur once, in
    alphabetical order. Contractions are batched matrix products; the order of three operands or
    more is chosen so that results in between stay small.

    Raises:
        ValueError: the equation does not fit the operands; the message says where.

    >>> import ostria as ost
    >>> a, b = ost.ones((2, 3)), ost.ones((3, 4))
    >>> ost.einsum("ij,jk->ki", a, b).shape
    (4, 2)
    >>> ost.einsum("...ij->...ji", ost.zeros((5, 2, 3))).shape
    (5, 3, 2)
    """
    if not isinstance(equation, str):
        raise TypeError(
            at_line(
                f"einsum: the equation is {equation!r}; give it first and as a string, as in "
                'einsum("ij,jk->ik", a, b)'
            )
        )
    inputs, output = _parse(equation, [astensor(x) for x in operands])
    sizes = _sizes(equation, inputs)
    terms = [_without_ones(_diagonal(t), sizes) for t in inputs]
    terms = [_summed(t, _needed(terms, t, output)) for t in terms]
    while len(terms) > 1:
        i, j = _cheapest(terms, output, sizes)
        right, left = terms.pop(j), terms.pop(i)
        terms.append(_contract(left, right, set(output).union(*(t.labels for t in terms))))
    (last,) = terms
    last = _summed(last, set(output))
    return _ordered(last, output)


# --- Reading the equation -------------------------------------------------------------------------


def _fail(equation: str, what: str) -> NoReturn:
    raise ValueError(at_line(f"einsum: in '{equation}' {what}"))


def _parse(equation: str, operands: list[Any]) -> tuple[list[_Operand], list[Label]]:
    text = equation.replace(" ", "")
    left, arrow, right = text.partition("->")
    texts = left.split(",")
    for part in (*texts, right):
        letters = part.replace("...", "", 1)
        for c in letters:
            if not (c.isascii() and c.isalpha()):
                _fail(
                    equation,
                    f"{c!r} is no label; use letters, '...' once per operand, ',' and one '->'",
                )
    if len(texts) != len(operands):
        _fail(equation, f"there are {len(texts)} operands, but {len(operands)} were given")
    inputs, widest = [], 0
    for i, (part, x) in enumerate(zip(texts, operands, strict=True)):
        named = len(part.replace("...", ""))
        if named > x.ndim or (named < x.ndim and "..." not in part):
            _fail(
                equation,
                f"'{part}' names {named} axes, but operand {i} has shape {list(x.shape)}; give one "
                "letter per axis, or '...' for the others",
            )
        inputs.append(_Operand(x, _labels(part, x.ndim - named)))
        _require_squares(equation, i, inputs[i])
        widest = max(widest, x.ndim - named) if "..." in part else widest
    if arrow:
        output = _labels(right, widest)
        if widest and "..." not in right:
            _fail(equation, "the result has no '...' for the axes that it stands for; add it")
        for label, count in Counter(output).items():
            if count > 1:
                _fail(equation, f"the result names '{label}' {count} times; name each label once")
            if not any(label in t.labels for t in inputs):
                _fail(equation, f"the result names '{label}', which no operand has")
        return inputs, output
    counts = Counter(label for t in inputs for label in t.labels)
    once = sorted(n for n, count in counts.items() if isinstance(n, str) and count == 1)
    return inputs, [*range(-widest, 0), *once]


def _require_squares(equation: str, i: int, t: _Operand) -> None:
    for label, size in zip(t.labels, t.x.shape, strict=True):
        if not size == t.size(label):
            _fail(
                equation,
                f"'{label}' stands twice for operand {i} of shape {list(t.x.shape)}, where it is "
                f"{t.size(label)} and {size}; a diagonal needs equal sizes",
            )


def _labels(text: str, covered: int) -> list[Label]:
    before, dots, after = text.partition("...")
    return [*before, *(range(-covered, 0) if dots else ()), *after]


def _sizes(equation: str, inputs: list[_Operand]) -> dict[Label, Any]:
    """The size of every label: that of all operands which do not have 1 there."""
    sizes: dict[Label, Any] = {}
    where: dict[Label, int] = {}
    for i, t in enumerate(inputs):
        for label, size in zip(t.labels, t.x.shape, strict=True):
            if label not in sizes or _is_one(sizes[label]):
                sizes[label], where[label] = size, i
            elif not _is_one(size) and not size == sizes[label]:
                name = f"'{label}'" if isinstance(label, str) else f"axis {label} of '...'"
                _fail(
                    equation,
                    f"{name} is {sizes[label]} in operand {where[label]} of shape "
                    f"{list(inputs[where[label]].x.shape)}, but {size} in operand {i} of shape "
                    f"{list(t.x.shape)}; they must be equal, or one of them 1",
                )
    return sizes


def _is_one(size: Any) -> bool:
    return isinstance(size, int) and size == 1


# --- One operand ----------------------------------------------------------------------------------


def _diagonal(t: _Operand) -> _Operand:
    """Every label once: where a label stands twice, the elements whose two indices are equal."""
    for label in [n for n, count in Counter(t.labels).items() if count > 1]:
        while t.labels.count(label) > 1:
            a = t.labels.index(label)
            b = t.labels.index(label, a + 1)
            n = t.x.shape[a]
            rest = [k for k in range(t.x.ndim) if k not in (a, b)]
            x = _permuted(t.x, [*rest, a, b])
            if isinstance(n, int):
                x = F.reshape(x, [*x.shape[:-2], n * n])
                x = getitem(x, (..., slice(None, None, n + 1)))
            else:
                row = F.reshape(_ops.iota((n,)), (n, 1))
                zero = F.zeros((), dtype=x.dtype)
                x = _sum(_ops.where(_ops.equal(row, _ops.iota((n,))), x, zero), [x.ndim - 1])
            t = _Operand(x, [*(t.labels[k] for k in rest), label])
    return t


def _without_ones(t: _Operand, sizes: dict[Label, Any]) -> _Operand:
    """Without axes of size 1 that broadcast: repeating what is multiplied changes no product."""
    kept = [
        k
        for k, n in enumerate(t.labels)
        if not (_is_one(t.x.shape[k]) and n in sizes and not _is_one(sizes[n]))
    ]
    if len(kept) == len(t.labels):
        return t
    return _Operand(F.reshape(t.x, [t.x.shape[k] for k in kept]), [t.labels[k] for k in kept])


def _needed(terms: list[_Operand], own: _Operand, output: list[Label]) -> set[Label]:
    return set(output).union(*(t.labels for t in terms if t is not own))


def _summed(t: _Operand, needed: set[Label]) -> _Operand:
    axes = [k for k, n in enumerate(t.labels) if n not in needed]
    if not axes:
        return t
    return _Operand(_sum(t.x, axes), [n for n in t.labels if n in needed])


def _sum(x: Any, axes: list[int]) -> Any:
    return F.cast(_ops.sum(x, axes, False), x.dtype)  # small integers come out wider


def _permuted(x: Any, order: list[int]) -> Any:
    return x if order == list(range(len(order))) else F.transpose(x, order)


def _ordered(t: _Operand, labels: list[Label]) -> Any:
    """The tensor with its axes in this order; labels that it does not have are left out."""
    return _permuted(t.x, [t.labels.index(n) for n in labels if n in t.labels])


# --- Two operands ---------------------------------------------------------------------------------


def _cheapest(
    terms: list[_Operand], output: list[Label], sizes: dict[Label, Any]
) -> tuple[int, int]:
    """The pair whose product frees most memory, and of those the one with least arithmetic."""

    def elements(labels: Any) -> int:
        return math.prod(n if isinstance(n, int) else _GUESS for n in (sizes[k] for k in labels))

    best, found = None, (0, 1)
    for i in range(len(terms)):
        for j in range(i + 1, len(terms)):
            a, b = set(terms[i].labels), set(terms[j].labels)
            others = (t.labels for k, t in enumerate(terms) if k not in (i, j))
            result = (a | b) & set(output).union(*others)
            cost = (elements(result) - elements(a) - elements(b), elements(a | b))
            if best is None or cost < best:
                best, found = cost, (i, j)
    return found


def _contract(a: _Operand, b: _Operand, needed: set[Label]) -> _Operand:
    """The product of two operands, without the labels that nobody needs any more."""
    shared = [n for n in a.labels if n in b.labels]
    batch = [n for n in shared if n in needed]
    summed = [n for n in shared if n not in needed]
    left = [n for n in a.labels if n not in shared]
    right = [n for n in b.labels if n not in shared]
    if not summed or (batch and not left and not right):
        return _multiplied(a, b, [*batch, *left, *right], summed)
    x, transpose_a = _matrices(a, batch, left, summed)
    y, transpose_b = _matrices(b, batch, summed, right)
    z = _ops.matmul(x, y, transpose_a, transpose_b)
    shape = [a.size(n) for n in (*batch, *left)] + [b.size(n) for n in right]
    return _Operand(F.reshape(z, shape), [*batch, *left, *right])


def _multiplied(a: _Operand, b: _Operand, labels: list[Label], summed: list[Label]) -> _Operand:
    """Elementwise: no matrix product would do more than one multiplication per element."""
    every = [*labels, *summed]

    def spread(t: _Operand) -> Any:
        return F.reshape(_ordered(t, every), [t.size(n) if n in t.labels else 1 for n in every])

    z = _ops.multiply(spread(a), spread(b))
    if summed:
        z = _sum(z, list(range(len(labels), len(every))))
    return _Operand(z, labels)


def _matrices(
    t: _Operand, batch: list[Label], rows: list[Label], columns: list[Label]
) -> tuple[Any, bool]:
    """`t` as [batch, rows, columns], or as [batch, columns, rows] and True if it lies that way."""
    turned = t.labels == [*batch, *columns, *rows]
    if turned and t.labels != [*batch, *rows, *columns]:
        rows, columns = columns, rows
    else:
        turned = False
    x = _ordered(t, [*batch, *rows, *columns])
    groups = [[t.size(n) for n in g] for g in (rows, columns)]
    outer = [math.prod(t.size(n) for n in batch)] if batch else []
    return F.reshape(x, [*outer, *(math.prod(g) for g in groups)]), turned


# --- Relatives ------------------------------------------------------------------------------------


def inner(a: Any, b: Any, /) -> Any:
    """Scalar products over the last axes of `a` and `b`; with a scalar, the product.

    >>> import ostria as ost
    >>> ost.inner(ost.asarray([1.0, 2.0]), ost.asarray([3.0, 4.0])).item()
    11.0
    """
    a, b = astensor(a), astensor(b)
    if a.ndim == 0 or b.ndim == 0:
        return _ops.multiply(a, b)
    return _product("inner", a, b, [*range(a.ndim - 1), "k"], [*range(100, 99 + b.ndim), "k"])


def outer(a: Any, b: Any, /) -> Any:
    """Every product of an element of `a` and one of `b`, both flattened: [a.size, b.size].

    >>> import ostria as ost
    >>> ost.outer(ost.asarray([1, 2]), ost.asarray([3, 4])).numpy().tolist()
    [[3, 4], [6, 8]]
    """
    a, b = astensor(a), astensor(b)
    return _ops.multiply(F.reshape(a, (a.size, 1)), F.reshape(b, (1, b.size)))


def vdot(a: Any, b: Any, /) -> Any:
    """The scalar product of all elements of `a` and `b`, which have as many; both are flattened.

    >>> import ostria as ost
    >>> ost.vdot(ost.asarray([[1, 2], [3, 4]]), ost.asarray([1, 1, 1, 1])).item()
    10
    """
    a, b = astensor(a), astensor(b)
    return _product("vdot", F.reshape(a, (a.size,)), F.reshape(b, (b.size,)), ["k"], ["k"])


def _product(name: str, a: Any, b: Any, left: list[Label], right: list[Label]) -> Any:
    """Contracted over the label 'k', the last of both."""
    if not a.shape[-1] == b.shape[-1]:
        raise ValueError(
            at_line(
                f"{name}: shapes {list(a.shape)} and {list(b.shape)} are summed over together "
                f"along their last axes, but one has {a.shape[-1]} and the other {b.shape[-1]}; "
                "they must be equal"
            )
        )
    kept = {*left, *right} - {"k"}
    return _contract(_Operand(a, left), _Operand(b, right), kept).x
