# SPDX-License-Identifier: Apache-2.0
"""Normalisations with Keras's names and defaults, over the last axis."""

from __future__ import annotations

import math
from typing import Any

from ostria import _functions as F
from ostria import _native, _replicas
from ostria._checks import check_fraction, check_not_negative, is_int
from ostria._errors import at_line
from ostria._keywords import checked_init
from ostria.nn._common import require_features, rules
from ostria.nn.module import Module

_ops = _native.ops


class _Normalization(Module):
    """What scale and shift the last axis once it is normalised."""

    def __init__(
        self,
        axis: Any,
        epsilon: float,
        center: bool,
        scale: bool,
        beta: dict[str, Any],
        gamma: dict[str, Any],
        dtype: Any,
        name: str | None,
    ):
        super().__init__(name=name)
        self.axis = axis[0] if isinstance(axis, (list, tuple)) and len(axis) == 1 else axis
        if not is_int(self.axis):
            raise TypeError(
                at_line(
                    f"{type(self).__name__}: axis {axis!r} is not accepted; give -1, the last axis"
                )
            )
        self.epsilon = check_not_negative(type(self).__name__, "epsilon", epsilon)
        self.center, self.scale, self.dtype = center, scale, dtype
        self.beta: Any = None
        self.gamma: Any = None
        self._rules = {"beta": beta, "gamma": gamma}

    def build(self, shape: tuple[Any, ...]) -> None:
        if self.axis not in (-1, len(shape) - 1):
            raise ValueError(
                at_line(
                    f"{self.name}: axis {self.axis} is not the last one of an input of shape "
                    f"{list(shape)}; only the last axis, axis=-1, can be that of the features (of "
                    "images: NHWC); move it there with ost.transpose"
                )
            )
        if self.scale:
            self.gamma = self._weight("gamma", shape)
        if self.center:
            self.beta = self._weight("beta", shape)

    def _shape(self, shape: tuple[Any, ...]) -> tuple[Any, ...]:
        """The shape of gamma and beta for an input of this shape."""
        return tuple(shape[-1:])

    def _weight(self, name: str, shape: tuple[Any, ...], trainable: bool = True) -> Any:
        return self.add_weight(
            name,
            self._shape(shape),
            dtype=self.dtype,
            trainable=trainable,
            **self._rules[name],
        )

    def _scale_and_shift(self, x: Any) -> tuple[Any, Any]:
        """gamma and beta, or what stands for them where the layer has none."""
        shape, dtype = self._shape(x.shape), _native.dtype(self.dtype)
        one = _ops.full(shape=shape, dtype=dtype, value=1.0) if self.gamma is None else self.gamma
        zero = _ops.full(shape=shape, dtype=dtype, value=0.0) if self.beta is None else self.beta
        return one, zero


