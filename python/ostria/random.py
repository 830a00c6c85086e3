# SPDX-License-Identifier: Apache-2.0
"""Counter-based random numbers (Philox4x32-10, Salmon et al., SC 2011).

A draw is a function of (seed, step, stream, element): the same for any batch split, number of
threads and replicas. A compiled function that draws advances its generator by one step per call;
the stream tells its draws apart, by module path and order within the module, never by a node's
position.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ostria import _functions as F
from ostria import _native, _scope, _step
from ostria._checks import check_share
from ostria._errors import at_line
from ostria._functions import astensor

__all__ = [
    "Generator",
    "default_generator",
    "dropout",
    "normal",
    "permutation",
    "seed",
    "truncated_normal",
    "uniform",
]

_ops = _native.ops


class Generator:
    """A source of random numbers whose whole state is one Variable: int64 [seed, step]."""

    def __init__(self, seed: int = 0, *, name: str = "generator"):
        self._state = _native.Variable(
            np.array([check_seed(seed), 0], np.int64), name=name, trainable=False
        )

    @classmethod
    def around(cls, variable: Any) -> Generator:
        """The generator whose state is `variable`, int64 [seed, step], made elsewhere."""
        generator = cls.__new__(cls)
        generator._state = variable
        return generator

    @property
    def variable(self) -> Any:
        """The state; part of every checkpoint."""
        return self._state

    def seed(self, seed: int) -> None:
        """Starts over from `seed`."""
        self._state.assign(np.array([check_seed(seed), 0], np.int64))

    def _draw_rows(self, shape: Any, offset: Any) -> tuple[Any, Any, int]:
        """(key, first row, stream) of the next draw, of this shape, in the whole batch."""
        key, stream = self._draw()
        if offset is None:
            notes = _step.notes()
            first: Any = 0
            if (part := notes.get("micro_batch")) is not None:
                sizes = tuple(shape) if isinstance(shape, (tuple, list)) else (shape,)
                shape, first = part.place((self._state.id, stream), sizes)
            if (replica := notes.get("replica_rows")) is not None:
                base, other = replica.place(shape)
                if other is not None:
                    key = _mix(key, other)
                first = base if isinstance(first, int) and not first else base + first
            offset = first
            if isinstance(first, int):
                offset = np.array(first, np.int64)
            elif not isinstance(first, _native.Tensor):
                offset = F.asarray(0) + first
        return key, offset, stream

    def _draw(self) -> tuple[Any, int]:
        """(key, stream) of the next draw; books the step that follows."""
        trace = _native.current_trace()
        path = _scope.path()
        if trace is None or trace.is_tape:  # what runs at once is a step of its own
            key = self._state.value()
            self._advance_now()
            return key, stream_of(path, 0)
        key = self._state.value()
        step, loops = _step.current()
        for number in loops:
            key = _mix(key, number)
        advance = self._advance_now if step.at_once else self._advance
        number = self._number(step.notes, step.finish, advance, path)
        return key, stream_of(f"{path}#body" if _step.in_body() else path, number)

    def _number(self, scratch: Any, finish: list[Any], advance: Any, path: str) -> int:
        """Which draw of a graph at `path` this is; the first of all makes the generator move on."""
        notes = scratch.get(("generator", self._state.id))
        if notes is None:  # empty ones are those of a micro-batch that begins
            notes = scratch[("generator", self._state.id)] = {}
            finish.append(advance)
        number: int = notes.get(path, -1) + 1
        notes[path] = number
        return number

    def _advance_now(self) -> None:
        self._state.assign(self._state.numpy() + np.array([0, 1], np.int64))

    def _advance(self) -> None:
        # Not part of the commit predicate: a skipped step still uses up its numbers.
        self._state._assign_always(self._state.value() + np.array([0, 1], np.int64))


def _mix(key: Any, step: Any) -> Any:
    """The key of one step of a loop: seed, and a hash of the key's step and the loop's."""
    ones = np.array([0, 1], np.uint64)
    two = _ops.cast(step, "uint64") * ones  # the seed stays what it is
    word = _ops.cast(key, "uint64") * np.array([1, 0x9E3779B97F4A7C15], np.uint64)
    word = word + two * np.array([0, 0xD1342543DE82EF95], np.uint64) + ones
    return _ops.cast(word ^ (word >> np.array([63, 31], np.uint64)), "int64")


def check_seed(seed: int) -> int:
    """`seed` as an int.

    Raises:
        ValueError: it is none, or out of range.
    """
    if not isinstance(seed, (int, np.integer)) or isinstance(seed, bool) or not 0 <= seed < 2**63:
        raise ValueError(
            at_line(f"seed: {seed!r} is not accepted; give an integer from 0 to 2**63 - 1")
        )
    return int(seed)


def stream_of(path: str, number: int) -> int:
    """The 63-bit stream of the `number`-th draw at a module path."""
    import hashlib  # late: it loads OpenSSL, which would cost every program milliseconds

    digest = hashlib.blake2b(f"{path}#{number}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") >> 1


_default: Generator | None = None


def default_generator() -> Generator:
    """The generator that is used when none is given; seeded with 0 until `seed` is called."""
    global _default
    if _default is None:
        outer = _native.get_default_device()
        if outer == "null":  # it outlives the models that are made there, and must hold its seed
            _native.set_default_device("cpu")
        try:
            _default = Generator(0)
        finally:
            _native.set_default_device(outer)
    return _default


def seed(value: int) -> None:
    """Seeds the default generator (and with it every initialiser that is given no seed)."""
    default_generator().seed(value)


def _sample(
    op: Any, shape: Any, dtype: Any, generator: Generator | None, offset: Any, **parameters: float
) -> Any:
    key, first, stream = (generator or default_generator())._draw_rows(shape, offset)
    parameters = {name: float(value) for name, value in parameters.items()}
    dtype = _native.dtype(dtype)
    return op(key, first, shape=shape, dtype=dtype, stream=stream, **parameters)


def uniform(
    shape: Any,
    low: float = 0.0,
    high: float = 1.0,
    *,
    dtype: Any = "float32",
    generator: Generator | None = None,
    offset: Any = None,
) -> Any:
    """Uniform in [low, high). `offset` is the global index of the first row (int64 scalar)."""
    return _sample(_ops.random_uniform, shape, dtype, generator, offset, low=low, high=high)


def normal(
    shape: Any,
    mean: float = 0.0,
    stddev: float = 1.0,
    *,
    dtype: Any = "float32",
    generator: Generator | None = None,
    offset: Any = None,
) -> Any:
    """Normal with the given mean and standard deviation."""
    return _sample(_ops.random_normal, shape, dtype, generator, offset, mean=mean, stddev=stddev)


def truncated_normal(
    shape: Any,
    mean: float = 0.0,
    stddev: float = 1.0,
    *,
    dtype: Any = "float32",
    generator: Generator | None = None,
    offset: Any = None,
) -> Any:
    """Normal, redrawn outside two standard deviations (Keras's TruncatedNormal)."""
    return _sample(_ops.truncated_normal, shape, dtype, generator, offset, mean=mean, stddev=stddev)


def permutation(n: int, *, generator: Generator | None = None) -> Any:
    """The integers 0 … n-1 in random order, int64[n]."""
    key, stream = (generator or default_generator())._draw()
    return _ops.random_permutation(key, n=n, stream=stream)


def dropout(x: Any, rate: float, *, generator: Generator | None = None, offset: Any = None) -> Any:
    """`x` with a share `rate` of its elements zeroed and the others divided by (1 - rate)."""
    rate = check_share("dropout", "rate", rate)
    if rate == 0.0:
        return astensor(x)
    x = astensor(x)
    key, first, stream = (generator or default_generator())._draw_rows(tuple(x.shape), offset)
    return _ops.dropout(x, key, first, rate=rate, stream=stream)
