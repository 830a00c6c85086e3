# SPDX-License-Identifier: Apache-2.0
"""`ost.compile`: a Python function becomes a graph once, and is replayed from then on."""

from __future__ import annotations

import functools
import itertools
import time
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

from ostria import _accumulate, _device, _native, _plan, _trainable, _tree, mixed_precision
from ostria._checks import check_positive_int
from ostria._errors import at_line
from ostria._keywords import checked_keywords
from ostria._plan import PlanReport

_Tensor = _native.Tensor
_MANY = 3  # more traces than these, and `explain` shows only the latest in full
_THRASH = 8  # retraces of one function after which a warning explains what changes


class _Entry:
    """One traced graph and how to call it."""

    def __init__(
        self,
        compiled: Any,
        structure: Any,
        static: list[Any],
        given: list[str],
        why: str,
        seconds: float,
        reads: _trainable.Reads,
    ):
        self.compiled = compiled
        self.given = given  # the arguments as text
        self.structure = structure
        self.static = static  # (position, value) of results that are not tensors
        self.why = why
        self.policy = mixed_precision.global_policy()
        self.report: list[str] = []  # what precision, a budget, a strategy changed
        self.rows = 0  # of the batch that can be split
        self.seconds = seconds
        self.reads = reads
        self.device_version = -1  # of the default device that it is known to be for
        self.version = _trainable.version  # of the flags that this graph is known to be for
        self.last_inputs: list[Any] | None = None
        self.is_single = structure == _tree.LEAF and not static

    def outdated(self) -> list[str]:
        """What is trainable now and was not while tracing, or the other way round."""
        if self.version == _trainable.version:
            return []
        differences = self.reads.differences()
        if not differences:
            self.version = _trainable.version
        return differences

    def run(self, inputs: list[Any], debug: bool) -> Any:
        self.last_inputs = inputs
        outputs = self.compiled.run_debug(inputs) if debug else self.compiled.run(inputs)
        return outputs[0] if self.is_single else self.unpack(outputs)

    def unpack(self, outputs: list[Any]) -> Any:
        for position, value in self.static:
            outputs.insert(position, value)
        return _tree.unflatten(self.structure, outputs)