@checked_init
class BatchNormalization(_Normalization):
    """Normalises over all axes but the last (Ioffe, Szegedy 2015); else by moving averages.

    Replicas of a strategy normalise by the statistics of their own rows, and the moving averages by
    the mean of those; with `synchronized`, both by the statistics of the rows of all of them, each
    row counted once.
    """

    def __init__(
        self,
        axis: int = -1,
        momentum: float = 0.99,
        epsilon: float = 1e-3,
        center: bool = True,
        scale: bool = True,
        beta_initializer: Any = "zeros",
        gamma_initializer: Any = "ones",
        moving_mean_initializer: Any = "zeros",
        moving_variance_initializer: Any = "ones",
        beta_regularizer: Any = None,
        gamma_regularizer: Any = None,
        beta_constraint: Any = None,
        gamma_constraint: Any = None,
        synchronized: bool = False,
        *,
        dtype: Any = "float32",
        name: str | None = None,
    ):
        beta = rules(beta_initializer, beta_regularizer, beta_constraint)
        gamma = rules(gamma_initializer, gamma_regularizer, gamma_constraint)
        super().__init__(axis, epsilon, center, scale, beta, gamma, dtype, name)
        self.momentum = check_fraction("BatchNormalization", "momentum", momentum)
        self.synchronized = bool(synchronized)
        self._rules["moving_mean"] = rules(moving_mean_initializer)
        self._rules["moving_variance"] = rules(moving_variance_initializer)

    def build(self, shape: tuple[Any, ...]) -> None:
        super().build(shape)
        self.moving_mean = self._weight("moving_mean", shape, trainable=False)
        self.moving_variance = self._weight("moving_variance", shape, trainable=False)

    def call(self, x: Any, training: bool = False) -> Any:
        require_features(self, x, self.moving_mean.shape[0])
        if not training or not self.trainable:
            factor = _ops.rsqrt(self.moving_variance + self.epsilon)
            if self.gamma is not None:
                factor = self.gamma * factor
            shift = self.moving_mean * factor
            return x * factor - shift if self.beta is None else x * factor + (self.beta - shift)
        if self.synchronized and _replicas.count() > 1:
            return self._synchronized(x)
        y, mean, variance = _ops.batch_norm(x, *self._scale_and_shift(x), epsilon=self.epsilon)[:3]
        if _replicas.count() > 1:
            self._move_by_mean(mean, variance, x)
            return y
        self._move(self.moving_mean, mean, x)
        self._move(self.moving_variance, variance, x)
        return y

    def _synchronized(self, x: Any) -> Any:
        """The same by the rows of all replicas: each gives its count, mean and variance, of which
        those of all follow without sums of large squares (Chan, Golub, LeVeque 1979)."""
        gamma, beta = self._scale_and_shift(x)
        wide = x if x.dtype.itemsize > 2 else F.cast(x, _native.float32)
        axes = tuple(range(x.ndim - 1))
        mean = _ops.mean(wide, axes, False)
        variance = _ops.mean(_ops.square(wide - mean), axes, False)
        rows = F.cast(F.asarray(0) + _replicas.size(x.shape[:-1]), wide.dtype)
        parts = F.stack([_ops.broadcast_to(rows, mean.shape), mean, variance])
        parts = _ops.all_gather(F.expand_dims(parts, axis=0), replicas=_replicas.count())
        rows, means, variances = (parts[:, i] for i in range(3))
        everywhere = _ops.maximum(_ops.sum(rows, (0,), False), 1.0)
        mean = _ops.sum(rows * means, (0,), False) / everywhere
        apart = variances + _ops.square(means - mean)
        variance = _ops.sum(rows * apart, (0,), False) / everywhere
        self._move_if(self.moving_mean, mean, _ops.sum(rows) > 0.0)
        self._move_if(self.moving_variance, variance, _ops.sum(rows) > 0.0)
        factor = _ops.rsqrt(variance + self.epsilon) * gamma
        y = (wide - mean) * factor + beta
        return y if y.dtype == x.dtype else F.cast(y, x.dtype)

    def _move_by_mean(self, mean: Any, variance: Any, x: Any) -> None:
        """Moves the averages by the mean of the statistics of those replicas that have rows."""
        mean, variance = _ops.stop_gradient(mean), _ops.stop_gradient(variance)
        has_rows = F.cast(F.asarray(0) < _replicas.size(x.shape), mean.dtype)
        mean, variance, having = _replicas.sums([mean * has_rows, variance * has_rows, has_rows])
        self._move_if(self.moving_mean, _replicas.divided(mean, having), having > 0.0)
        self._move_if(self.moving_variance, _replicas.divided(variance, having), having > 0.0)

    def _move_if(self, average: Any, value: Any, has_rows: Any) -> None:
        moved = average * self.momentum + _ops.stop_gradient(value) * (1.0 - self.momentum)
        average.assign(_ops.where(has_rows, moved, average))

    def _move(self, average: Any, value: Any, x: Any) -> None:
        """Moves a moving average on, unless there are no rows, which have no statistics."""
        keep = self.momentum
        moved = average * keep + _ops.stop_gradient(value) * (1.0 - keep)
        elements: Any = math.prod(x.shape)
        if not isinstance(elements, int):
            moved = _ops.where(F.asarray(0) < elements, moved, average)
        elif not elements:
            return
        average.assign(moved)


@checked_init
class SyncBatchNormalization(BatchNormalization):
    """`BatchNormalization(synchronized=True)` by the name that it had: statistics are those of the
    rows of all replicas of a strategy. The other arguments are those of `BatchNormalization`.

    Example:
        >>> import ostria as ost
        >>> ost.nn.SyncBatchNormalization(momentum=0.9).synchronized
        True
    """

    def __init__(
        self,
        axis: int = -1,
        momentum: float = 0.99,
        epsilon: float = 1e-3,
        center: bool = True,
        scale: bool = True,
        beta_initializer: Any = "zeros",
        gamma_initializer: Any = "ones",
        moving_mean_initializer: Any = "zeros",
        moving_variance_initializer: Any = "ones",
        beta_regularizer: Any = None,
        gamma_regularizer: Any = None,
        beta_constraint: Any = None,
        gamma_constraint: Any = None,
        *,
        dtype: Any = "float32",
        name: str | None = None,
    ):
        super().__init__(
            axis,
            momentum,
            epsilon,
            center,
            scale,
            beta_initializer,
            gamma_initializer,
            moving_mean_initializer,
            moving_variance_initializer,
            beta_regularizer,
            gamma_regularizer,
            beta_constraint,
            gamma_constraint,
            synchronized=True,
            dtype=dtype,
            name=name,
        )


