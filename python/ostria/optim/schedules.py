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

from ostria import _functions as F
from ostria import _keywords, _native
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


@_keywords.checked_init
class ExponentialDecay(Schedule):
    """initial_learning_rate * decay_rate ** (step / decay_steps); whole powers with `staircase`."""

    def __init__(
        self,
        initial_learning_rate: float,
        decay_steps: int,
        decay_rate: float,
        staircase: bool = False,
    ):
        _check_steps("ExponentialDecay", "decay_steps", decay_steps)
        self.initial_learning_rate, self.decay_rate = initial_learning_rate, decay_rate
        self.decay_steps, self.staircase = decay_steps, staircase

    def rate(self, step: Any) -> Any:
        power = step / float(self.decay_steps)
        if self.staircase:
            power = _ops.floor(power)
        return float(self.initial_learning_rate) * _ops.pow(float(self.decay_rate), power)


@_keywords.checked_init
class InverseTimeDecay(Schedule):
    """initial_learning_rate / (1 + decay_rate * step / decay_steps); whole with `staircase`."""

    def __init__(
        self,
        initial_learning_rate: float,
        decay_steps: int,
        decay_rate: float,
        staircase: bool = False,
    ):
        _check_steps("InverseTimeDecay", "decay_steps", decay_steps)
        self.initial_learning_rate, self.decay_rate = initial_learning_rate, decay_rate
        self.decay_steps, self.staircase = decay_steps, staircase

    def rate(self, step: Any) -> Any:
        time = step / float(self.decay_steps)
        if self.staircase:
            time = _ops.floor(time)
        return float(self.initial_learning_rate) / (1.0 + float(self.decay_rate) * time)


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
        _check_steps("PolynomialDecay", "decay_steps", decay_steps)
        self.initial_learning_rate, self.end_learning_rate = (
            initial_learning_rate,
            end_learning_rate,
        )
        self.decay_steps, self.power, self.cycle = decay_steps, power, cycle

    def rate(self, step: Any) -> Any:
        length: Any = float(self.decay_steps)
        if self.cycle:
            length = _ops.maximum(_ops.ceil(step / length), 1.0) * length
        else:
            step = _ops.minimum(step, length)
        end = float(self.end_learning_rate)
        left = _ops.pow(1.0 - step / length, float(self.power))
        return (float(self.initial_learning_rate) - end) * left + end


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
        _check_steps("CosineDecay", "decay_steps", decay_steps)
        if (warmup_target is None) != (warmup_steps == 0):
            raise ValueError(
                at_line(
                    f"CosineDecay: warmup_target is {warmup_target} and warmup_steps "
                    f"{warmup_steps}; "
                    "give both or neither"
                )
            )
        self.initial_learning_rate, self.decay_steps, self.alpha = (
            initial_learning_rate,
            decay_steps,
            alpha,
        )
        self.warmup_target, self.warmup_steps = warmup_target, warmup_steps

    def rate(self, step: Any) -> Any:
        start = float(self.initial_learning_rate)
        top = start if self.warmup_target is None else float(self.warmup_target)
        warmup, length = float(self.warmup_steps), float(self.decay_steps)
        done = _ops.clip(step - warmup, 0.0, length) / length
        cosine = 0.5 * (1.0 + _ops.cos(math.pi * done))
        rate = top * ((1.0 - float(self.alpha)) * cosine + float(self.alpha))
        if not self.warmup_steps:
            return rate
        return _ops.where(step < warmup, start + (top - start) * (step / warmup), rate)


def _check_steps(name: str, what: str, steps: int) -> None:
    if not steps > 0:
        raise ValueError(
            at_line(f"{name}: {what} {steps} is not accepted; give a positive number of steps")
        )