class CompiledFunction:
    """A function made by `ost.compile`; call it like the original."""

    _entry_type = _Entry

    def __init__(
        self,
        fn: Callable[..., Any],
        *,
        dynamic_batch: bool,
        device: str | None,
        memory_limit: int | None,
        eager: bool,
        name: str | None,
        precision: str | None = None,
        accumulate: int = 1,
        memory_budget: int | str | None = None,
    ):
        functools.update_wrapper(self, fn)
        self._fn = fn
        self._accumulate = check_positive_int("compile", "accumulate", accumulate)
        self._budget = (
            None if memory_budget is None else _accumulate.parse_bytes(memory_budget, "compile")
        )
        # How a batch is split depends on its size: each has a trace of its own.
        is_split = self._accumulate > 1 or self._budget is not None
        self._dynamic_batch = dynamic_batch and not is_split
        if device is not None:
            _native.device_name(device)  # raises where it names none
        self._device = device
        self._memory_limit = memory_limit or 0
        self._precision = None if precision is None else mixed_precision.policy(precision)
        self._eager = eager
        self.name = name or getattr(fn, "__name__", "function")
        self._entries: dict[Any, _Entry] = {}
        self._last: _Entry | None = None
        self._warned = False
        self._objects: dict[int, Any] = {}  # static arguments keyed by identity stay alive

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        last = self._last
        if (
            last is not None
            and not kwargs
            and not _debugging
            and last.version == _trainable.version
            and (self._device is not None or last.device_version == _device.version)
            and last.policy is self._policy()
        ):
            outputs = last.compiled.run_same(args)  # None unless tensors of the same types
            if outputs is not None:
                return outputs[0] if last.is_single else last.unpack(outputs)
        return self._call(args, kwargs)

    def _place(self) -> str:
        return _native.get_default_device() if self._device is None else self._device

    def _policy(self) -> mixed_precision.Policy:
        return self._precision or mixed_precision._global

    def _call(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if self._eager or _native.current_trace() is not None:
            return self._fn(*args, **kwargs)  # inside another trace its nodes join that graph
        entry, arrays = self._entry(args, kwargs)
        result = entry.run(arrays, _debugging)
        entry.device_version = _device.version
        plain = not kwargs and all(type(a) is _Tensor for a in args)
        self._last = entry if plain and not _debugging else None
        return result

    def _entry(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[_Entry, list[Any]]:
        leaves, structure = _tree.flatten((args, kwargs))
        arrays, keys = self._keys(leaves, structure)
        frozen: list[str] = []
        for variant in itertools.count():  # one for each setting of `trainable`
            key = (structure, tuple(keys), self._policy(), self._place(), variant)
            if key not in self._entries:
                self._entries[key] = self._fitting(structure, leaves, keys, frozen)
            entry = self._entries[key]
            frozen = entry.outdated()
            if not frozen:
                break
        return entry, arrays

    def _keys(self, leaves: list[Any], structure: Any) -> tuple[list[Any], list[Any]]:
        """The arrays among the leaves, and what tells each leaf's kind from others'."""
        arrays, keys = [], []
        batch = None
        for leaf in leaves:
            if isinstance(leaf, (_Tensor, np.ndarray)):
                shape = tuple(leaf.shape)
                if self._dynamic_batch and shape:
                    if batch is None:
                        batch = shape[0]
                    if shape[0] == batch:
                        shape = ("batch", *shape[1:])
                arrays.append(leaf)
                keys.append((str(leaf.dtype), shape))
            else:
                keys.append(("static", self._static_key(leaf)))
        return arrays, keys

    def _static_key(self, leaf: Any) -> Any:
        if isinstance(leaf, np.generic):
            return (type(leaf), leaf.tobytes())
        if isinstance(leaf, float):
            return (type(leaf), leaf.hex())  # tells 0.0 from -0.0; NaN is itself
        if isinstance(leaf, (bool, int, str, bytes, _native.DType)):
            return (type(leaf), leaf)
        self._objects[id(leaf)] = leaf
        return id(leaf)

    def _fitting(
        self, structure: Any, leaves: list[Any], keys: list[Any], frozen: list[str]
    ) -> _Entry:
        """The trace of the fewest micro-batches that fit the budget; then with recomputation."""
        if self._budget is None:
            return self._trace(structure, leaves, keys, frozen, self._accumulate)
        found: dict[int, _Entry | None] = {}
        rows = 0

        def fits(steps: int) -> bool:
            nonlocal rows
            entry = self._trace(structure, leaves, keys, frozen, steps)
            rows = entry.rows
            try:
                entry.compiled.plan_stats({})
            except _native.OutOfMemoryError:
                found[steps] = None
                return False
            found[steps] = entry
            return True

        low, high = 0, self._accumulate  # `low` does not fit
        while not fits(high):
            if high >= rows:
                return self._recomputed(structure, leaves, keys, frozen, min(high, max(rows, 1)))
            low, high = high, min(2 * high, rows)
        while high - low > 1 and low > 0:
            middle = (low + high) // 2
            low, high = (low, middle) if fits(middle) else (middle, high)
        entry = found[high]
        assert entry is not None
        entry.report.append(self._budget_text(entry, high))
        return entry

    def _recomputed(
        self, structure: Any, leaves: list[Any], keys: list[Any], frozen: list[str], steps: int
    ) -> _Entry:
        entry = self._trace(structure, leaves, keys, frozen, steps, recompute=True)
        stats = entry.compiled.plan_stats({})  # raises OutOfMemoryError with the largest values
        again = f", {stats['recomputed_nodes']} node(s) computed again"
        entry.report.append(self._budget_text(entry, steps) + again)
        return entry

    def _budget_text(self, entry: _Entry, steps: int) -> str:
        peak = entry.compiled.plan_stats({})["peak_bytes"]
        rows = ""
        if entry.rows:
            size = -(-entry.rows // steps)
            steps = -(-entry.rows // size)  # as many as there are, of those asked for
            rows = f" of at most {size} rows"
        return f"memory budget {self._budget} bytes: {peak} used, {steps} micro-batch(es){rows}"

    def _trace(
        self,
        structure: Any,
        leaves: list[Any],
        keys: list[Any],
        frozen: list[str],
        steps: int,
        recompute: bool = False,
    ) -> _Entry:
        given = [
            _shortened(repr(leaf)) if key[0] == "static" else f"{key[0]}{_sizes_text(key[1])}"
            for leaf, key in zip(leaves, keys, strict=True)
        ]
        why = self._why(structure, keys, given, frozen)
        begin = time.perf_counter()
        trace = _native.Trace("graph")
        policy = self._policy()
        trace.scratch["precision"] = policy
        trace.scratch["accumulate"] = steps
        if policy.is_mixed:
            trace.set_precision(policy.compute_dtype)
        trace.push()
        try:
            inputs = []
            for i, (leaf, key) in enumerate(zip(leaves, keys, strict=True)):
                if key[0] == "static":
                    inputs.append(leaf)
                else:
                    inputs.append(trace.add_input(f"x{i}", _native.dtype(key[0]), key[1]))
            self._begin(trace, keys, inputs)
            args, kwargs = _tree.unflatten(structure, inputs)
            with _trainable.Reads() as reads:
                result = self._fn(*args, **kwargs)
                for callback in trace.scratch.get("finish", []):
                    callback()
            outputs, out_structure = _tree.flatten(result)
            static = [(i, y) for i, y in enumerate(outputs) if not _is_array(y)]
            tensors = [y for y in outputs if _is_array(y)]
            limit = self._budget or self._memory_limit
            compiled = self._finish(trace, tensors, limit, recompute)
            if self._accumulate > 1 and "rows" not in trace.scratch:
                raise ValueError(
                    at_line(
                        f"compile: accumulate={self._accumulate} splits what "
                        f"optimizer.minimize_batch is given, but {self.name} splits no batch; "
                        "call minimize_batch in it instead of minimize, or leave accumulate out"
                    )
                )
            rows = trace.scratch.get("rows", 0)
            report = mixed_precision.report(trace, policy) if policy.is_mixed else []
            report += trace.scratch.get("report", [])
        finally:
            trace.pop()
        seconds = time.perf_counter() - begin
        entry = self._entry_type(compiled, out_structure, static, given, why, seconds, reads)
        entry.policy, entry.report, entry.rows = policy, report, rows
        return entry

    def _begin(self, trace: Any, keys: list[Any], inputs: list[Any]) -> None:
        """The trace has its inputs; the function comes next."""

    def _finish(self, trace: Any, tensors: list[Any], limit: int, recompute: bool) -> Any:
        return _native.finish_trace(trace, tensors, self._place(), limit, recompute)

    def _why(self, structure: Any, keys: list[Any], given: list[str], frozen: list[str]) -> str:
        if not self._entries:
            return "first call"
        (old_structure, old_keys, old_policy, old_place, _), last = next(
            reversed(self._entries.items())
        )
        if frozen:
            why = "; ".join(frozen)
        elif old_policy != self._policy():
            why = f"precision {self._policy().name} (was {old_policy.name})"
        elif old_place != self._place():
            why = f"device {self._place()} (was {old_place})"
        elif old_structure != structure:
            why = "the arguments have another structure"
        else:
            places = self._places(structure)
            changes = [
                f"argument {places[i]}: {given[i]} (was {last.given[i]})"
                for i, (old, new) in enumerate(zip(old_keys, keys, strict=True))
                if old != new
            ]
            why = "; ".join(changes) or "the same arguments as an earlier trace that was dropped"
        if len(self._entries) >= _THRASH and not self._warned:
            self._warned = True
            warnings.warn(
                f"ost.compile: {self.name} was traced {len(self._entries) + 1} times; the last "
                f"time because of {why}. Pass changing numbers as tensors, or use "
                f"dynamic_batch=True for a changing batch size; {self.name}.explain() lists every "
                "trace.",
                stacklevel=7,
            )
        return why

    def _places(self, structure: Any) -> list[str]:
        """The name of the argument that each leaf belongs to, and where it is in there."""
        code = getattr(self._fn, "__code__", None)
        names = code.co_varnames[: code.co_argcount] if code else ()
        names = names[1:] if getattr(self._fn, "__self__", None) is not None else names
        args, kwargs = structure[2]
        places = []
        for i, child in enumerate(args[2]):
            places += _tree.places(child, repr(names[i]) if i < len(names) else str(i))
        for key, child in zip(kwargs[1], kwargs[2], strict=True):
            places += _tree.places(child, repr(key))
        return places

    # --- Looking inside ---------------------------------------------------------------------------

    @property
    def num_traces(self) -> int:
        """How often the Python function was run to build a graph."""
        return len(self._entries)

    @property
    def num_specialisations(self) -> int:
        """How many plans were made, over all traces and batch sizes."""
        return sum(e.compiled.num_specialised for e in self._entries.values())

    def trace(self, *args: Any, **kwargs: Any) -> Any:
        """Builds the graph for these arguments without running it; returns the native graph."""
        return self._entry(args, kwargs)[0].compiled

    def memory_plan(self, *args: Any, **kwargs: Any) -> dict[str, int]:
        """Planned bytes for these arguments, before any step runs (see `Model.memory_plan`).

        Raises:
            OutOfMemoryError: the plan is over `memory_limit`; names the largest values and their
                lines.
        """
        entry, arrays = self._entry(args, kwargs)
        return dict(entry.compiled.plan_stats(self._sizes(arrays)))

    def plan_for(self, device: Any, /, *args: Any, **kwargs: Any) -> PlanReport:
        """The plan for these arguments on a device, which need not be there; nothing runs or moves.

        A GPU that is not there is described by JSON, in the form of cuDNN's device properties;
        where it is there, `plan_for("cuda", ...).description` is that. Values of arguments do not
        matter, so `np.empty` will do. To make a large model for this alone, make it inside of
        `ost.device("null")`: it then takes no memory.

        Args:
            device: a name such as "cpu" or "cuda"; or, for a GPU, a dict, JSON text, or the path of
                a JSON file.
            args, kwargs: what the function would be called with.

        Raises:
            ValueError: the description lacks what a plan needs.
            OSError: a file that was named cannot be read.
            DeviceUnavailableError: a device was named that is not there, or a library that plans
                need is missing.

        Example:
            >>> import ostria as ost
            >>> step = ost.compile(lambda x: ost.sum(x * x))
            >>> step.plan_for("cpu", ost.zeros((8, 8))).transposes
            0
        """
        entry, arrays = self._entry(args, kwargs)
        place, description = _plan.described(device)
        summary = entry.compiled.plan_for(self._sizes(arrays), place, description)
        return _plan.report(summary, entry.report)

    def _sizes(self, arrays: list[Any]) -> dict[str, int]:
        for array in arrays:
            if self._dynamic_batch and len(array.shape) > 0:
                return {"batch": int(array.shape[0])}
        return {}

    def profile(self, *args: Any, runs: int = 20, **kwargs: Any) -> list[dict[str, Any]]:
        """What each node of the plan for these arguments costs: the median of `runs` runs.

        Every run is timed node by node, on a GPU by events in its streams, so the sum is more than
        a replayed step takes. Variables are as they were before.

        Returns:
            One dict per node, in the order of the plan: `op`, `impl`, `detail`, `line` (of the
            user's program) and `ns`.

        Example:
            >>> import ostria as ost
            >>> double = ost.compile(lambda x: x + x)
            >>> [row["op"] for row in double.profile(ost.ones((2, 3)))]
            ['add']
        """
        runs = check_positive_int("profile", "runs", runs)
        entry, arrays = self._entry(args, kwargs)
        return self._costs(entry, arrays, runs)

    def _costs(self, entry: _Entry, arrays: list[Any], runs: int) -> list[dict[str, Any]]:
        rows = entry.compiled.profile(self._sizes(arrays), arrays, runs)
        return cost_rows(rows)

    def explain(self, runs: int = 20) -> str:
        """What was traced and why, the graph, the plan, the median cost of each node in `runs`.

        Of more than three traces only the latest is shown in full.
        """
        lines = [f"{self.name}: {self.num_traces} trace(s), {self.num_specialisations} plan(s)"]
        for number, entry in enumerate(self._entries.values()):
            c = entry.compiled
            lines.append(
                f"trace {number}: {entry.why}; {c.num_nodes} nodes, "
                f"{entry.seconds * 1e3:.1f} ms, {c.calls} call(s)"
            )
            if _MANY < self.num_traces != number + 1:
                continue
            lines += ["  " + line for line in entry.report]
            for sizes, why, seconds, calls, steps in c.specialisations():
                lines.append(
                    f"  plan {sizes or 'static'}: {why}; {steps} steps, {seconds * 1e3:.1f} ms, "
                    f"{calls} call(s)"
                )
            if entry.last_inputs is None:
                continue
            sizes = self._sizes(entry.last_inputs)
            rows = self._costs(entry, entry.last_inputs, runs)
            total = sum(row["ns"] for row in rows) or 1.0
            lines.append("  cost per node:")
            for row in rows:
                detail = f", {row['detail']}" if row["detail"] else ""
                lines.append(
                    f"    {row['ns'] / 1e3:10.2f} us {100 * row['ns'] / total:5.1f} %  "
                    f"{row['op']} <{row['impl']}{detail}>  {row['line']}"
                )
            lines.append("  graph:")
            lines += ["    " + text for text in c.text().splitlines()]
            lines.append("  plan:")
            lines += ["    " + text for text in c.plan_text(sizes).splitlines()]
        return "\n".join(lines)


def cost_rows(rows: list[Any]) -> list[dict[str, Any]]:
    """Rows of `profile` with names."""
    return [dict(zip(("op", "impl", "detail", "line", "ns"), row, strict=True)) for row in rows]


def _sizes_text(shape: tuple[Any, ...]) -> str:
    return f"[{', '.join(str(d) for d in shape)}]"


def _shortened(text: str) -> str:
    return text if len(text) <= 60 else text[:57] + "..."


def _is_array(value: Any) -> bool:
    return isinstance(value, (_Tensor, _native.Variable, np.ndarray))


@checked_keywords("compile")
def compile(
    fn: Callable[..., Any] | None = None,
    *,
    dynamic_batch: bool = False,
    device: str | None = None,
    memory_limit: int | None = None,
    eager: bool = False,
    name: str | None = None,
    precision: str | None = None,
    accumulate: int = 1,
    memory_budget: int | str | None = None,
) -> Any:
    """Compiles `fn`: traced once per kind of arguments, planned once per size, replayed afterwards.

    Tensors and NumPy arrays among the arguments (in nested dicts, lists and tuples too) are inputs
    of the graph; everything else is static and part of the key, and so is what `fn` asked of
    `trainable`. Variables that `fn` reads and
    assigns, of modules, optimizers, metrics and generators, are captured. Plain Python side effects
    happen only while tracing.

    Args:
        fn: the function; without it, a decorator is returned.
        dynamic_batch: the leading size of the first array, and of every array that shares it,
            becomes the symbol `batch`: one trace serves every batch size, 0 included.
        device: where it runs: "cpu", "cuda", "cuda:1"; by default `ost.default_device()` at the
            call. Variables that it uses move there. "null" plans and computes nothing.
        memory_limit: bytes that a plan may take; a larger one is refused before its first step.
        eager: run `fn` as plain Python instead, to look at values.
        name: what messages and reports call it.
        precision: a policy of `ost.mixed_precision`, such as 'mixed_bfloat16'; by default the one
            that `ost.mixed_precision.set_policy` chose. `explain` says what it cast.
        accumulate: micro-batches that `optimizer.minimize_batch` splits its batch into; without
            such a call it is an error.
        memory_budget: bytes, or text such as "512MB", that a plan may take. Where the plan is
            larger, the batch is split into the fewest micro-batches that fit; where none do, values
            are computed again in the backward pass as well. `explain` says what was chosen. With
            this or `accumulate`, each batch size has a trace of its own.

    Example:
        >>> import ostria as ost
        >>> double = ost.compile(lambda x: x + x)
        >>> double(ost.asarray([1.0, 2.0])).numpy().tolist()
        [2.0, 4.0]
    """

    def wrap(f: Callable[..., Any]) -> CompiledFunction:
        if not callable(f):
            raise TypeError(at_line(f"compile: {f!r} is no function; give one, or a module"))
        return CompiledFunction(
            f,
            dynamic_batch=dynamic_batch,
            device=device,
            memory_limit=memory_limit,
            eager=eager,
            name=name,
            precision=precision,
            accumulate=accumulate,
            memory_budget=memory_budget,
        )

    return wrap if fn is None else wrap(fn)


_debugging = False


class debug:
    """Context manager: compiled functions run node by node and stop at the first non-finite value,
    eager ops likewise.

    Raises (from the calls inside):
        NonFiniteError: names the first op that made NaN or infinity, and your line; or the input or
            Variable that held it before.
    """

    def __enter__(self) -> debug:
        global _debugging
        self._outer, _debugging = _debugging, True
        _native.set_eager_debug(True)
        return self

    def __exit__(self, *exc: object) -> None:
        global _debugging
        _debugging = self._outer
        _native.set_eager_debug(_debugging)
