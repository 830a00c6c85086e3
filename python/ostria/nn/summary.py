# SPDX-License-Identifier: Apache-2.0
"""`Module.summary` and `Module.memory_plan`: what a model costs, before it runs.

Shapes and FLOPs come from one trace of the model, so they are what will run, not what layers claim;
bytes come from the plan that the first step would use.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from ostria import _native, _tree
from ostria._compile import compile as compile_
from ostria._errors import at_line
from ostria.nn.module import Module


@dataclasses.dataclass
class Row:
    """One call of one module."""

    name: str
    kind: str
    depth: int
    parent: Module | None
    shape: str = ""
    parameters: int = 0
    flops: float = 0.0
    bytes: int = 0


def summarize(model: Module, input_shape: Any = None, *, batch: int = 1, dtype: Any = None) -> str:
    """The table that `Module.summary` prints.

    Raises:
        ValueError: the model was never called and no `input_shape` is given.
    """
    shapes, dtypes = input_types(model, input_shape, batch, dtype, "summary")
    rows = trace_rows(model, shapes, dtypes)
    trainable = sum(v.size for v in model.trainable_variables)
    frozen = sum(v.size for v in model.non_trainable_variables)
    weights = sum(v.size * v.dtype.itemsize for v in model.variables)
    head = ("Layer (type)", "Output shape", "Parameters", "FLOPs", "Output memory")
    table = [
        (
            f"{'  ' * (row.depth - 1)}{row.name} ({row.kind})",
            row.shape,
            f"{row.parameters:,}",
            f"{row.flops:,.0f}",
            bytes_text(row.bytes),
        )
        for row in rows[1:] or rows
    ]
    widths = [max(len(line[i]) for line in [head, *table]) for i in range(len(head))]
    rule = "-" * (sum(widths) + 2 * (len(head) - 1))

    def layout(line: tuple[str, ...]) -> str:
        cells = [
            c.ljust(w) if i < 2 else c.rjust(w)
            for i, (c, w) in enumerate(zip(line, widths, strict=True))
        ]
        return "  ".join(cells).rstrip()

    plans = {
        training: plan_of(model, shapes, dtypes, training=training)["peak_bytes"]
        for training in (False, True)
    }
    size = shapes[0][0] if shapes[0] else 1
    lines = [
        f"{model.name} ({type(model).__name__}), batch {size}",
        rule,
    ]
    lines += [layout(head), rule, *map(layout, table), rule]
    lines += [
        f"parameters  {trainable + frozen:,} ({bytes_text(weights)}): {trainable:,} trainable, "
        f"{frozen:,} not",
        f"FLOPs       {rows[0].flops:,.0f} forward",
        f"peak memory {bytes_text(plans[False])} inference, {bytes_text(plans[True])} "
        "training with SGD",
    ]
    return "\n".join(lines)


def input_types(
    model: Module, input_shape: Any, batch: int, dtype: Any, what: str
) -> tuple[list[tuple[int, ...]], list[Any]]:
    """Static shapes and dtypes of the model's inputs: as given, or as at its first call."""
    if isinstance(batch, bool) or not isinstance(batch, int) or batch < 0:
        raise ValueError(
            at_line(f"{what}: batch {batch!r} is not accepted; give an integer of 0 or more")
        )
    seen = model._input_types
    if input_shape is None:
        if not seen:
            raise ValueError(
                at_line(
                    f"{what}: {model.name} was never called, so its input is not known; give "
                    "input_shape, such as (None, 28, 28, 1)"
                )
            )
        shapes = [(batch, *shape[1:]) if shape else () for _, shape in seen]
        return shapes, [_native.dtype(dtype) if dtype else d for d, _ in seen]
    many = input_shape and isinstance(input_shape[0], (list, tuple))
    shapes = []
    for shape in input_shape if many else [input_shape]:
        if any(size is None for size in shape[1:]) or any(
            size is not None and not isinstance(size, int) for size in shape
        ):
            raise ValueError(
                at_line(
                    f"{what}: input_shape {tuple(shape)} is not accepted; sizes are integers, and "
                    "the first, the batch, may be None"
                )
            )
        shapes.append(tuple(batch if size is None else size for size in shape))
    if dtype is not None:
        return shapes, [_native.dtype(dtype)] * len(shapes)
    known = [d for d, _ in seen] if len(seen) == len(shapes) else [_native.float32] * len(shapes)
    return shapes, known


