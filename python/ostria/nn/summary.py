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
from ostria._errors import add_remark, at_line
from ostria.nn.module import InputType, Module


@dataclasses.dataclass
class Row:
    """One call of one module."""

    name: str
    kind: str
    depth: int
    shape: str = ""
    parameters: int = 0
    shared: bool = False  # all its parameters belong to rows above
    flops: float = 0.0
    bytes: int = 0
    trains: bool = False  # an output is float, so there can be a loss
    frozen: bool = False  # it has weights of its own to train, and must not


def summarize(model: Module, input_shape: Any = None, *, batch: int = 1, dtype: Any = None) -> str:
    """The table that `Module.summary` prints.

    Raises:
        ValueError: the model was never called and no `input_shape` is given.
    """
    inputs = inputs_of(model, input_shape, batch, dtype, "summary")
    rows = trace_rows(model, inputs)
    trainable = sum(v.size for v in model.trainable_variables)
    frozen = sum(v.size for v in model.non_trainable_variables)
    weights = sum(v.size * v.dtype.itemsize for v in model.variables)
    head = ("Layer (type)", "Output shape", "Parameters", "FLOPs", "Output memory")
    table = [
        (
            f"{'  ' * (row.depth - 1)}{row.name} ({row.kind}{', frozen' if row.frozen else ''})",
            row.shape,
            "shared" if row.shared else f"{row.parameters:,}",
            f"{row.flops:,.0f}",
            bytes_text(row.bytes),
        )
        for row in shown_rows(rows)
    ]
    widths = [max(len(line[i]) for line in [head, *table]) for i in range(len(head))]
    rule = "-" * (sum(widths) + 2 * (len(head) - 1))

    def layout(line: tuple[str, ...]) -> str:
        cells = [
            c.ljust(w) if i < 2 else c.rjust(w)
            for i, (c, w) in enumerate(zip(line, widths, strict=True))
        ]
        return "  ".join(cells).rstrip()

    peaks = [bytes_text(plan_of(model, inputs, training=False)["peak_bytes"]) + " inference"]
    if rows[0].trains:
        peak = plan_of(model, inputs, training=True)["peak_bytes"]
        peaks.append(f"{bytes_text(peak)} training with SGD")
    first = inputs.types[0].shape
    lines = [
        f"{model.name} ({type(model).__name__}), batch {first[0] if first else 1}",
        rule,
    ]
    lines += [layout(head), rule, *map(layout, table), rule]
    lines += [
        f"parameters  {trainable + frozen:,} ({bytes_text(weights)}): {trainable:,} trainable, "
        f"{frozen:,} non-trainable",
        f"FLOPs       {rows[0].flops:,.0f} forward",
        f"peak memory {', '.join(peaks)}",
    ]
    return "\n".join(lines)


@dataclasses.dataclass
class Inputs:
    """What a model is called with: the types of its tensors, and where they go."""

    types: list[InputType]
    arguments: Callable[[Any], tuple[tuple[Any, ...], dict[str, Any]]]
    assumed: bool = False  # nobody said what the dtypes are

    def call(self, model: Module, tensors: Any, **kwargs: Any) -> Any:
        """The model's result for these tensors."""
        args, named = self.arguments(tensors)
        try:
            return model(*args, **named, **kwargs)
        except TypeError as error:
            if self.assumed:
                add_remark(error, "; float32 inputs are assumed, give dtype= for others")
            raise


