# SPDX-License-Identifier: Apache-2.0
"""First values of weights. They depend on the default seed and the weight's path, no more."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from ostria import _native, random
from ostria._checks import is_number
from ostria._errors import at_line
from ostria._functions import astensor
from ostria._keywords import checked_init, closest_keyword

__all__ = [
    "Constant",
    "GlorotNormal",
    "GlorotUniform",
    "HeNormal",
    "HeUniform",
    "Initializer",
    "LecunNormal",
    "LecunUniform",
    "Ones",
    "Orthogonal",
    "RandomNormal",
    "RandomUniform",
    "TruncatedNormal",
    "VarianceScaling",
    "Zeros",
    "get",
]

_ops = _native.ops
_MODES = ("fan_in", "fan_out", "fan_avg")
_DISTRIBUTIONS = ("uniform", "truncated_normal")


def _key(seed: int | None) -> Any:
    state = random.default_generator().variable.numpy().copy()
    if seed is not None:
        state[0] = seed
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


@checked_init
class Constant(Initializer):
    """Every element `value`."""

    def __init__(self, value: float = 0.0):
        self.value = value

    def __call__(self, shape: tuple[int, ...], dtype: Any, path: str) -> Any:
        return _ops.full(shape=shape, dtype=_native.dtype(dtype), value=float(self.value))


@checked_init
class Zeros(Constant):
    """Every element 0."""

    def __init__(self) -> None:
        super().__init__(0.0)


@checked_init
class Ones(Constant):
    """Every element 1."""

    def __init__(self) -> None:
        super().__init__(1.0)


class _Random(Initializer):
    """Draws by the weight's path and `seed`; None: the seed of the default generator."""

    def __init__(self, seed: int | None):
        self.seed = None if seed is None else random.check_seed(seed)

    def _draw(
        self, op: Any, shape: tuple[int, ...], dtype: Any, path: str, **parameters: float
    ) -> Any:
        return op(
            _key(self.seed),
            _ops.full(shape=(), dtype=_native.int64, value=0.0),
            shape=shape,
            dtype=_native.dtype(dtype),
            stream=_stream(path),
            **parameters,
        )


@checked_init
class RandomUniform(_Random):
    """Uniform in [minval, maxval)."""

    def __init__(self, minval: float = -0.05, maxval: float = 0.05, seed: int | None = None):
        super().__init__(seed)
        self.minval, self.maxval = minval, maxval

    def __call__(self, shape: tuple[int, ...], dtype: Any, path: str) -> Any:
        limits = {"low": float(self.minval), "high": float(self.maxval)}
        return self._draw(_ops.random_uniform, shape, dtype, path, **limits)


@checked_init
class RandomNormal(_Random):
    """Normal with the given mean and standard deviation."""

    _op = _ops.random_normal

    def __init__(self, mean: float = 0.0, stddev: float = 0.05, seed: int | None = None):
        super().__init__(seed)
        self.mean, self.stddev = mean, stddev

    def __call__(self, shape: tuple[int, ...], dtype: Any, path: str) -> Any:
        spread = {"mean": float(self.mean), "stddev": float(self.stddev)}
        return self._draw(type(self)._op, shape, dtype, path, **spread)


@checked_init
class TruncatedNormal(RandomNormal):
    """Normal, redrawn outside two standard deviations."""

    _op = _ops.truncated_normal


