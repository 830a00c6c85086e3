# SPDX-License-Identifier: Apache-2.0
"""Activations as layers: those with parameters, learned or given. `nn.Activation` takes a name."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ostria import _functions as F
from ostria import _native
from ostria._errors import at_line
from ostria._keywords import checked_init
from ostria.nn import activations
from ostria.nn._common import rules
from ostria.nn.module import Module

_ops = _native.ops


@checked_init
class ReLU(Module):
    """`activations.relu` with these parameters.

    Example:
        >>> import ostria as ost
        >>> ost.nn.ReLU(max_value=2.0)(ost.asarray([-1.0, 1.0, 3.0])).numpy().tolist()
        [0.0, 1.0, 2.0]
    """

    def __init__(
        self,
        max_value: float | None = None,
        negative_slope: float = 0.0,
        threshold: float = 0.0,
        *,
        name: str | None = None,
    ):
        super().__init__(name=name)
        activations.check_relu("ReLU", negative_slope, max_value, threshold)
        self.max_value, self.negative_slope = max_value, negative_slope
        self.threshold = threshold

    def call(self, x: Any) -> Any:
        return activations.relu(x, self.negative_slope, self.max_value, self.threshold)


@checked_init
class LeakyReLU(Module):
    """x where x > 0, else negative_slope x."""

    def __init__(self, negative_slope: float = 0.3, *, name: str | None = None):
        super().__init__(name=name)
        activations.check_relu("LeakyReLU", negative_slope, None, 0.0)
        self.negative_slope = float(negative_slope)

    def call(self, x: Any) -> Any:
        return _ops.leaky_relu(F.astensor(x), self.negative_slope)


@checked_init
class ELU(Module):
    """x where x > 0, else alpha (exp(x) - 1)."""

    def __init__(self, alpha: float = 1.0, *, name: str | None = None):
        super().__init__(name=name)
        self.alpha = float(alpha)

    def call(self, x: Any) -> Any:
        return _ops.elu(F.astensor(x), self.alpha)


@checked_init
class PReLU(Module):
    """x where x > 0, else alpha x; alpha is learned, one for each place of an example.

    Args:
        alpha_initializer: what alpha starts as.
        alpha_regularizer: a penalty on alpha.
        alpha_constraint: what alpha must satisfy after every step.
        shared_axes: axes that share an alpha, counted with the batch as 0: (1, 2) for one alpha
            per channel of images.
    """

    def __init__(
        self,
        alpha_initializer: Any = "zeros",
        alpha_regularizer: Any = None,
        alpha_constraint: Any = None,
        shared_axes: int | Sequence[int] | None = None,
        *,
        dtype: Any = "float32",
        name: str | None = None,
    ):
        super().__init__(name=name)
        self._alpha = rules(alpha_initializer, alpha_regularizer, alpha_constraint)
        axes = () if shared_axes is None else shared_axes
        self.shared_axes = (axes,) if isinstance(axes, int) else tuple(axes)
        self.dtype = dtype

    def build(self, shape: tuple[Any, ...]) -> None:
        rank = len(shape)
        for axis in self.shared_axes:
            if not -rank < axis < rank or axis == 0:
                raise ValueError(
                    at_line(
                        f"{self.name}: shared_axes {list(self.shared_axes)} do not fit an input of "
                        f"shape {list(shape)}; the axes of an example are 1..{rank - 1}"
                    )
                )
        sizes = self._sizes(shape)
        self.alpha = self.add_weight("alpha", sizes, dtype=self.dtype, **self._alpha)

    def call(self, x: Any) -> Any:
        x = F.astensor(x)
        if tuple(self.alpha.shape) != self._sizes(x.shape):
            raise ValueError(
                at_line(
                    f"{self.name}: its alpha of shape {list(self.alpha.shape)} does not fit an "
                    f"input of shape {list(x.shape)}; build another layer for it, or share the "
                    "axes whose size changes (shared_axes)"
                )
            )
        return _ops.where(x > 0.0, x, self.alpha * x)

    def _sizes(self, shape: Any) -> tuple[Any, ...]:
        """Of alpha, for an input of this shape."""
        shared = {axis % len(shape) for axis in self.shared_axes}
        return tuple(1 if i in shared else shape[i] for i in range(1, len(shape)))


@checked_init
class Softmax(Module):
    """Probabilities along an axis, or several: `call(x, mask=None)`.

    Where the bool `mask` is false the probability is 0; where all of it is, they are equal.
    """

    def __init__(self, axis: int | Sequence[int] = -1, *, name: str | None = None):
        super().__init__(name=name)
        self.axis = axis if isinstance(axis, int) else tuple(axis)

    def call(self, x: Any, mask: Any = None) -> Any:
        x = F.astensor(x)
        if mask is not None:
            # Not minus infinity: all of a row may be masked.
            lowest = -65504.0 if x.dtype == _native.float16 else -3e38
            x = _ops.where(F.astensor(mask), x, lowest)
        if isinstance(self.axis, int):
            return _ops.softmax(x, axis=self.axis)
        return _ops.exp(x - _ops.logsumexp(x, self.axis, True))
