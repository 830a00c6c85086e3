# SPDX-License-Identifier: Apache-2.0
"""LossScaleOptimizer: what makes float16 gradients representable."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ostria import _accumulate, _autodiff, _checks, _native
from ostria import _functions as F
from ostria._errors import at_line
from ostria.optim._optimizer import Optimizer

_ops = _native.ops


class LossScaleOptimizer:
    """Differentiates loss * scale and divides the gradients by it again (Micikevicius et al. 2018).

    The scale is a Variable: doubled after `dynamic_growth_steps` updates in a row with finite
    gradients, halved, down to 1, at each update without, which changes no weight. It is part of a
    checkpoint, and changes whether or not the step is committed.

    Args:
        inner_optimizer: an `ost.optim` optimizer that does the updates.
        initial_scale: the first scale, at least 1.
        dynamic_growth_steps: updates in a row before the scale doubles.

    Example:
        >>> import ostria as ost
        >>> optimizer = ost.optim.LossScaleOptimizer(ost.optim.SGD(0.1))
        >>> optimizer.dynamic_scale.numpy().item()
        32768.0
    """

    def __init__(
        self,
        inner_optimizer: Optimizer,
        initial_scale: float = 2.0**15,
        dynamic_growth_steps: int = 2000,
    ):
        if not isinstance(inner_optimizer, Optimizer):
            raise TypeError(
                at_line(
                    f"LossScaleOptimizer: inner_optimizer is {inner_optimizer!r}; give one "
                    "such as ost.optim.Adam(1e-3)"
                )
            )
        if not _checks.is_number(initial_scale) or not 1 <= initial_scale < float("inf"):
            raise ValueError(
                at_line(
                    f"LossScaleOptimizer: initial_scale {initial_scale!r} is not accepted; give a "
                    "number of at least 1"
                )
            )
        self.inner_optimizer = inner_optimizer
        self.dynamic_growth_steps = _checks.check_positive_int(
            "LossScaleOptimizer", "dynamic_growth_steps", dynamic_growth_steps
        )
        name = inner_optimizer.name
        self.dynamic_scale = _native.Variable(
            np.array(initial_scale, np.float32), name=f"{name}/loss_scale", trainable=False
        )
        self.step_counter = _native.Variable(
            np.array(0, np.int64), name=f"{name}/loss_scale_steps", trainable=False
        )

    def __getattr__(self, name: str) -> Any:
        if name == "inner_optimizer":  # not made yet: a copy, or an unpickled one
            raise AttributeError(name)
        return getattr(self.inner_optimizer, name)

    @property
    def variables(self) -> list[Any]:
        """The scale, the steps since it last changed, and the state of `inner_optimizer`."""
        return [self.dynamic_scale, self.step_counter, *self.inner_optimizer.variables]

    @property
    def learning_rate(self) -> Any:
        """Of `inner_optimizer`."""
        return self.inner_optimizer.learning_rate

    @learning_rate.setter
    def learning_rate(self, value: Any) -> None:
        self.inner_optimizer.learning_rate = value

    def gradients(self, loss: Any, variables: Sequence[Any]) -> list[Any]:
        """d(loss)/d(variables), multiplied by the scale on the way and divided by it at the end."""
        scaled = self._scaled_gradients(loss, variables)
        return [g / F.cast(self.dynamic_scale.value(), g.dtype) for g in scaled]

    def _scaled_gradients(self, loss: Any, variables: Sequence[Any]) -> list[Any]:
        seed = F.cast(self.dynamic_scale.value(), loss.dtype)
        return _autodiff.gradients(loss, variables, [seed])

    def minimize(self, loss: Any, variables: Sequence[Any]) -> Any:
        """`apply` with the gradients of `loss`; whether the step was committed."""
        variables = list(variables)
        if not self.inner_optimizer._divides_gradients(variables):
            return self.apply(self.gradients(loss, variables), variables, loss=loss)
        scaled = self._scaled_gradients(loss, variables)
        return self._apply(scaled, variables, loss, self.dynamic_scale.value())

    minimise = minimize

    def minimize_batch(self, loss_fn: Any, variables: Any, batch: Sequence[Any]) -> Any:
        """As of other optimizers: one step in micro-batches; returns the loss."""
        loss, grads, wrt = _accumulate.over_batch(loss_fn, variables, batch, self.gradients)
        self.apply(grads, wrt, loss=loss)
        return loss

    def apply(self, grads: Sequence[Any], variables: Sequence[Any], loss: Any = None) -> Any:
        """One step of `inner_optimizer`, then of the scale. `grads` are as `gradients` gives them.

        Returns:
            Whether the step was committed, a bool scalar.
        """
        return self._apply(grads, variables, loss, None)

    def _apply(self, grads: Sequence[Any], variables: Sequence[Any], loss: Any, scale: Any) -> Any:
        commit = self.inner_optimizer._apply_scaled(grads, variables, loss, scale)
        scale, steps = self.dynamic_scale.value(), self.step_counter.value() + 1
        grows = steps >= self.dynamic_growth_steps
        grown = _ops.where(grows, scale * 2.0, scale)
        shrunk = _ops.maximum(scale * 0.5, F.ones_like(scale))
        # A scale that has grown to infinity would refuse every later step.
        grown = _ops.where(_ops.isfinite(grown), grown, scale)
        zero = F.zeros_like(steps)
        self.dynamic_scale._assign_always(_ops.where(commit, grown, shrunk))
        steps = _ops.where(commit, _ops.where(grows, zero, steps), zero)
        self.step_counter._assign_always(steps)
        return commit
