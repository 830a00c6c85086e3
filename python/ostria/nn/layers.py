# SPDX-License-Identifier: Apache-2.0
"""Layers with Keras's names and defaults. Images are NHWC; conv kernels are [out, kh, kw, in]."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ostria import _functions as F
from ostria import _native, random
from ostria._checks import is_int, is_number
from ostria._errors import at_line
from ostria._keywords import checked_init
from ostria.nn import activations, initializers, regularizers
from ostria.nn.module import Module

_ops = _native.ops


def _penalize(module: Module, variable: Any, regularizer: Any) -> None:
    if regularizer is not None:
        rule = regularizers.get(regularizer)
        module.add_loss(lambda: rule(variable))


def _require_rank(module: Module, shape: tuple[Any, ...], rank: int, meaning: str) -> None:
    if len(shape) != rank:
        raise ValueError(
            at_line(
                f"{module.name}: needs an input of rank {rank} ({meaning}), but its shape is "
                f"{list(shape)}"
            )
        )


def _require_features(module: Module, x: Any, features: int) -> None:
    if not x.shape or x.shape[-1] != features:
        raise ValueError(
            at_line(
                f"{module.name}: its weights are for {features} features, but the last size of "
                f"{list(x.shape)} is another; build another layer for it"
            )
        )


def pair(value: Any, what: str) -> tuple[int, int]:
    """(height, width) of an int or a pair."""
    items = (value, value) if isinstance(value, int) else tuple(value)
    if len(items) != 2 or any(not isinstance(i, int) or i < 1 for i in items):
        raise ValueError(
            at_line(f"{what} {value!r} is not accepted; give a positive integer or a pair of them")
        )
    return items


def resolve_padding(
    padding: Any,
    x_shape: tuple[Any, ...],
    window: tuple[int, int],
    strides: tuple[int, int],
    dilation: tuple[int, int] = (1, 1),
) -> list[int]:
    """(top, bottom, left, right) for 'valid', 'same' (as TensorFlow) or given numbers."""
    if isinstance(padding, (list, tuple)):
        return [int(p) for p in padding]
    kind = padding.lower() if isinstance(padding, str) else padding
    if kind == "valid":
        return [0, 0, 0, 0]
    if kind != "same":
        raise ValueError(
            at_line(
                f"padding {padding!r} is not known; accepted are 'valid', 'same', or four numbers "
                "(top, bottom, left, right)"
            )
        )
    out = []
    for axis in (0, 1):
        size = x_shape[1 + axis]
        if not isinstance(size, int):
            raise ValueError(
                at_line(
                    "padding 'same' needs a known height and width, but the input is "
                    f"{list(x_shape)}"
                )
            )
        reach = (window[axis] - 1) * dilation[axis] + 1
        total = max((-(-size // strides[axis]) - 1) * strides[axis] + reach - size, 0)
        out += [total // 2, total - total // 2]
    return out


@checked_init
class Dense(Module):
    """activation(x @ kernel + bias): [..., in] to [..., units]; the kernel is [in, units]."""

    def __init__(
        self,
        units: int,
        activation: Any = None,
        use_bias: bool = True,
        kernel_initializer: Any = "glorot_uniform",
        bias_initializer: Any = "zeros",
        kernel_regularizer: Any = None,
        bias_regularizer: Any = None,
        *,
        dtype: Any = "float32",
        name: str | None = None,
    ):
        super().__init__(name=name)
        if not isinstance(units, int) or units < 1:
            raise ValueError(
                at_line(f"Dense: units {units!r} is not accepted; give a positive integer")
            )
        self.units, self.use_bias, self.dtype = units, use_bias, dtype
        self.activation = activations.get(activation)
        self._initializers = (
            initializers.get(kernel_initializer),
            initializers.get(bias_initializer),
        )
        self._regularizers = (kernel_regularizer, bias_regularizer)

    def build(self, shape: tuple[Any, ...]) -> None:
        if len(shape) < 2:
            raise ValueError(
                at_line(
                    f"{self.name}: needs an input of rank 2 or more ([batch, features]), but its "
                    "shape "
                    f"is {list(shape)}; add a batch axis with ost.expand_dims"
                )
            )
        self.kernel = self.add_weight(
            "kernel", (shape[-1], self.units), initializer=self._initializers[0], dtype=self.dtype
        )
        _penalize(self, self.kernel, self._regularizers[0])
        if self.use_bias:
            self.bias = self.add_weight(
                "bias", (self.units,), initializer=self._initializers[1], dtype=self.dtype
            )
            _penalize(self, self.bias, self._regularizers[1])

    def call(self, x: Any) -> Any:
        _require_features(self, x, self.kernel.shape[0])
        y = F.matmul(x, self.kernel)
        if self.use_bias:
            y = y + self.bias
        return self.activation(y)


@checked_init
class Conv2D(Module):
    """2-D convolution: [batch, height, width, in] to [batch, height', width', filters]."""

    def __init__(
        self,
        filters: int,
        kernel_size: Any,
        strides: Any = 1,
        padding: Any = "valid",
        dilation_rate: Any = 1,
        groups: int = 1,
        activation: Any = None,
        use_bias: bool = True,
        kernel_initializer: Any = "glorot_uniform",
        bias_initializer: Any = "zeros",
        kernel_regularizer: Any = None,
        bias_regularizer: Any = None,
        *,
        dtype: Any = "float32",
        name: str | None = None,
    ):
        super().__init__(name=name)
        for what, count in (("filters", filters), ("groups", groups)):
            if not isinstance(count, int) or count < 1:
                raise ValueError(
                    at_line(f"Conv2D: {what} {count!r} is not accepted; give a positive integer")
                )
        self.filters, self.groups, self.padding, self.use_bias, self.dtype = (
            filters,
            groups,
            padding,
            use_bias,
            dtype,
        )
        self.kernel_size = pair(kernel_size, "Conv2D: kernel_size")
        self.strides = pair(strides, "Conv2D: strides")
        self.dilation_rate = pair(dilation_rate, "Conv2D: dilation_rate")
        self.activation = activations.get(activation)
        self._initializers = (
            initializers.get(kernel_initializer),
            initializers.get(bias_initializer),
        )
        self._regularizers = (kernel_regularizer, bias_regularizer)

    def build(self, shape: tuple[Any, ...]) -> None:
        _require_rank(self, shape, 4, "[batch, height, width, channels]")
        channels = shape[-1]
        if isinstance(channels, int) and (channels % self.groups or self.filters % self.groups):
            raise ValueError(
                at_line(
                    f"{self.name}: {channels} input channels and {self.filters} filters do not "
                    "split "
                    f"into {self.groups} groups"
                )
            )
        self.kernel = self.add_weight(
            "kernel",
            (self.filters, *self.kernel_size, channels // self.groups),
            initializer=self._initializers[0],
            dtype=self.dtype,
        )
        _penalize(self, self.kernel, self._regularizers[0])
        if self.use_bias:
            self.bias = self.add_weight(
                "bias", (self.filters,), initializer=self._initializers[1], dtype=self.dtype
            )
            _penalize(self, self.bias, self._regularizers[1])

    def call(self, x: Any) -> Any:
        padding = resolve_padding(
            self.padding, x.shape, self.kernel_size, self.strides, self.dilation_rate
        )
        y = _ops.conv2d(
            x,
            self.kernel,
            strides=self.strides,
            padding=padding,
            dilation=self.dilation_rate,
            groups=self.groups,
        )
        if self.use_bias:
            y = y + self.bias
        return self.activation(y)


class _Pool2D(Module):
    def __init__(
        self,
        pool_size: Any = 2,
        strides: Any = None,
        padding: Any = "valid",
        *,
        name: str | None = None,
    ):
        super().__init__(name=name)
        kind = type(self).__name__
        self.pool_size = pair(pool_size, f"{kind}: pool_size")
        self.strides = self.pool_size if strides is None else pair(strides, f"{kind}: strides")
        self.padding = padding

    def _attributes(self, x: Any) -> dict[str, Any]:
        _require_rank(self, x.shape, 4, "[batch, height, width, channels]")
        return {
            "window": self.pool_size,
            "strides": self.strides,
            "padding": resolve_padding(self.padding, x.shape, self.pool_size, self.strides),
        }


@checked_init
class MaxPool2D(_Pool2D):
    """Largest value of each window."""

    def call(self, x: Any) -> Any:
        return _ops.max_pool2d(x, **self._attributes(x))[0]


@checked_init
class AvgPool2D(_Pool2D):
    """Mean of each window; padding does not count."""

    def call(self, x: Any) -> Any:
        return _ops.avg_pool2d(x, **self._attributes(x))


@checked_init
class GlobalAveragePooling2D(Module):
    """Mean over height and width: [batch, h, w, c] to [batch, c]."""

    def __init__(self, keepdims: bool = False, *, name: str | None = None):
        super().__init__(name=name)
        self.keepdims = keepdims

    def call(self, x: Any) -> Any:
        _require_rank(self, x.shape, 4, "[batch, height, width, channels]")
        return _ops.mean(x, (1, 2), self.keepdims)


class _Normalization(Module):
    """What scale and shift the last axis once it is normalised."""

    def __init__(
        self,
        axis: Any,
        epsilon: float,
        center: bool,
        scale: bool,
        beta_initializer: Any,
        gamma_initializer: Any,
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
        self.epsilon, self.center, self.scale, self.dtype = epsilon, center, scale, dtype
        self.beta: Any = None
        self.gamma: Any = None
        self._initializers = {
            "beta": initializers.get(beta_initializer),
            "gamma": initializers.get(gamma_initializer),
        }

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

    def _weight(self, name: str, shape: tuple[Any, ...], trainable: bool = True) -> Any:
        return self.add_weight(
            name,
            tuple(shape[-1:]),
            initializer=self._initializers[name],
            dtype=self.dtype,
            trainable=trainable,
        )

    def _scale_and_shift(self, x: Any) -> tuple[Any, Any]:
        """gamma and beta, or what stands for them where the layer has none."""
        shape, dtype = tuple(x.shape[-1:]), _native.dtype(self.dtype)
        one = _ops.full(shape=shape, dtype=dtype, value=1.0) if self.gamma is None else self.gamma
        zero = _ops.full(shape=shape, dtype=dtype, value=0.0) if self.beta is None else self.beta
        return one, zero


@checked_init
class BatchNormalization(_Normalization):
    """Normalises over all axes but the last (Ioffe, Szegedy 2015); else by moving averages."""

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
        *,
        dtype: Any = "float32",
        name: str | None = None,
    ):
        super().__init__(
            axis, epsilon, center, scale, beta_initializer, gamma_initializer, dtype, name
        )
        self.momentum = momentum
        self._initializers["moving_mean"] = initializers.get(moving_mean_initializer)
        self._initializers["moving_variance"] = initializers.get(moving_variance_initializer)

    def build(self, shape: tuple[Any, ...]) -> None:
        super().build(shape)
        self.moving_mean = self._weight("moving_mean", shape, trainable=False)
        self.moving_variance = self._weight("moving_variance", shape, trainable=False)

    def call(self, x: Any, training: bool = False) -> Any:
        _require_features(self, x, self.moving_mean.shape[0])
        if not training or not self.trainable:
            factor = _ops.rsqrt(self.moving_variance + self.epsilon)
            if self.gamma is not None:
                factor = self.gamma * factor
            shift = self.moving_mean * factor
            return x * factor - shift if self.beta is None else x * factor + (self.beta - shift)
        y, mean, variance = _ops.batch_norm(x, *self._scale_and_shift(x), epsilon=self.epsilon)[:3]
        self._move(self.moving_mean, mean, x)
        self._move(self.moving_variance, variance, x)
        return y

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
class LayerNormalization(_Normalization):
    """Normalises each example over its last axis (Ba, Kiros, Hinton 2016)."""

    def __init__(
        self,
        axis: int = -1,
        epsilon: float = 1e-3,
        center: bool = True,
        scale: bool = True,
        *,
        beta_initializer: Any = "zeros",
        gamma_initializer: Any = "ones",
        dtype: Any = "float32",
        name: str | None = None,
    ):
        super().__init__(
            axis, epsilon, center, scale, beta_initializer, gamma_initializer, dtype, name
        )

    def build(self, shape: tuple[Any, ...]) -> None:
        super().build(shape)
        self._features = shape[-1]

    def call(self, x: Any) -> Any:
        _require_features(self, x, self._features)
        return _ops.layer_norm(x, *self._scale_and_shift(x), epsilon=self.epsilon)[0]


@checked_init
class Dropout(Module):
    """Zeroes a share `rate` of the elements in training and scales the others by 1 / (1 - rate).

    With a `seed` it has a generator of its own, whose state is one of its Variables; else it draws
    from `generator`, by default the one that `ost.random.seed` seeds.
    """

    def __init__(
        self,
        rate: float,
        seed: int | None = None,
        *,
        generator: random.Generator | None = None,
        name: str | None = None,
    ):
        super().__init__(name=name)
        if not is_number(rate) or not 0 <= rate < 1:
            raise ValueError(
                at_line(
                    f"Dropout: rate {rate!r} is not accepted; give a number from 0 up to, but not, "
                    "1"
                )
            )
        if seed is not None and generator is not None:
            raise ValueError(
                at_line("Dropout: seed and generator exclude each other; give at most one")
            )
        self.rate, self.generator = rate, generator
        self.seed = None if seed is None else random.check_seed(seed)

    def build(self, shape: tuple[Any, ...]) -> None:
        if self.seed is not None:
            first = np.array([self.seed, 0], np.int64)
            self.generator_state = self.add_weight(
                "generator",
                first.shape,
                initializer=lambda shape, dtype, path: first,
                dtype="int64",
                trainable=False,
            )
            self.generator = random.Generator.around(self.generator_state)

    def call(self, x: Any, training: bool = False) -> Any:
        if not training:
            return F.astensor(x)
        return random.dropout(x, self.rate, generator=self.generator)


@checked_init
class Embedding(Module):
    """Rows of a table: integer input [...], output [..., output_dim]."""

    def __init__(
        self,
        input_dim: int,
        output_dim: int,
        embeddings_initializer: Any = "uniform",
        embeddings_regularizer: Any = None,
        *,
        dtype: Any = "float32",
        name: str | None = None,
    ):
        super().__init__(name=name)
        self.input_dim, self.output_dim, self.dtype = input_dim, output_dim, dtype
        self._initializer, self._regularizer = (
            initializers.get(embeddings_initializer),
            embeddings_regularizer,
        )

    def build(self, shape: tuple[Any, ...]) -> None:
        self.embeddings = self.add_weight(
            "embeddings",
            (self.input_dim, self.output_dim),
            initializer=self._initializer,
            dtype=self.dtype,
        )
        _penalize(self, self.embeddings, self._regularizer)

    def call(self, x: Any) -> Any:
        return _ops.gather(self.embeddings, x, 0)


class Flatten(Module):
    """[batch, a, b, …] to [batch, a * b * …]."""

    def call(self, x: Any) -> Any:
        features: Any = 1
        for size in x.shape[1:]:
            features = features * size
        return F.reshape(x, (x.shape[0], features))


@checked_init
class Activation(Module):
    """Applies an activation by name or function."""

    def __init__(self, activation: Any, *, name: str | None = None):
        super().__init__(name=name)
        self.activation = activations.get(activation)

    def call(self, x: Any) -> Any:
        return self.activation(F.astensor(x))


@checked_init
class Sequential(Module):
    """Layers one after another. Their names are Keras's: dense, dense_1, …"""

    def __init__(self, layers: Any = (), *, name: str | None = None):
        super().__init__(name=name)
        self.layers: list[Module] = []
        for layer in layers:
            self.add(layer)

    def add(self, layer: Module) -> None:
        """Appends a layer.

        Raises:
            TypeError: it is no Module.
        """
        if not isinstance(layer, Module):
            raise TypeError(
                at_line(f"Sequential: {layer!r} is no layer; wrap functions in nn.Activation")
            )
        base = layer.name
        taken = {other._scope_name for other in self.layers}
        name, number = base, 0
        while name in taken:
            number += 1
            name = f"{base}_{number}"
        layer._scope_name = layer.name = name
        self.layers.append(layer)

    def call(self, x: Any, training: bool = False) -> Any:
        for layer in self.layers:
            x = layer(x, training=training)
        return x
