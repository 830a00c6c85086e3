# SPDX-License-Identifier: Apache-2.0
"""First values of weights. They depend on the default seed and the weight's path, no more."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from ostria import _native, random
from ostria._checks import is_number
from ostria._errors import at_line
from ostria._keywords import closest_keyword

__all__ = [
    "Constant",
    "Initializer",
    "RandomNormal",
    "RandomUniform",
    "TruncatedNormal",
    "VarianceScaling",
    "get",
]

_ops = _native.ops
_MODES = ("fan_in", "fan_out", "fan_avg")
_DISTRIBUTIONS = ("uniform", "truncated_normal")


def _key() -> Any:
    state = random.default_generator().variable.numpy().copy()
    state[1] = 0  # step 0: later draws do not change how a weight starts
    return state


def _stream(path: str) -> int:
    return random.stream_of(path + ":initializer", 0)


def _fans(shape: tuple[int, ...], path: str) -> tuple[float, float]:
    """(fan in, fan out). Dense kernels are [in, out], convolution kernels [out, kh, kw, in]."""
    if len(shape) < 1:
        return 1.0, 1.0
    if len(shape) == 1:
        return float(shape[0]), float(shape[0])
    if len(shape) == 2:
        return float(shape[0]), float(shape[1])
    window = math.prod(shape[1:-1])
    return float(shape[-1] * window), float(shape[0] * window)


class Initializer:
    """Callable (shape, dtype, path) -> Tensor."""

    def __call__(self, shape: tuple[int, ...], dtype: Any, path: str) -> Any:
        raise NotImplementedError


class Constant(Initializer):
    """Every element `value`."""

    def __init__(self, value: float = 0.0):
        self.value = value

    def __call__(self, shape: tuple[int, ...], dtype: Any, path: str) -> Any:
        return _ops.full(shape=shape, dtype=_native.dtype(dtype), value=float(self.value))


class RandomUniform(Initializer):
    """Uniform in [low, high); Keras's defaults."""

    def __init__(self, low: float = -0.05, high: float = 0.05):
        self.low, self.high = low, high

    def __call__(self, shape: tuple[int, ...], dtype: Any, path: str) -> Any:
        return _uniform(shape, dtype, path, self.low, self.high)


class RandomNormal(Initializer):
    """Normal; Keras's defaults."""

    def __init__(self, mean: float = 0.0, stddev: float = 0.05):
        self.mean, self.stddev = mean, stddev

    def __call__(self, shape: tuple[int, ...], dtype: Any, path: str) -> Any:
        return _ops.random_normal(
            _key(),
            _zero(),
            shape=shape,
            dtype=_native.dtype(dtype),
            mean=self.mean,
            stddev=self.stddev,
            stream=_stream(path),
        )


class TruncatedNormal(Initializer):
    """Normal, redrawn outside two standard deviations."""

    def __init__(self, mean: float = 0.0, stddev: float = 0.05):
        self.mean, self.stddev = mean, stddev

    def __call__(self, shape: tuple[int, ...], dtype: Any, path: str) -> Any:
        return _ops.truncated_normal(
            _key(),
            _zero(),
            shape=shape,
            dtype=_native.dtype(dtype),
            mean=self.mean,
            stddev=self.stddev,
            stream=_stream(path),
        )


class VarianceScaling(Initializer):
    """Keeps the variance of signals: Glorot, Bengio (2010), He et al. (2015), LeCun (1998)."""

    def __init__(self, scale: float, mode: str, distribution: str):
        if not is_number(scale) or not scale > 0:
            raise ValueError(
                at_line(f"VarianceScaling: scale {scale!r} is not accepted; give a positive number")
            )
        for what, given, accepted in (
            ("mode", mode, _MODES),
            ("distribution", distribution, _DISTRIBUTIONS),
        ):
            if given not in accepted:
                guess = closest_keyword(str(given), accepted)
                raise ValueError(
                    at_line(
                        f"VarianceScaling: {what} {given!r} is not known"
                        + (f"; did you mean {guess!r}?" if guess else ".")
                        + f" Accepted: {', '.join(accepted)}."
                    )
                )
        self.scale, self.mode, self.distribution = scale, mode, distribution

    def __call__(self, shape: tuple[int, ...], dtype: Any, path: str) -> Any:
        fan_in, fan_out = _fans(shape, path)
        fan = {"fan_in": fan_in, "fan_out": fan_out, "fan_avg": (fan_in + fan_out) / 2}[self.mode]
        variance = self.scale / max(fan, 1.0)
        if self.distribution == "uniform":
            limit = math.sqrt(3 * variance)
            return _uniform(shape, dtype, path, -limit, limit)
        # 0.8796… is the deviation of a unit normal cut at two; dividing restores the variance.
        return TruncatedNormal(0.0, math.sqrt(variance) / 0.87962566103423978)(shape, dtype, path)


def _zero() -> Any:
    return _ops.full(shape=(), dtype=_native.int64, value=0.0)


def _uniform(shape: tuple[int, ...], dtype: Any, path: str, low: float, high: float) -> Any:
    return _ops.random_uniform(
        _key(),
        _zero(),
        shape=shape,
        dtype=_native.dtype(dtype),
        low=low,
        high=high,
        stream=_stream(path),
    )


_NAMED: dict[str, Callable[[], Initializer]] = {
    "zeros": lambda: Constant(0.0),
    "ones": lambda: Constant(1.0),
    "uniform": RandomUniform,
    "random_uniform": RandomUniform,
    "normal": RandomNormal,
    "random_normal": RandomNormal,
    "truncated_normal": TruncatedNormal,
    "glorot_uniform": lambda: VarianceScaling(1.0, "fan_avg", "uniform"),
    "glorot_normal": lambda: VarianceScaling(1.0, "fan_avg", "truncated_normal"),
    "he_uniform": lambda: VarianceScaling(2.0, "fan_in", "uniform"),
    "he_normal": lambda: VarianceScaling(2.0, "fan_in", "truncated_normal"),
    "lecun_uniform": lambda: VarianceScaling(1.0, "fan_in", "uniform"),
    "lecun_normal": lambda: VarianceScaling(1.0, "fan_in", "truncated_normal"),
}


def get(initializer: Any) -> Callable[..., Any]:
    """An initializer from a name, an object of this module, or a function (shape, dtype, path)."""
    if isinstance(initializer, str):
        if initializer not in _NAMED:
            raise ValueError(
                at_line(
                    f"initializer '{initializer}' is not known; accepted are {', '.join(_NAMED)}"
                )
            )
        return _NAMED[initializer]()
    if callable(initializer):
        return initializer
    raise TypeError(
        at_line(f"initializer {initializer!r} is not accepted; give a name or a function")
    )