@checked_init
class VarianceScaling(_Random):
    """Keeps the variance of signals at scale / fan: uniform, or a normal cut at two deviations.

    Args:
        scale: 1 or, before a relu, 2.
        mode: 'fan_in', 'fan_out' or 'fan_avg'.
        distribution: 'truncated_normal' or 'uniform'.
        seed: of the draw; None: that of the default generator.

    Raises:
        ValueError: a scale that is not positive, or an unknown mode or distribution.
    """

    def __init__(
        self,
        scale: float = 1.0,
        mode: str = "fan_in",
        distribution: str = "truncated_normal",
        seed: int | None = None,
    ):
        super().__init__(seed)
        kind = type(self).__name__
        if not is_number(scale) or not scale > 0:
            raise ValueError(
                at_line(f"{kind}: scale {scale!r} is not accepted; give a positive number")
            )
        for what, value, accepted in (
            ("mode", mode, _MODES),
            ("distribution", distribution, _DISTRIBUTIONS),
        ):
            if value not in accepted:
                guess = closest_keyword(str(value), accepted)
                raise ValueError(
                    at_line(
                        f"{kind}: {what} {value!r} is not known"
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
            return RandomUniform(-limit, limit, self.seed)(shape, dtype, path)
        # 0.8796… is the deviation of a unit normal cut at two; dividing restores the variance.
        stddev = math.sqrt(variance) / 0.87962566103423978
        return TruncatedNormal(0.0, stddev, self.seed)(shape, dtype, path)


@checked_init
class GlorotUniform(VarianceScaling):
    """Uniform, variance 2 / (fan_in + fan_out) (Glorot, Bengio 2010)."""

    def __init__(self, seed: int | None = None):
        super().__init__(1.0, "fan_avg", "uniform", seed)


@checked_init
class GlorotNormal(VarianceScaling):
    """Truncated normal, variance 2 / (fan_in + fan_out) (Glorot, Bengio 2010)."""

    def __init__(self, seed: int | None = None):
        super().__init__(1.0, "fan_avg", "truncated_normal", seed)


@checked_init
class HeUniform(VarianceScaling):
    """Uniform, variance 2 / fan_in (He et al. 2015)."""

    def __init__(self, seed: int | None = None):
        super().__init__(2.0, "fan_in", "uniform", seed)


@checked_init
class HeNormal(VarianceScaling):
    """Truncated normal, variance 2 / fan_in (He et al. 2015)."""

    def __init__(self, seed: int | None = None):
        super().__init__(2.0, "fan_in", "truncated_normal", seed)


@checked_init
class LecunUniform(VarianceScaling):
    """Uniform, variance 1 / fan_in (LeCun et al. 1998)."""

    def __init__(self, seed: int | None = None):
        super().__init__(1.0, "fan_in", "uniform", seed)


@checked_init
class LecunNormal(VarianceScaling):
    """Truncated normal, variance 1 / fan_in (LeCun et al. 1998)."""

    def __init__(self, seed: int | None = None):
        super().__init__(1.0, "fan_in", "truncated_normal", seed)


@checked_init
class Orthogonal(_Random):
    """`gain` times a matrix with orthonormal rows or columns (Saxe et al. 2014); rank 2 only."""

    def __init__(self, gain: float = 1.0, seed: int | None = None):
        super().__init__(seed)
        self.gain = gain

    def __call__(self, shape: tuple[int, ...], dtype: Any, path: str) -> Any:
        if len(shape) != 2:
            raise ValueError(
                at_line(
                    f"orthogonal: weight '{path}' has shape {list(shape)}; this initializer is "
                    "for matrices; give another one"
                )
            )
        drawn = RandomNormal(stddev=1.0, seed=self.seed)(shape, "float32", path)
        wide = shape[0] < shape[1]
        normal = drawn.numpy().astype(np.float64)
        q, r = np.linalg.qr(normal.T if wide else normal)
        q = q * np.where(np.diag(r) < 0, -1.0, 1.0) * self.gain
        return _ops.cast(astensor(np.ascontiguousarray(q.T if wide else q)), _native.dtype(dtype))


_NAMED: dict[str, Callable[[], Initializer]] = {
    "zeros": Zeros,
    "ones": Ones,
    "uniform": RandomUniform,
    "random_uniform": RandomUniform,
    "normal": RandomNormal,
    "random_normal": RandomNormal,
    "truncated_normal": TruncatedNormal,
    "glorot_uniform": GlorotUniform,
    "glorot_normal": GlorotNormal,
    "he_uniform": HeUniform,
    "he_normal": HeNormal,
    "lecun_uniform": LecunUniform,
    "lecun_normal": LecunNormal,
    "orthogonal": Orthogonal,
}


def get(initializer: Any) -> Callable[..., Any]:
    """An initializer from a name, a class or object of this module, or a function.

    A function is given (shape, dtype, path) and returns the values.
    """
    if isinstance(initializer, str):
        if initializer not in _NAMED:
            raise ValueError(
                at_line(
                    f"initializer '{initializer}' is not known; accepted are {', '.join(_NAMED)}"
                )
            )
        return _NAMED[initializer]()
    if isinstance(initializer, type) and issubclass(initializer, Initializer):
        return initializer()
    if callable(initializer):
        return initializer
    raise TypeError(
        at_line(f"initializer {initializer!r} is not accepted; give a name or a function")
    )
