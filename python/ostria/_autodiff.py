# SPDX-License-Identifier: Apache-2.0
"""Gradients: of functions (`grad`), inside a trace (`gradients`), of eager code (the tape)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from ostria import _activity, _native, _step, _tree
from ostria._checks import check_function
from ostria._compile import CompiledFunction
from ostria._errors import at_line

_Tensor = _native.Tensor


def gradients(
    outputs: Any, wrt: Sequence[Any], cotangents: Sequence[Any] | None = None
) -> list[Any]:
    """d(outputs)/d(wrt) inside a traced function or under a tape.

    Args:
        outputs: a tensor or a list of them; summed when they are not scalars.
        wrt: tensors of the trace, or Variables: by every value that the outputs read of them. What
            was written into a Variable is not differentiated, so steps can follow each other in one
            function.
        cotangents: one per output, of its shape; ones by default.

    Returns:
        One gradient per element of `wrt`, of its shape and dtype; zeros where nothing depends on
        it.

    Raises:
        TypeError: `wrt` or `cotangents` is no sequence, or a value is not floating-point.
        ValueError: outputs and cotangents differ in number or shape, or nothing is traced.
    """
    ys = list(outputs) if isinstance(outputs, (list, tuple)) else [outputs]
    xs = _listed("wrt", wrt, "tensors or Variables")
    gs = [None] * len(ys) if cotangents is None else _listed("cotangents", cotangents, "tensors")
    if len(gs) != len(ys):
        raise ValueError(
            at_line(
                f"gradients: cotangents has {len(gs)} element(s) for {len(ys)} output(s); give one "
                "for each output, None for ones, or differentiate fewer outputs"
            )
        )
    return list(_native.gradients(ys, gs, xs))


# The elements of a tensor are rows that nothing depends on.
def _listed(what: str, value: Any, of: str) -> list[Any]:
    if isinstance(value, (_Tensor, _native.Variable)) or not isinstance(value, Iterable):
        got = repr(value) if isinstance(value, (bool, int, float)) else f"a {type(value).__name__}"
        raise TypeError(at_line(f"gradients: {what} is {got}; give a list of {of}"))
    return list(value)


def value_and_grad(
    fn: Callable[..., Any],
    argnums: int | Sequence[int] = 0,
    *,
    wrt: Sequence[Any] | None = None,
    has_aux: bool = False,
) -> Callable[..., Any]:
    """A function that gives `fn`'s value and its gradient.

    Args:
        fn: returns a float scalar, or (scalar, anything else) with `has_aux`.
        argnums: which positional arguments to differentiate by; each may be a nested structure.
        wrt: Variables to differentiate by instead of arguments.
        has_aux: the first result alone is differentiated; the second is passed through.

    Returns:
        A function with fn's arguments that returns (fn's result, gradient), the gradient with the
        structure of the argument (a tuple for several argnums, a list for `wrt`).

    Raises:
        TypeError: the value is not a float scalar.
    """
    numbers = (argnums,) if isinstance(argnums, int) else tuple(argnums)

    def inside(*args: Any, **kwargs: Any) -> Any:
        trace = _native.current_trace()
        args_list = list(args)
        sources: list[Any] = []
        structures = []
        if wrt is None:
            for n in numbers:
                if n >= len(args_list):
                    raise TypeError(
                        at_line(
                            f"grad: argnums asks for argument {n}, but {len(args_list)} "
                            "positional argument(s) were given"
                        )
                    )
                leaves, structure = _tree.flatten(args_list[n])
                leaves = [trace.use(leaf) for leaf in leaves]
                args_list[n] = _tree.unflatten(structure, leaves)
                structures.append((structure, len(leaves)))
                sources += leaves
        else:
            sources = list(wrt)
        result = fn(*args_list, **kwargs)
        loss = result[0] if has_aux else result
        if not isinstance(loss, _Tensor) or loss.ndim != 0 or loss.dtype.kind != "float":
            got = f"{loss.dtype}{list(loss.shape)}" if isinstance(loss, _Tensor) else repr(loss)
            raise TypeError(
                at_line(
                    f"grad: the function must return a float scalar, but it returned {got}; "
                    "reduce it with ost.mean or ost.sum"
                )
            )
        grads = gradients(loss, sources)
        if wrt is not None:
            return result, grads
        parts, at = [], 0
        for structure, count in structures:
            parts.append(_tree.unflatten(structure, grads[at : at + count]))
            at += count
        return result, parts[0] if isinstance(argnums, int) else tuple(parts)

    compiled = CompiledFunction(
        inside,
        dynamic_batch=False,
        device="cpu",
        memory_limit=None,
        eager=False,
        name=getattr(fn, "__name__", "function"),
    )

    def wrapped(*args: Any, **kwargs: Any) -> Any:
        return compiled(*args, **kwargs)

    return wrapped


def grad(
    fn: Callable[..., Any],
    argnums: int | Sequence[int] = 0,
    *,
    wrt: Sequence[Any] | None = None,
    has_aux: bool = False,
) -> Callable[..., Any]:
    """As `value_and_grad`, but gives the gradient alone ((gradient, aux) with `has_aux`).

    Example:
        >>> import ostria as ost
        >>> ost.grad(lambda x: x * x * x)(ost.asarray(2.0)).item()
        12.0
    """
    both = value_and_grad(fn, argnums, wrt=wrt, has_aux=has_aux)

    def wrapped(*args: Any, **kwargs: Any) -> Any:
        result, g = both(*args, **kwargs)
        return (g, result[1]) if has_aux else g

    return wrapped


class GradientTape:
    """Records eager ops while they run; the recording is the graph that autodiff reads.

    Variables are watched by themselves, tensors with `watch`. In a compiled function, where nothing
    has run yet, entering one is a ValueError: `ost.gradients` differentiates there.

    Example:
        >>> import ostria as ost
        >>> x = ost.asarray(3.0)
        >>> with ost.GradientTape() as tape:
        ...     tape.watch(x)
        ...     y = x * x
        >>> tape.gradient(y, x).item()
        6.0
    """

    def __init__(self) -> None:
        self._trace = _native.Trace("tape")

    def __enter__(self) -> GradientTape:
        outer = _native.current_trace()
        if outer is not None and not outer.is_tape:
            raise ValueError(
                at_line(
                    "GradientTape: a tape records ops while they run, but this function is being "
                    "traced; use ost.gradients(loss, variables) in it, or enter the tape outside"
                )
            )
        self._trace.push()
        return self

    def __exit__(self, *exc: object) -> None:
        self._trace.pop()

    def watch(self, tensor: Any) -> None:
        """From now on, ops on `tensor` are recorded."""
        self._trace.watch(tensor)

    def gradient(self, target: Any, sources: Any) -> Any:
        """d(target)/d(sources), with the structure of `sources`; may be called more than once."""
        leaves, structure = _tree.flatten(sources)
        targets = list(target) if isinstance(target, (list, tuple)) else [target]
        grads = self._trace.gradients(targets, [None] * len(targets), leaves)
        return _tree.unflatten(structure, list(grads))


def _zeros_in_trace(x: Any) -> Any:
    # Made of x, so that it is a node of x's trace whatever the shape; x < x is false for NaN too.
    ops = _native.ops
    return ops.logical_xor(x, x) if x.dtype == _native.bool_ else ops.cast(ops.less(x, x), x.dtype)


def _pair(fn: Callable[..., Any], result: Any) -> Any:
    is_sequence = isinstance(result, (tuple, list))
    if not is_sequence or len(result) != 2 or not callable(result[1]):
        got = f"a {type(result).__name__}"
        if is_sequence:
            got += " of " + (", ".join(type(item).__name__ for item in result) or "nothing")
        raise TypeError(
            at_line(
                f"custom_gradient: {_name(fn)} returned {got}; return (y, backward), where "
                "backward(*cotangents) gives one gradient per argument"
            )
        )
    return result


def _name(fn: Callable[..., Any]) -> str:
    return getattr(fn, "__name__", "function")


def custom_gradient(fn: Callable[..., Any]) -> Callable[..., Any]:
    """Gives a function a gradient of your own.

    `fn(*tensors)` returns `(y, backward)`; `y` is a tensor or a tuple, and `backward(*cotangents)`
    returns one gradient per argument. Tensors and Variables that `fn` closes over get none. Both
    are traced where the function is differentiated; `fn` must not change state.

    Example:
        >>> import ostria as ost
        >>> @ost.custom_gradient
        ... def clip_gradient(x):
        ...     return x * 1.0, lambda g: ost.clip(g, -1.0, 1.0)
        >>> ost.grad(lambda x: 5.0 * clip_gradient(x))(ost.asarray(2.0)).item()
        1.0
    """

    check_function("custom_gradient", "fn", fn)

    def call(*args: Any) -> Any:
        outer = _native.current_trace()
        if outer is None:
            return _pair(fn, fn(*args))[0]
        operands = [outer.use(a) for a in args]
        part_of = _step.current()
        step = part_of[0]
        drawn = _step.draw_counts(step.notes)
        forward = _native.Trace("function")
        _step.enter(forward, *part_of)
        forward.push()
        try:
            inputs = [
                forward.add_input(f"x{i}", a.dtype, tuple(a.shape), a)
                for i, a in enumerate(operands)
            ]
            y, _ = _pair(fn, fn(*inputs))
            ys, structure = _tree.flatten(y)
            ys = [forward.use(v) for v in ys]
            _activity.leave(forward, outer)
        finally:
            forward.pop()
        captures = forward.captures()

        _step.set_draw_counts(step.notes, drawn)  # the same draws when it is traced again
        backward = _native.Trace("function")
        _step.enter(backward, *part_of)
        backward.push()
        try:
            inputs = [
                backward.add_input(f"x{i}", a.dtype, tuple(a.shape), a)
                for i, a in enumerate(operands)
            ]
            captured = [backward.use(c) for c in captures]
            cotangents = [
                backward.add_input(f"g{i}", v.dtype, tuple(v.shape)) for i, v in enumerate(ys)
            ]
            _, rule = _pair(fn, fn(*inputs))
            grads = rule(*cotangents)
            grads = list(grads) if isinstance(grads, (list, tuple)) else [grads]
            if len(grads) != len(operands):
                raise TypeError(
                    at_line(
                        f"custom_gradient: {_name(fn)}'s backward function returned "
                        f"{len(grads)} gradient(s) for {len(operands)} argument(s)"
                    )
                )
            for i, (g, a) in enumerate(zip(grads, operands, strict=True)):
                if tuple(g.shape) != tuple(a.shape):
                    raise ValueError(
                        at_line(
                            f"custom_gradient: gradient {i} of {_name(fn)} has shape "
                            f"{list(g.shape)}, but its argument has {list(a.shape)}"
                        )
                    )
            grads = [backward.use(g) for g in grads]
            grads += [_zeros_in_trace(c) for c in captured]
        finally:
            backward.pop()
        if len(backward.captures()) != len(captures):
            raise ValueError(
                at_line(
                    f"custom_gradient: the backward function of {_name(fn)} uses a tensor that "
                    "the forward function does not; pass it as an argument"
                )
            )
        outputs = _native.call_body(forward, ys, backward, grads, operands + list(captures))
        if outer.is_tape:
            step.end(None)
        return _tree.unflatten(structure, list(outputs))

    call.__name__ = _name(fn)
    call.__doc__ = fn.__doc__
    return call
