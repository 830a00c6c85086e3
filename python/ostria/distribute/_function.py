# SPDX-License-Identifier: Apache-2.0
"""A function compiled for all replicas of a strategy: traced once, run by each on its own inputs.

The graph's last arguments are not the user's: which replica it is, and at which row of the whole
batch its rows begin. So replicas share the graph, and draw the numbers that one device would.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from ostria import _compile, _device, _native, _step
from ostria import _functions as F
from ostria._errors import add_remark, at_line
from ostria.distribute import _context
from ostria.distribute._values import PerReplica

if TYPE_CHECKING:
    from ostria.distribute._strategy import Strategy

_Tensor = _native.Tensor
_NO_ROW = np.array(0, np.int64)
_OWN = "own"  # ends the key of what each replica is given its own of


class _Inputs(list[Any]):
    """The arrays of each replica, the sizes of the first one's symbols, the rows of each."""

    sizes: dict[str, int]
    rows: tuple[int, ...]


class _ReplicaEntry(_compile._Entry):
    is_alone = False
    counts_rows = False  # it needs to know where each replica's rows begin

    def run(self, inputs: list[Any], debug: bool) -> Any:
        self.last_inputs = inputs
        if self.is_alone:
            run = self.compiled.run_debug if debug else self.compiled.run
            outputs = run(inputs[0])
        else:
            results = self.compiled.run_replicas(inputs, debug)
            many = len(results) > 1
            outputs = [
                PerReplica(values) if many else values[0] for values in zip(*results, strict=True)
            ]
        return outputs[0] if self.is_single else self.unpack(outputs)


