# SPDX-License-Identifier: Apache-2.0
"""Control flow on tensors: `cond`, `scan`, `while_loop`, as ops that own closed sub-graphs.

The functions are traced once. What they close over becomes an operand, whether it is a traced
value, an eager tensor or a Variable that is read. A Variable that one of them assigns is carried
from step to step of a loop, or is a further result of `cond`, and holds the last value afterwards.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ostria import _activity, _native, _step, _tree
from ostria._checks import check_function, is_int
from ostria._errors import at_line
from ostria._functions import asarray


class _Traced:
    """A function traced on inputs of given types, and the structure of what it returned."""

    def __init__(
        self, fn: Callable[..., Any], part_of: Any, *, loops: bool, kind: str = "body"
    ) -> None:
        self._fn, self._part_of, self._loops = fn, part_of, loops
        self._trace = _native.Trace(kind)

    def run(self, types: Sequence[tuple[str, Any, tuple[Any, ...], Any]], call: Any) -> Any:
        """Traces `call(fn, inputs)`, whose result is a tree of tensors."""
        trace, outer = self._trace, _native.current_trace()
        step, around = self._part_of
        trace.push()
        try:
            inputs = [trace.add_input(*t) for t in types]
            if self._loops:
                around = (*around, trace.add_input("step", _native.int64, ()))
            _step.enter(trace, step, around)
            result = call(self._fn, inputs)
            leaves, self.structure = _tree.flatten(result)
            self.results = [trace.use(leaf) for leaf in leaves]
            _activity.leave(trace, outer)
        finally:
            trace.pop()
        return result

    @property
    def body(self) -> tuple[Any, list[Any]]:
        return self._trace, self.results


def _leaves(tree: Any) -> tuple[list[Any], Any]:
    leaves, structure = _tree.flatten(tree)
    trace = _native.current_trace()
    return [asarray(leaf) if trace is None else trace.use(leaf) for leaf in leaves], structure


def _types(name: str, leaves: list[Any], rows: bool = False) -> list[Any]:
    return [(f"{name}{i}", x.dtype, tuple(x.shape)[rows:], x) for i, x in enumerate(leaves)]


def _carry_types(leaves: list[Any]) -> list[Any]:
    # None: how the first value was made says nothing about the next one.
    return [(f"carry_{i}", x.dtype, tuple(x.shape), None) for i, x in enumerate(leaves)]


def _run(
    name: str, step: _step.Step, bodies: list[_Traced], operands: list[Any], numbers: list[int]
) -> list[Any]:
    results, commit = _native.control(name, [b.body for b in bodies], operands, numbers)
    trace = _native.current_trace()
    if trace is None or trace.is_tape:
        step.end(commit)
    return list(results)


def _check_count(what: str, count: Any) -> None:
    if count is not None and not is_int(count):
        raise TypeError(
            at_line(f"{what} {count!r} is not accepted; give an integer of at least 0, or None")
        )


def _fail_structure(op: str, what: str, was: Any, became: Any) -> None:
    if was == became:
        return
    raise TypeError(
        at_line(
            f"{op}: {what} has the structure {_shape_of(was)}, but the function returned "
            f"{_shape_of(became)}; return it with the structure it came in"
        )
    )


def _shape_of(structure: Any) -> str:
    places = _tree.places(structure)
    return "one tensor" if places == [""] else f"({', '.join(p or '.' for p in places)})"


def cond(
    pred: Any,
    true_fn: Callable[..., Any],
    false_fn: Callable[..., Any],
    /,
    *operands: Any,
) -> Any:
    """`true_fn(*operands)` where `pred` is true, else `false_fn(*operands)`; only one runs.

    Args:
        pred: bool[], a tensor or a Python bool.
        true_fn: traced once; returns any nested structure of tensors. A Variable that one of both
            assigns keeps its value where the other one runs.
        false_fn: traced once; returns the same structure, shapes and dtypes.
        operands: nested structures of tensors. What the functions close over is an operand too.

    Raises:
        TypeError: the functions return different structures.
        ValueError: they return different types.

    Example:
        >>> import ostria as ost
        >>> x = ost.asarray(-2.0)
        >>> ost.cond(x > 0.0, lambda x: x, lambda x: x * 0.1, x).item()
        -0.20000000298023224
    """
    check_function("cond", "true_fn", true_fn)
    check_function("cond", "false_fn", false_fn)
    part_of = _step.current()
    (flag, *leaves), structure = _leaves((pred, operands))
    bodies = []
    for fn in (true_fn, false_fn):
        traced = _Traced(fn, part_of, loops=False)
        traced.run(
            _types("x", leaves), lambda f, xs: f(*_tree.unflatten(structure, [flag, *xs])[1])
        )
        bodies.append(traced)
    _fail_structure("cond", "the result of true_fn", bodies[0].structure, bodies[1].structure)
    results = _run("cond", part_of[0], bodies, [flag, *leaves], [])
    return _tree.unflatten(bodies[0].structure, results)


def scan(
    fn: Callable[[Any, Any], Any],
    init: Any,
    xs: Any = None,
    length: int | None = None,
    reverse: bool = False,
) -> tuple[Any, Any]:
    """Runs `carry, y = fn(carry, x)` over the rows of `xs`; differentiable.

    Args:
        fn: traced once. Random draws in it differ from step to step; the gradient repeats them.
            A Variable that it assigns holds the new value in the next step.
        init: the first carry, a nested structure; every step returns one of the same types.
        xs: a nested structure of tensors with one leading length; `x` is a row of each. None for a
            loop over nothing.
        length: the number of steps; needed where `xs` is None.
        reverse: from the last row to the first; row i of `ys` still belongs to row i of `xs`.

    Returns:
        (last carry, ys), ys with what `fn` returned second of every step stacked.

    Raises:
        TypeError: `fn` returns no pair, or a carry of another structure.
        ValueError: lengths differ, or a carry changes its type.

    Example:
        >>> import ostria as ost
        >>> total, sums = ost.scan(lambda c, x: (c + x, c + x), 0.0, ost.asarray([1.0, 2.0, 4.0]))
        >>> total.item(), sums.numpy().tolist()
        (7.0, [1.0, 3.0, 7.0])
    """
    check_function("scan", "fn", fn)
    _check_count("scan: length", length)
    if not isinstance(reverse, (bool, np.bool_)):
        raise TypeError(at_line(f"scan: reverse is {reverse!r}; give True or False"))
    part_of = _step.current()
    carries, carry_structure = _leaves(init)
    rows, row_structure = _leaves(xs)
    if length is None:
        if not rows or rows[0].ndim == 0:
            raise ValueError(
                at_line("scan: there are no rows to count; give xs with a leading axis, or length=")
            )
        length = rows[0].shape[0]
        if not isinstance(length, int):
            raise ValueError(
                at_line(
                    f"scan: the number of steps must be fixed, but xs has {length} rows; scan over "
                    "an axis of fixed size (move it to the front with ost.transpose)"
                )
            )
    for i, row in enumerate(rows):
        if row.ndim == 0:
            raise ValueError(
                at_line(f"scan: leaf {i} of xs is a scalar; give tensors with {length} rows")
            )

    def call(f: Any, inputs: list[Any]) -> Any:
        carry = _tree.unflatten(carry_structure, inputs[: len(carries)])
        result = f(carry, _tree.unflatten(row_structure, inputs[len(carries) :]))
        if not isinstance(result, tuple) or len(result) != 2:
            raise TypeError(
                at_line(
                    f"scan: the function returned {type(result).__name__}; return (carry, y), "
                    "with None for y where nothing is to be stacked"
                )
            )
        structure = _tree.flatten(result[0])[1]
        _fail_structure("scan", "the carry", carry_structure, structure)
        return result

    traced = _Traced(fn, part_of, loops=True)
    traced.run(_carry_types(carries) + _types("x", rows, rows=True), call)
    results = _run(
        "scan", part_of[0], [traced], [*carries, *rows], [len(carries), length, int(reverse)]
    )
    out = _tree.unflatten(traced.structure, results)
    return out[0], out[1]


def while_loop(
    cond_fn: Callable[[Any], Any],
    body_fn: Callable[[Any], Any],
    init: Any,
    max_steps: int | None = None,
) -> Any:
    """Repeats `carry = body_fn(carry)` while `cond_fn(carry)` is true.

    Args:
        cond_fn: traced once; returns bool[]. It may read Variables, but not assign them.
        body_fn: traced once; returns a carry of the same structure and types. A Variable that it
            assigns holds the new value in the next step.
        init: the first carry, a nested structure of tensors; None where Variables are all there is.
        max_steps: the most steps taken. With it, the loop is differentiable.

    Returns:
        The last carry.

    Raises:
        NotImplementedError: it is differentiated without `max_steps`.
        TypeError: the carry changes its structure.
        ValueError: the carry changes its type, or `cond_fn` assigns a Variable.

    Example:
        >>> import ostria as ost
        >>> ost.while_loop(lambda x: x < 100.0, lambda x: x * 2.0, 3.0).item()
        192.0
    """
    check_function("while_loop", "cond_fn", cond_fn)
    check_function("while_loop", "body_fn", body_fn)
    _check_count("while_loop: max_steps", max_steps)
    part_of = _step.current()
    carries, structure = _leaves(init)
    condition = _Traced(cond_fn, part_of, loops=True, kind="condition")
    condition.run(_carry_types(carries), lambda f, c: f(_tree.unflatten(structure, c)))
    body = _Traced(body_fn, part_of, loops=True)
    body.run(_carry_types(carries), lambda f, c: f(_tree.unflatten(structure, c)))
    _fail_structure("while_loop", "the carry", structure, body.structure)
    steps = -1 if max_steps is None else max_steps
    results = _run("while_loop", part_of[0], [condition, body], carries, [steps])
    return _tree.unflatten(structure, results)
