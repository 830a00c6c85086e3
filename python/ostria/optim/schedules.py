# SPDX-License-Identifier: Apache-2.0
"""Learning rates as functions of the step, with Keras's names and definitions.

A schedule is any callable from the step (an int64 scalar: committed steps so far) to a scalar;
these are built of ops, so that they run inside the compiled step. They compute in float64, where
steps beyond 2**24 still differ from each other, and give float32.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from ostria import _checks, _keywords, _native
from ostria import _functions as F
from ostria._errors import at_line

_ops = _native.ops
_F64 = _native.float64


class Schedule:
    """Base of the schedules here; subclasses define `rate(step)` over a float64 scalar."""

    def rate(self, step: Any) -> Any:
        """The learning rate at `step`, both float64 scalars."""
        raise NotImplementedError(
            at_line(f"{type(self).__name__} has no rate(); define `def rate(self, step): …`")
        )

    def __call__(self, step: Any) -> Any:
        """The learning rate at `step` (an integer scalar, traced or not), float32."""
        return F.cast(self.rate(F.cast(F.asarray(step), _F64)), _native.float32)


class _Decay(Schedule):
    """Decays by `decay_rate` in `decay_steps` steps; in whole periods with `staircase`."""

    def __init__(
        self,
        initial_learning_rate: float,
        decay_steps: int,
        decay_rate: float,
        staircase: bool = False,
    ):
        self.initial_learning_rate = _rate(self, "initial_learning_rate", initial_learning_rate)
        self.decay_steps = _steps(self, "decay_steps", decay_steps)
        self.decay_rate, self.staircase = float(decay_rate), staircase

    def _periods(self, step: Any) -> Any:
        periods = step / self.decay_steps
        return _ops.floor(periods) if self.staircase else periods


@_keywords.checked_init
class ExponentialDecay(_Decay):
    """initial_learning_rate * decay_rate ** (step / decay_steps); whole powers with `staircase`."""

    def rate(self, step: Any) -> Any:
        return self.initial_learning_rate * _ops.pow(self.decay_rate, self._periods(step))


@_keywords.checked_init
class InverseTimeDecay(_Decay):
    """initial_learning_rate / (1 + decay_rate * step / decay_steps); whole with `staircase`."""

    def rate(self, step: Any) -> Any:
        return self.initial_learning_rate / (1.0 + self.decay_rate * self._periods(step))


@_keywords.checked_init
class PiecewiseConstantDecay(Schedule):
    """values[i] up to and including step boundaries[i], the last value afterwards."""

    def __init__(self, boundaries: Sequence[int], values: Sequence[float]):
        if len(values) != len(boundaries) + 1:
            raise ValueError(
                at_line(
                    f"PiecewiseConstantDecay: {len(boundaries)} boundaries need "
                    f"{len(boundaries) + 1} values, but {len(values)} were given"
                )
            )
        if list(boundaries) != sorted(set(boundaries)):
            raise ValueError(
                at_line(f"PiecewiseConstantDecay: boundaries {list(boundaries)} must increase")
            )
        self.boundaries, self.values = list(boundaries), list(values)

    def rate(self, step: Any) -> Any:
        rate: Any = float(self.values[-1])
        for boundary, value in zip(
            reversed(self.boundaries), reversed(self.values[:-1]), strict=True
        ):
            rate = _ops.where(step <= float(boundary), float(value), rate)
        return rate


@_keywords.checked_init
class PolynomialDecay(Schedule):
    """From initial to end_learning_rate over decay_steps, as (1 - step / decay_steps) ** power.

    With `cycle`, decay_steps is stretched to its next multiple that is not before `step`.
    """

    def __init__(
        self,
        initial_learning_rate: float,
        decay_steps: int,
        end_learning_rate: float = 0.0001,
        power: float = 1.0,
        cycle: bool = False,
    ):
        self.initial_learning_rate = _rate(self, "initial_learning_rate", initial_learning_rate)
        self.end_learning_rate = _rate(self, "end_learning_rate", end_learning_rate)
        self.decay_steps = _steps(self, "decay_steps", decay_steps)
        self.power, self.cycle = float(power), cycle

    def rate(self, step: Any) -> Any:
        length: Any = self.decay_steps
        if self.cycle:
            length = _ops.maximum(_ops.ceil(step / length), 1.0) * length
        else:
            step = _ops.minimum(step, length)
        left = _ops.pow(1.0 - step / length, self.power)
        return (self.initial_learning_rate - self.end_learning_rate) * left + self.end_learning_rate


@_keywords.checked_init
class CosineDecay(Schedule):
    """A half cosine down to alpha times the start (Loshchilov, Hutter 2016), after a warm-up.

    Args:
        initial_learning_rate: at step 0; where there is a warm-up, its start.
        decay_steps: length of the decay, which begins when the warm-up ends.
        alpha: the rate in the end, as a share of where the decay starts.
        warmup_target: the rate at the end of the warm-up; None: no warm-up to speak of.
        warmup_steps: length of the warm-up.

    Raises:
        ValueError: decay_steps is not positive, or one of the warm-up arguments is missing.
    """

    def __init__(
        self,
        initial_learning_rate: float,
        decay_steps: int,
        alpha: float = 0.0,
        warmup_target: float | None = None,
        warmup_steps: int = 0,
    ):
        self.initial_learning_rate = _rate(self, "initial_learning_rate", initial_learning_rate)
        self.decay_steps = _steps(self, "decay_steps", decay_steps)
        self.alpha = float(alpha)
        if (warmup_target is None) != (warmup_steps == 0):
            raise ValueError(
                at_line(
                    f"CosineDecay: warmup_target is {warmup_target} and warmup_steps "
                    f"{warmup_steps}; "
                    "give both or neither"
                )
            )
        self.warmup_steps = warmup_steps and _steps(self, "warmup_steps", warmup_steps)
        self.warmup_target = (
            None if warmup_target is None else _rate(self, "warmup_target", warmup_target)
        )

    def rate(self, step: Any) -> Any:
        start, warmup = self.initial_learning_rate, self.warmup_steps
        top = start if self.warmup_target is None else self.warmup_target
        done = _ops.clip(step - warmup, 0.0, self.decay_steps) / self.decay_steps
        rate = top * _half_cosine(done, 1.0, self.alpha)
        return _warmed_up(step, warmup, start, top, rate) if warmup else rate


@_keywords.checked_init
class CosineDecayRestarts(Schedule):
    """Half cosines one after another (Loshchilov, Hutter 2016), each from its top to its end.

    Args:
        initial_learning_rate: at step 0.
        first_decay_steps: length of the first.
        t_mul: how many times as long the next one is, at least 1.
        m_mul: how many times as high the next one starts.
        alpha: the rate at the end of the first, as a share of `initial_learning_rate`.

    Raises:
        ValueError: first_decay_steps is not positive, or t_mul is less than 1.
    """

    def __init__(
        self,
        initial_learning_rate: float,
        first_decay_steps: int,
        t_mul: float = 2.0,
        m_mul: float = 1.0,
        alpha: float = 0.0,
    ):
        self.initial_learning_rate = _rate(self, "initial_learning_rate", initial_learning_rate)
        self.first_decay_steps = _steps(self, "first_decay_steps", first_decay_steps)
        if not (_checks.is_number(t_mul) and t_mul >= 1):
            raise ValueError(
                at_line(
                    f"CosineDecayRestarts: t_mul {t_mul!r} is not accepted; give a number of at "
                    "least 1"
                )
            )
        self.t_mul, self.m_mul, self.alpha = float(t_mul), float(m_mul), float(alpha)

    def rate(self, step: Any) -> Any:
        done = step / self.first_decay_steps
        if self.t_mul == 1.0:
            restarts = _ops.floor(done)
            done = done - restarts
        else:
            # The logarithm of a power of t_mul may be a little too small: that is a restart.
            lengths = _ops.log(1.0 + done * (self.t_mul - 1.0)) / math.log(self.t_mul)
            restarts = _ops.floor(lengths + 1e-9)
            length = _ops.pow(self.t_mul, restarts)
            done = _ops.maximum(done - (length - 1.0) / (self.t_mul - 1.0), 0.0) / length
        height = _ops.pow(self.m_mul, restarts)
        return self.initial_learning_rate * _half_cosine(done, height, self.alpha)


@_keywords.checked_init
class LinearWarmup(Schedule):
    """Rises in equal steps to another rate or schedule, which begins when the warm-up is over.

    Args:
        schedule: a number, or a function of the step such as the schedules here.
        warmup_steps: length of the warm-up.
        initial_learning_rate: at step 0.

    Raises:
        ValueError: warmup_steps is not positive, or a rate is no number of at least 0.
    """

    def __init__(self, schedule: Any, warmup_steps: int, initial_learning_rate: float = 0.0):
        self.schedule = schedule if callable(schedule) else _rate(self, "schedule", schedule)
        self.warmup_steps = _steps(self, "warmup_steps", warmup_steps)
        self.initial_learning_rate = _rate(self, "initial_learning_rate", initial_learning_rate)

    def rate(self, step: Any) -> Any:
        start, warmup = self.initial_learning_rate, self.warmup_steps
        after = _ops.maximum(step - warmup, 0.0)  # 0 while it warms up: the rate to rise to
        if isinstance(self.schedule, Schedule):
            rate = self.schedule.rate(after)
        elif callable(self.schedule):
            rate = F.cast(F.asarray(self.schedule(F.cast(after, _native.int64))), _F64)
        else:
            rate = F.asarray(self.schedule, dtype=_F64)
        return _warmed_up(step, warmup, start, rate, rate)


def _half_cosine(done: Any, height: Any, alpha: float) -> Any:
    """From `height` at 0 to alpha at 1, as Keras has it."""
    return (1.0 - alpha) * (0.5 * height * (1.0 + _ops.cos(math.pi * done))) + alpha


def _warmed_up(step: Any, warmup: float, start: float, top: Any, rate: Any) -> Any:
    """A line from `start` to `top` over the first `warmup` steps, then `rate`."""
    return _ops.where(step < warmup, start + (top - start) * (step / warmup), rate)


def _steps(schedule: Schedule, what: str, steps: Any) -> float:
    if not (_checks.is_number(steps) and 0 < steps < float("inf")):
        raise ValueError(
            at_line(
                f"{type(schedule).__name__}: {what} {steps} is not accepted; give a positive "
                "number of steps"
            )
        )
    return float(steps)


def _rate(schedule: Schedule, what: str, rate: Any) -> float:
    if not (_checks.is_number(rate) and 0 <= rate < float("inf")):
        raise ValueError(
            at_line(
                f"{type(schedule).__name__}: {what} {rate!r} is not accepted; give a number of at "
                "least 0"
            )
        )
    return float(rate)