def trace_rows(model: Module, shapes: list[tuple[int, ...]], dtypes: list[Any]) -> list[Row]:
    """One row per module call in order, the model itself first."""
    rows: list[Row] = []
    spans: list[tuple[int, int]] = []
    stack: list[Module] = []
    counted: set[int] = set()
    trace = _native.Trace("graph")

    def observe(module: Module, call: Callable[[], Any]) -> Any:
        row = Row(module.name, type(module).__name__, len(stack), stack[-1] if stack else None)
        before = set(counted)
        at = len(rows)
        rows.append(row)
        spans.append((trace.num_nodes, 0))
        stack.append(module)
        result = call()
        stack.pop()
        row.parameters = sum(v.size for v in module.variables if v.id not in before)
        counted.update(v.id for v in module.variables)
        spans[at] = (spans[at][0], trace.num_nodes)
        outputs = [y for y in _tree.flatten(result)[0] if hasattr(y, "shape")]
        row.shape = ", ".join(str(list(y.shape)) for y in outputs)
        row.bytes = sum(y.size * y.dtype.itemsize for y in outputs)
        return result

    trace.push()
    try:
        inputs = [
            trace.add_input(f"x{i}", d, s)
            for i, (d, s) in enumerate(zip(dtypes, shapes, strict=True))
        ]
        with observing(observe):
            model(*inputs)
    finally:
        trace.pop()
    flops = trace.flops()
    for row, (begin, end) in zip(rows, spans, strict=True):
        row.flops = sum(flops[begin:end])
    return rows


@contextmanager
def observing(observer: Callable[..., Any]) -> Iterator[None]:
    """While it is open, every call of a module goes through `observer(module, call)`."""
    outer, Module._observer = Module._observer, staticmethod(observer)
    try:
        yield
    finally:
        Module._observer = outer


def plan_of(
    model: Module,
    shapes: list[tuple[int, ...]],
    dtypes: list[Any],
    *,
    training: bool,
    optimizer: Any = None,
    loss: Callable[[Any], Any] | None = None,
    memory_limit: int | None = None,
) -> dict[str, int]:
    """The memory plan of one step on inputs of these types; nothing is run."""
    from ostria import _autodiff

    def inference(*inputs: Any) -> Any:
        return model(*inputs)

    def step(*inputs: Any) -> Any:
        y = model(*inputs, training=True)
        total = loss(y) if loss is not None else _stand_in_loss(y)
        for penalty in model.losses:
            total = total + penalty
        variables = model.trainable_variables
        if optimizer is not None:
            optimizer.minimize(total, variables)
            return total
        for v, g in zip(variables, _autodiff.gradients(total, variables), strict=True):
            v.assign(v.value() - g)
        return total

    fn = compile_(
        step if training else inference, memory_limit=memory_limit, name=f"{model.name}.memory_plan"
    )
    # Broadcast zeros: only shapes and dtypes are read, so no memory is spent on them.
    arrays = [
        np.broadcast_to(np.zeros((), d.numpy()), s) for s, d in zip(shapes, dtypes, strict=True)
    ]
    return fn.memory_plan(*arrays)


def _stand_in_loss(y: Any) -> Any:
    """The mean of squares of all float outputs: any scalar keeps the same activations."""
    terms = [
        _native.ops.mean(_native.ops.square(leaf))
        for leaf in _tree.flatten(y)[0]
        if hasattr(leaf, "dtype") and leaf.dtype.kind == "float"
    ]
    if not terms:
        raise TypeError(at_line("memory_plan: no float output to train by; give loss="))
    total = terms[0]
    for term in terms[1:]:
        total = total + term
    return total


def bytes_text(count: float) -> str:
    """`512 B`, `1.5 KB`, `20.0 MB` (of 1024)."""
    for unit in ("B", "KB", "MB"):
        if count < 1024:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1024
    return f"{count:.1f} GB"