class _RowNormalization(_Normalization):
    """What normalises the last axes: axis -1, or several that end with it."""

    def __init__(self, axis: Any, *others: Any):
        axes = tuple(axis) if isinstance(axis, (list, tuple)) else (axis,)
        super().__init__(axes[-1:] or axis, *others)
        self._axes = axes

    def build(self, shape: tuple[Any, ...]) -> None:
        rank = len(shape)
        count = len(self._axes)
        given = [a + rank if is_int(a) and a < 0 else a for a in self._axes]
        if given != list(range(rank - count, rank)):
            raise ValueError(
                at_line(
                    f"{self.name}: axis {list(self._axes)} does not name the last axes of an input "
                    f"of shape {list(shape)}, in order; give -1, or such as [-2, -1]"
                )
            )
        self._features = tuple(shape[rank - count :])
        super().build(shape)

    def _shape(self, shape: tuple[Any, ...]) -> tuple[Any, ...]:
        return tuple(shape[len(shape) - len(self._axes) :])

    def _require(self, x: Any) -> None:
        if len(self._features) == 1:
            require_features(self, x, self._features[0])
        elif tuple(x.shape[x.ndim - len(self._axes) :]) != self._features:
            raise ValueError(
                at_line(
                    f"{self.name}: its weights are for features {list(self._features)}, but the "
                    f"last sizes of {list(x.shape)} are others; build another layer for it"
                )
            )


@checked_init
class LayerNormalization(_RowNormalization):
    """Normalises each example over its last axis, or axes (Ba, Kiros, Hinton 2016)."""

    def __init__(
        self,
        axis: Any = -1,
        epsilon: float = 1e-3,
        center: bool = True,
        scale: bool = True,
        *,
        beta_initializer: Any = "zeros",
        gamma_initializer: Any = "ones",
        beta_regularizer: Any = None,
        gamma_regularizer: Any = None,
        beta_constraint: Any = None,
        gamma_constraint: Any = None,
        dtype: Any = "float32",
        name: str | None = None,
    ):
        beta = rules(beta_initializer, beta_regularizer, beta_constraint)
        gamma = rules(gamma_initializer, gamma_regularizer, gamma_constraint)
        super().__init__(axis, epsilon, center, scale, beta, gamma, dtype, name)

    def call(self, x: Any) -> Any:
        self._require(x)
        scale_and_shift = self._scale_and_shift(x)
        return _ops.layer_norm(x, *scale_and_shift, epsilon=self.epsilon, axes=len(self._axes))[0]


@checked_init
class RMSNormalization(_RowNormalization):
    """Divides each example by the root of its mean square (Zhang, Sennrich 2019)."""

    def __init__(
        self,
        axis: Any = -1,
        epsilon: float = 1e-6,
        *,
        gamma_initializer: Any = "ones",
        dtype: Any = "float32",
        name: str | None = None,
    ):
        gamma = rules(gamma_initializer)
        super().__init__(axis, epsilon, False, True, rules("zeros"), gamma, dtype, name)

    def call(self, x: Any) -> Any:
        self._require(x)
        return _ops.rms_norm(x, self.gamma, epsilon=self.epsilon, axes=len(self._axes))[0]


@checked_init
class GroupNormalization(_Normalization):
    """Normalises groups of channels of each example (Wu, He 2018); groups=-1: each by itself."""

    def __init__(
        self,
        groups: int = 32,
        axis: int = -1,
        epsilon: float = 1e-3,
        center: bool = True,
        scale: bool = True,
        beta_initializer: Any = "zeros",
        gamma_initializer: Any = "ones",
        beta_regularizer: Any = None,
        gamma_regularizer: Any = None,
        beta_constraint: Any = None,
        gamma_constraint: Any = None,
        *,
        dtype: Any = "float32",
        name: str | None = None,
    ):
        beta = rules(beta_initializer, beta_regularizer, beta_constraint)
        gamma = rules(gamma_initializer, gamma_regularizer, gamma_constraint)
        super().__init__(axis, epsilon, center, scale, beta, gamma, dtype, name)
        if not is_int(groups) or (groups < 1 and groups != -1):
            raise ValueError(
                at_line(
                    f"GroupNormalization: groups {groups!r} is not accepted; give a positive "
                    "integer, or -1 for as many as channels"
                )
            )
        self.groups = groups

    def build(self, shape: tuple[Any, ...]) -> None:
        super().build(shape)
        self._features = shape[-1]
        if isinstance(self._features, int) and self.groups > 0 and self._features % self.groups:
            raise ValueError(
                at_line(
                    f"{self.name}: groups {self.groups} does not divide the {self._features} "
                    f"channels of an input of shape {list(shape)}"
                )
            )

    def call(self, x: Any) -> Any:
        require_features(self, x, self._features)
        groups = self._features if self.groups == -1 else self.groups
        return _ops.group_norm(x, *self._scale_and_shift(x), epsilon=self.epsilon, groups=groups)[0]


@checked_init
class UnitNormalization(Module):
    """Divides by the Euclidean norm over `axis`, one or several."""

    def __init__(self, axis: Any = -1, *, name: str | None = None):
        super().__init__(name=name)
        self.axis = tuple(axis) if isinstance(axis, (list, tuple)) else (axis,)
        if not all(is_int(a) for a in self.axis):
            raise TypeError(
                at_line(
                    f"UnitNormalization: axis {axis!r} is not accepted; give an integer or several"
                )
            )

    def call(self, x: Any) -> Any:
        # The least square that counts is Keras's; it keeps zeros finite.
        square = _ops.sum(_ops.square(x), self.axis, True)
        return x * _ops.rsqrt(_ops.maximum(square, 1e-12))