class ReplicaFunction(_compile.CompiledFunction):
    """What `strategy.compile` returns: call it with the arguments of `strategy.run`.

    `explain`, `profile`, `memory_plan` and `plan_for` are those of a compiled function; what is
    timed is replica 0 while all run.
    """

    _entry_type = _ReplicaEntry

    def __init__(
        self,
        fn: Callable[..., Any],
        strategy: Strategy,
        *,
        name: str | None = None,
        precision: str | None = None,
        accumulate: int = 1,
    ) -> None:
        super().__init__(
            fn,
            dynamic_batch=True,
            device=strategy.devices[0],
            memory_limit=None,
            eager=False,
            name=name,
            precision=precision,
            accumulate=accumulate,
        )
        self._strategy = strategy
        self._kept: dict[Any, list[int | str]] = {}  # for _first_sizes, by the kind of arguments
        self._ids = [
            np.array(strategy._first_replica + i, np.int32)  # on no device: each has its own
            for i in range(len(strategy.devices))
        ]

    def _call(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        self._strategy._require_here("strategy.run")
        with self._strategy._begin_run(self):
            entry, inputs = self._entry(args, kwargs)
            result = entry.run(inputs, _compile._debugging)
        self._strategy._ran(self)
        return result

    def _entry(
        self, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[_ReplicaEntry, _Inputs]:
        entry, inputs = super()._entry(args, kwargs)
        assert isinstance(entry, _ReplicaEntry) and isinstance(inputs, _Inputs)
        if entry.counts_rows:  # workers have to ask each other, which takes a while
            firsts = self._strategy._first_rows(inputs.rows)
            for own, first in zip(inputs, firsts, strict=True):
                own[-1] = np.array(first, np.int64)
        return entry, inputs

    # --- Arguments --------------------------------------------------------------------------------

    def _keys(self, leaves: list[Any], structure: Any) -> tuple[list[Any], list[Any]]:
        count = len(self._strategy.devices)
        inputs = _Inputs([] for _ in range(count))
        keys: list[Any] = []
        rows: list[tuple[int, ...]] = []  # first sizes of what each replica has its own of
        places: list[int] = []
        # What the one replica of a process is given is its own, as others have theirs.
        is_lone = count == 1
        for i, leaf in enumerate(leaves):
            if is_lone and isinstance(leaf, (_Tensor, np.ndarray)):
                leaf = PerReplica([leaf])
            if isinstance(leaf, PerReplica):
                values = self._values(leaf, i, structure)
                keys.append(self._key_of_parts(values, i, structure))
                if values[0].shape:
                    rows.append(tuple(int(value.shape[0]) for value in values))
                    places.append(i)
            elif isinstance(leaf, (_Tensor, np.ndarray)):
                values = [leaf] * count
                keys.append((str(leaf.dtype), tuple(leaf.shape)))
            else:
                keys.append(("static", self._static_key(leaf)))
                continue
            for own, value in zip(inputs, values, strict=True):
                own.append(value)
        firsts = self._first_sizes((structure, tuple(keys)), rows)
        inputs.sizes = {}
        for i, first, sizes in zip(places, firsts, rows, strict=True):
            dtype, shape, own_key = keys[i]
            keys[i] = (dtype, (first, *shape[1:]), own_key)
            if isinstance(first, str):
                inputs.sizes[first] = sizes[0]
        inputs.rows = rows[0] if rows else (0,) * count
        for own, replica_id in zip(inputs, self._ids, strict=True):
            own += [replica_id, _NO_ROW]
        return inputs, keys

    def _first_sizes(self, kind: Any, rows: list[tuple[int, ...]]) -> list[int | str]:
        """The first size of each array in the graph, as `_grouped` says, the same in all processes.

        What one process is given is no base for that: its last batch may have as many rows as
        another argument. So they look at the sizes of all, once for each kind of arguments, and
        keep to what came out as long as it fits.
        """
        if len(rows) < 2:
            return ["batch"] * len(rows)
        kept = self._kept.get(kind)
        if kept is None or not _fits(kept, rows):
            everyone = [self._strategy._sizes_of_all(own, str(self.name)) for own in rows]
            kept = self._kept[kind] = _grouped(everyone, kept)
        return kept

    def _values(self, leaf: PerReplica, i: int, structure: Any) -> list[Any]:
        count = len(self._strategy.devices)
        if len(leaf.values) != count:
            self._fail(
                i,
                structure,
                f"has values of {len(leaf.values)} replicas, but the strategy has {count} in this "
                "process",
            )
        values = []
        for r, value in enumerate(leaf.values):
            if isinstance(value, (bool, int, float, np.generic)):
                value = F.asarray(value)
            if isinstance(value, _native.Variable):
                value = value.value()
            if not isinstance(value, (_Tensor, np.ndarray)):
                self._fail(
                    i,
                    structure,
                    f"is a {type(value).__name__} on replica {r}; what differs between replicas "
                    "must be a tensor, an array or a number",
                )
            values.append(value)
        return values

    def _key_of_parts(
        self, values: list[Any], i: int, structure: Any
    ) -> tuple[str, tuple[Any, ...], str]:
        """Without the first size, which replicas may have different ones of."""
        dtype, shape = str(values[0].dtype), tuple(values[0].shape)
        for r, value in enumerate(values):
            if str(value.dtype) != dtype or tuple(value.shape)[1:] != shape[1:]:
                self._fail(
                    i,
                    structure,
                    f"is {dtype}{list(shape)} on replica 0 and {value.dtype}{list(value.shape)} on "
                    f"replica {r}; only the first size may differ between replicas",
                )
            if len(value.shape) != len(shape):
                self._fail(
                    i, structure, f"has shape {list(shape)} and {list(value.shape)} on replica {r}"
                )
        return dtype, (None, *shape[1:]) if shape else (), _OWN

    def _fail(self, i: int, structure: Any, what: str) -> None:
        raise ValueError(at_line(f"strategy.run: argument {self._places(structure)[i]} {what}"))

    def _sizes(self, arrays: list[Any]) -> dict[str, int]:
        assert isinstance(arrays, _Inputs)
        return arrays.sizes

    # --- Tracing ----------------------------------------------------------------------------------

    def _trace(self, *args: Any, **options: Any) -> _compile._Entry:
        self._rows: _step.ReplicaRows | None = None
        try:
            with _device.device(self._strategy.devices[0]):  # of Variables that are made inside
                entry = super()._trace(*args, **options)
        except TypeError as error:
            if "needs the value of a traced tensor" in str(error):
                add_remark(
                    error,
                    "; replicas run one graph, so what depends on replica_id_in_sync_group is "
                    "chosen by ost.where or ost.cond",
                )
            raise
        assert isinstance(entry, _ReplicaEntry)
        entry.is_alone = self._strategy._group is None
        entry.counts_rows = self._rows is not None and self._rows.is_asked
        self._strategy._traced_for_all(str(self.name), entry.compiled)
        return entry

    def _begin(self, trace: Any, keys: list[Any], inputs: list[Any]) -> None:
        replica_id = trace.add_input("replica_id", _native.int32, ())
        first_row = trace.add_input("first_row", _native.int64, ())
        strategy, notes = self._strategy, trace.scratch
        given = [key for key in keys if key[0] != "static"]
        own = [i for i, key in enumerate(given) if key[-1] == _OWN]
        notes["own_inputs"] = [*own, len(given), len(given) + 1]
        notes["replicas"] = strategy.num_replicas_in_sync
        notes["state_parts"] = strategy._parts
        notes["replica_context"] = _context.ReplicaContext(strategy, replica_id)
        if strategy.num_replicas_in_sync > 1:
            self._rows = _step.ReplicaRows(replica_id, first_row, _batch(keys, inputs))
            notes["replica_rows"] = self._rows

    def _finish(self, trace: Any, tensors: list[Any], limit: int, recompute: bool) -> Any:
        return _native.finish_trace(
            trace,
            tensors,
            self._place(),
            limit,
            recompute,
            replicas=self._strategy._group,
            own_inputs=trace.scratch["own_inputs"],
            label=self._strategy._label_of(self),
        )

    def _costs(self, entry: Any, arrays: list[Any], runs: int) -> list[dict[str, Any]]:
        if entry.is_alone:
            return _compile.cost_rows(entry.compiled.profile(self._sizes(arrays), arrays[0], runs))
        return _compile.cost_rows(entry.compiled.profile_replicas(list(arrays), runs))


def _grouped(rows: list[tuple[int, ...]], kept: list[int | str] | None) -> list[int | str]:
    """The first size of each array: a symbol that those with equal sizes on every replica share.

    But an array other than the first has a number where all replicas have that. Of what was `kept`,
    groups may split, and never merge: they have been equal by accident.
    """
    symbols: dict[tuple[Any, tuple[int, ...]], str] = {}
    firsts: list[int | str] = []
    for i, sizes in enumerate(rows):
        before = "batch" if kept is None else kept[i]
        group = (before if isinstance(before, str) else i, sizes)
        if group not in symbols:
            was_own = isinstance(before, str) and before != "batch"
            if symbols and len(set(sizes)) == 1 and not was_own:
                firsts.append(sizes[0])
                continue
            symbols[group] = f"batch_{len(symbols)}" if symbols else "batch"
        firsts.append(symbols[group])
    return firsts


def _fits(firsts: list[int | str], rows: list[tuple[int, ...]]) -> bool:
    found: dict[str, tuple[int, ...]] = {}
    for first, sizes in zip(firsts, rows, strict=True):
        if isinstance(first, str):
            if found.setdefault(first, sizes) != sizes:
                return False
        elif set(sizes) != {first}:
            return False
    return True


def _batch(keys: list[Any], inputs: list[Any]) -> Any:
    """The symbol of the rows that replicas share out; None where there is none."""
    for key, tensor in zip(keys, inputs, strict=True):
        if key[0] != "static" and key[1] and key[1][0] == "batch":
            return tensor.shape[0]
    return None
