# SPDX-License-Identifier: Apache-2.0
"""What one row states about an op, and how its sample inputs are made.

Inputs are specs (`A`, `I`, `B`, `V`), not arrays: one sample serves every dtype and batch size.
The size `"n"` is the batch: 5 in most checks, and 128, 37, 0 from one trace in the batch check.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

import ostria as ost

FLOATS = ("float32", "float64", "float16", "bfloat16")
WIDE = ("float32", "float64")
INTS = ("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64")
SOME_INTS = ("int8", "int32", "int64", "uint8", "uint64")
BOOL = ("bool",)

# (relative, absolute) against a float64 reference of the same rounded inputs.
TOLERANCE = {
    "float64": (1e-12, 1e-12),
    "float32": (4e-6, 2e-6),
    "float16": (2e-3, 2e-3),
    "bfloat16": (1.6e-2, 1.6e-2),
}
BATCH = 5


@dataclass(frozen=True)
class Spec:
    """One input. `dtype` "T" is the dtype under test."""

    shape: tuple[int | str, ...]
    dtype: str = "T"
    low: float | None = None  # of the values; the row's domain by default
    high: float | None = None
    values: Any = None  # given instead of drawn

    def size(self, n: int = BATCH) -> tuple[int, ...]:
        return tuple(n if d == "n" else int(d) for d in self.shape)


def A(
    *shape: int | str, low: float | None = None, high: float | None = None, dtype: str = "T"
) -> Spec:
    """Numbers of the dtype under test, drawn from the row's domain."""
    return Spec(shape, dtype, low, high)


def I(*shape: int | str, low: int = 0, high: int, dtype: str = "int64") -> Spec:  # noqa: E743
    """Integers in [low, high)."""
    return Spec(shape, dtype, low, high - 1)


def B(*shape: int | str) -> Spec:
    """Booleans."""
    return Spec(shape, "bool")


def V(values: Any, dtype: str = "T") -> Spec:
    """These values."""
    array = np.asarray(values)
    return Spec(array.shape, dtype, values=array)


@dataclass(frozen=True)
class Sample:
    inputs: tuple[Spec, ...]
    attrs: dict[str, Any] = field(default_factory=dict)

    @property
    def batched(self) -> bool:
        return any(spec.shape[:1] == ("n",) for spec in self.inputs)

    def __str__(self) -> str:
        shapes = ", ".join(f"{s.dtype}{list(s.shape)}" for s in self.inputs)
        return f"({shapes}; {self.attrs})"


def S(*inputs: Spec, **attrs: Any) -> Sample:
    """A sample: input specs, then attributes by name."""
    return Sample(inputs, attrs)


@dataclass(frozen=True)
class Mistake:
    """A call that must fail: `call()` raises `error` with `message` in its text."""

    call: Callable[[], Any]
    error: type[Exception]
    message: str