def inputs_of(model: Module, input_shape: Any, batch: int, dtype: Any, what: str) -> Inputs:
    """Static types of the model's inputs: as given, or as at its first call."""
    if isinstance(batch, bool) or not isinstance(batch, int) or batch < 0:
        raise ValueError(
            at_line(f"{what}: batch {batch!r} is not accepted; give an integer of 0 or more")
        )
    leaves, structure = model._first_call or ([], None)
    seen = [leaf for leaf in leaves if isinstance(leaf, InputType)]
    if input_shape is not None:
        shapes = _given_shapes(input_shape, batch, what)
    elif seen:
        shapes = _seen_shapes(seen, batch)
    else:
        raise ValueError(
            at_line(
                f"{what}: {model.name} was never called, so its input is not known; give "
                "input_shape, such as (None, 28, 28, 1)"
            )
        )
    as_seen = len(seen) == len(shapes)
    if isinstance(dtype, (list, tuple)):
        dtypes = list(dtype)
    elif dtype is not None:
        dtypes = [dtype] * len(shapes)
    else:
        dtypes = [t.dtype for t in seen] if as_seen else ["float32"] * len(shapes)
    if len(dtypes) != len(shapes):
        raise ValueError(
            at_line(
                f"{what}: dtype has {len(dtypes)} entries for {len(shapes)} inputs; give one for "
                "all or one for each"
            )
        )

    def arguments(tensors: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
        if not as_seen:
            return tuple(tensors), {}
        rest = iter(tensors)
        filled = [next(rest) if isinstance(leaf, InputType) else leaf for leaf in leaves]
        return _tree.unflatten(structure, filled)

    types = [InputType(_native.dtype(d), s) for d, s in zip(dtypes, shapes, strict=True)]
    return Inputs(types, arguments, assumed=dtype is None and not as_seen)


def _given_shapes(input_shape: Any, batch: int, what: str) -> list[tuple[int, ...]]:
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
    return shapes


def _seen_shapes(seen: list[InputType], batch: int) -> list[tuple[int, ...]]:
    """With another batch, which is the first size of the first input and of those that share it."""
    old = next((t.shape[0] for t in seen if t.shape), None)
    return [
        (batch, *t.shape[1:])
        if t.shape and (not isinstance(t.shape[0], int) or t.shape[0] == old)
        else t.shape
        for t in seen
    ]


def trace_rows(model: Module, given: Inputs) -> list[Row]:
    """One row per module call in order, the model itself first."""
    rows: list[Row] = []
    spans: list[tuple[int, int]] = []
    depth = 0
    counted: set[int] = set()
    trace = _native.Trace("graph")

    def observe(module: Module, call: Callable[[], Any]) -> Any:
        nonlocal depth
        row = Row(module._scope_name or module.name, type(module).__name__, depth)
        before = set(counted)
        at = len(rows)
        rows.append(row)
        spans.append((trace.num_nodes, 0))
        depth += 1
        result = call()
        depth -= 1
        variables = module.variables
        row.parameters = sum(v.size for v in variables if v.id not in before)
        row.frozen = bool(variables) and not module.trainable
        row.shared = bool(variables) and all(v.id in before for v in variables)
        counted.update(v.id for v in variables)
        spans[at] = (spans[at][0], trace.num_nodes)
        outputs = [y for y in _tree.flatten(result)[0] if hasattr(y, "shape")]
        row.shape = ", ".join(str(list(y.shape)) for y in outputs)
        row.bytes = sum(y.size * y.dtype.itemsize for y in outputs)
        row.trains = any(y.dtype.kind == "float" for y in outputs)
        return result

    trace.push()
    try:
        inputs = [trace.add_input(f"x{i}", *t) for i, t in enumerate(given.types)]
        with observing(observe):
            given.call(model, inputs)
    finally:
        trace.pop()
    flops = trace.flops()
    for row, (begin, end) in zip(rows, spans, strict=True):
        row.flops = sum(flops[begin:end])
    return rows


def shown_rows(rows: list[Row]) -> list[Row]:
    """The rows below the model, and one more for what the model does outside them."""
    model, below = rows[0], rows[1:]
    if not below:
        return rows
    top = [row for row in below if row.depth == 1]
    own = dataclasses.replace(
        model,
        name=f"{model.name} itself",
        depth=1,
        parameters=model.parameters - sum(row.parameters for row in top),
        flops=model.flops - sum(row.flops for row in top),
    )
    return [*below, own] if own.parameters or own.flops else below


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
    given: Inputs,
    *,
    training: bool,
    optimizer: Any = None,
    loss: Callable[[Any], Any] | None = None,
    memory_limit: int | None = None,
) -> dict[str, int]:
    """The memory plan of one step on inputs of these types; nothing is run."""
    from ostria import _autodiff

    def inference(*inputs: Any) -> Any:
        return given.call(model, inputs)

    def step(*inputs: Any) -> Any:
        y = given.call(model, inputs, training=True)
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
    arrays = [np.broadcast_to(np.zeros((), t.dtype.numpy()), t.shape) for t in given.types]
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