@dataclass(frozen=True)
class Row:
    """What is true of one op.

    Attributes:
        op: the registered name.
        ref: the NumPy reference: `ref(*arrays, **attrs)`, one array or a tuple of them. Floats
            come as float64, whatever the dtype under test.
        samples: inputs of all interesting shapes, 0-d, empty, size 1 and odd ones among them.
        errors: mistakes and what the user reads.
        fn: the function under test; by default the registered op itself.
        dtypes: values of "T".
        result: the dtype that comes out, or a function of T; T by default.
        domain: where floats are drawn from; `kinks` are points that gradient checks stay away from.
        domain_of: another domain for some T (integers).
        gradients: indices of the inputs to differentiate; by default all of dtype T.
        second: whether to check second derivatives; by default what the registry says (smooth).
        slack: factor on the tolerance of the dtype, with the reason beside it in the row.
        invariant: instead of `ref`, a check of properties (random ops):
            `invariant(arrays, outputs, attrs)`.
        batch: why the op has no batch check, "" if it has one.
    """

    op: str
    samples: tuple[Sample, ...]
    ref: Callable[..., Any] | None = None
    errors: tuple[Mistake, ...] = ()
    fn: Callable[..., Any] | None = None
    dtypes: tuple[str, ...] = FLOATS
    result: str | Callable[[str], str] | None = None
    domain: tuple[float, float] = (-3.0, 3.0)
    domain_of: Callable[[str], tuple[float, float]] | None = None
    kinks: tuple[float, ...] = ()
    gradients: tuple[int, ...] | None = None
    second: bool | None = None
    slack: float = 1.0
    invariant: Callable[..., None] | None = None
    batch: str = ""

    def call(self, *inputs: Any, **attrs: Any) -> Any:
        fn = self.fn or getattr(ost._native.ops, self.op)
        return fn(*inputs, **attrs)

    def result_dtype(self, t: str) -> str:
        if self.result is None:
            return t
        return self.result if isinstance(self.result, str) else self.result(t)

    def arrays(self, sample: Sample, t: str, n: int = BATCH, seed: int = 0) -> list[np.ndarray]:
        """The inputs as NumPy arrays; bfloat16 as float64 values that bfloat16 holds exactly."""
        rng = np.random.default_rng([zlib.crc32(self.op.encode()), seed])
        return [self._draw(spec, t, n, rng) for spec in sample.inputs]

    def _draw(self, spec: Spec, t: str, n: int, rng: np.random.Generator) -> np.ndarray:
        dtype = t if spec.dtype == "T" else spec.dtype
        shape = spec.size(n)
        if spec.values is not None:
            return round_to(np.asarray(spec.values), dtype)
        if dtype == "bool":
            return rng.random(shape) < 0.5
        low, high = self.domain if self.domain_of is None else self.domain_of(dtype)
        low, high = (
            (low if spec.low is None else spec.low),
            (high if spec.high is None else spec.high),
        )
        if is_float(dtype):
            values = rng.uniform(low, high, shape)
            for kink in self.kinks:
                near = np.abs(values - kink) < 0.05
                values = np.where(near, kink + np.where(values < kink, -0.1, 0.1), values)
            return round_to(values, dtype)
        if dtype.startswith("u"):
            low = max(low, 0)
        return rng.integers(int(low), int(high) + 1, shape).astype(dtype)

    def differentiable(self, sample: Sample) -> list[int]:
        """The inputs that gradient checks vary, when T is float64."""
        if self.gradients is not None:
            return [i for i in self.gradients if i < len(sample.inputs)]
        return [i for i, s in enumerate(sample.inputs) if s.dtype in ("T", "float64")]


def is_float(dtype: str) -> bool:
    return "float" in dtype


def round_to(values: np.ndarray, dtype: str) -> np.ndarray:
    """The values as `dtype` holds them; bfloat16 ones in a float64 array."""
    if dtype == "bfloat16":
        bits = np.asarray(values, np.float32).view(np.uint32).astype(np.uint64)
        rounded = ((bits + 0x7FFF + ((bits >> 16) & 1)) & 0xFFFF0000).astype(np.uint32)
        return rounded.view(np.float32).astype(np.float64)
    return np.asarray(values).astype(dtype)


def tensor(array: np.ndarray, dtype: str | None = None) -> Any:
    """A tensor of the array, as `dtype`."""
    x = ost.asarray(array)
    return x if dtype is None else ost.cast(x, dtype)


def reference_inputs(arrays: list[np.ndarray]) -> list[np.ndarray]:
    """Floats as float64: the reference's own rounding must not count."""
    return [a.astype(np.float64) if a.dtype.kind == "f" else a for a in arrays]


def numbers(y: Any) -> np.ndarray:
    """A result as a NumPy array, floats as float64."""
    if is_float(str(y.dtype)):
        return ost.cast(y, "float64").numpy()
    return y.numpy()


def results(y: Any) -> list[Any]:
    return list(y) if isinstance(y, (tuple, list)) else [y]
