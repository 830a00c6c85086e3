# SPDX-License-Identifier: Apache-2.0
"""Convolutions with Keras's names and defaults: channels last, kernels [out, k..., in].

Transposed ones have kernels [in, k..., out]: that of the convolution which they transpose.
"""

from __future__ import annotations

from typing import Any, ClassVar

from ostria import _functions as F
from ostria import _native
from ostria._checks import check_positive_int
from ostria._errors import at_line
from ostria._keywords import checked_init
from ostria.nn import activations, regularizers
from ostria.nn._common import given, require_rank, rules, rules_of
from ostria.nn._windows import IMAGES, reach_of, resolve_padding, sizes, transpose_padding
from ostria.nn.module import Module

_ops = _native.ops


class _Convolution(Module):
    """What all of them are made with: a window, a bias and an activation."""

    _dims: ClassVar[int]

    def _count(self, what: str, count: Any) -> int:
        return check_positive_int(type(self).__name__, what, count)

    def _set_up(self, options: dict[str, Any]) -> None:
        Module.__init__(self, name=options["name"])
        self.kernel_size, self.strides, self.dilation_rate = (
            sizes(options[what], self._dims, f"{type(self).__name__}: {what}")
            for what in ("kernel_size", "strides", "dilation_rate")
        )
        self.padding, self.use_bias, self.dtype = (
            options[what] for what in ("padding", "use_bias", "dtype")
        )
        self.activation = activations.get(options["activation"])
        self.activity_regularizer = regularizers.get(options["activity_regularizer"])
        self._bias = rules_of(options, "bias")

    def _build_bias(self, channels: int) -> None:
        if self.use_bias:
            self.bias = self.add_weight("bias", (channels,), dtype=self.dtype, **self._bias)

    def _finish(self, y: Any) -> Any:
        return self.activation(y + self.bias if self.use_bias else y)

    def _around(self, x: Any) -> list[int]:
        if self._dims == 1 and isinstance(self.padding, str) and self.padding.lower() == "causal":
            return [reach_of(self.kernel_size, self.dilation_rate, 0) - 1, 0]
        return resolve_padding(
            self.padding, x.shape, self.kernel_size, self.strides, self.dilation_rate
        )

    def _convolve(self, x: Any, kernel: Any, groups: int) -> Any:
        return getattr(_ops, f"conv{self._dims}d")(
            x,
            kernel,
            strides=self.strides,
            padding=self._around(x),
            dilation=self.dilation_rate,
            groups=groups,
        )


class _Conv(_Convolution):
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
        activity_regularizer: Any = None,
        kernel_constraint: Any = None,
        bias_constraint: Any = None,
        *,
        dtype: Any = "float32",
        name: str | None = None,
    ):
        self._set_up(given(locals()))
        self.filters, self.groups = self._count("filters", filters), self._count("groups", groups)
        self._kernel = rules(kernel_initializer, kernel_regularizer, kernel_constraint)

    def build(self, shape: tuple[Any, ...]) -> None:
        require_rank(self, shape, self._dims + 2, IMAGES[self._dims])
        channels = shape[-1]
        if isinstance(channels, int) and (channels % self.groups or self.filters % self.groups):
            raise ValueError(
                at_line(
                    f"{self.name}: {channels} input channels and {self.filters} filters do not "
                    f"split into {self.groups} groups"
                )
            )
        kernel = (self.filters, *self.kernel_size, channels // self.groups)
        self.kernel = self.add_weight("kernel", kernel, dtype=self.dtype, **self._kernel)
        self._build_bias(self.filters)

    def call(self, x: Any) -> Any:
        return self._finish(self._convolve(x, self.kernel, self.groups))


@checked_init
class Conv1D(_Conv):
    """1-D convolution: [batch, length, in] to [batch, length', filters].

    `padding="causal"` lets no result see what comes after it.
    """

    _dims = 1


@checked_init
class Conv2D(_Conv):
    """2-D convolution: [batch, height, width, in] to [batch, height', width', filters]."""

    _dims = 2


@checked_init
class Conv3D(_Conv):
    """3-D convolution: [batch, depth, height, width, in] to [batch, depth', …, filters]."""

    _dims = 3


class _ConvTranspose(_Convolution):
    def __init__(
        self,
        filters: int,
        kernel_size: Any,
        strides: Any = 1,
        padding: str = "valid",
        output_padding: Any = None,
        dilation_rate: Any = 1,
        activation: Any = None,
        use_bias: bool = True,
        kernel_initializer: Any = "glorot_uniform",
        bias_initializer: Any = "zeros",
        kernel_regularizer: Any = None,
        bias_regularizer: Any = None,
        activity_regularizer: Any = None,
        kernel_constraint: Any = None,
        bias_constraint: Any = None,
        *,
        dtype: Any = "float32",
        name: str | None = None,
    ):
        self._set_up(given(locals()))
        kind = type(self).__name__
        self.filters = self._count("filters", filters)
        if not isinstance(padding, str) or padding.lower() not in ("valid", "same"):
            raise ValueError(
                at_line(f"{kind}: padding {padding!r} is not known; accepted are 'valid', 'same'")
            )
        self.output_padding = None
        if output_padding is not None:
            self.output_padding = sizes(output_padding, self._dims, f"{kind}: output_padding", 0)
            if any(p >= s for p, s in zip(self.output_padding, self.strides, strict=True)):
                raise ValueError(
                    at_line(
                        f"{kind}: output_padding {output_padding!r} is not accepted; it must be "
                        f"smaller than strides {self.strides}"
                    )
                )
        self._kernel = rules(kernel_initializer, kernel_regularizer, kernel_constraint)

    def build(self, shape: tuple[Any, ...]) -> None:
        require_rank(self, shape, self._dims + 2, IMAGES[self._dims])
        kernel = (shape[-1], *self.kernel_size, self.filters)
        self.kernel = self.add_weight("kernel", kernel, dtype=self.dtype, **self._kernel)
        self._build_bias(self.filters)

    def call(self, x: Any) -> Any:
        padding, more = transpose_padding(
            self.padding, self.kernel_size, self.strides, self.dilation_rate, self.output_padding
        )
        y = getattr(_ops, f"conv_transpose{self._dims}d")(
            x,
            self.kernel,
            strides=self.strides,
            padding=padding,
            dilation=self.dilation_rate,
            output_padding=more,
        )
        return self._finish(y)


@checked_init
class Conv1DTranspose(_ConvTranspose):
    """The transpose of a 1-D convolution: [batch, length, in] to [batch, length', filters]."""

    _dims = 1


@checked_init
class Conv2DTranspose(_ConvTranspose):
    """The transpose of a 2-D convolution: makes images larger by `strides`."""

    _dims = 2


@checked_init
class Conv3DTranspose(_ConvTranspose):
    """The transpose of a 3-D convolution: makes volumes larger by `strides`."""

    _dims = 3


class _Depthwise(_Convolution):
    """What convolves every channel by itself, giving `depth_multiplier` of each."""

    depth_multiplier: int

    def _build_depthwise(self, name: str, shape: tuple[Any, ...], how: dict[str, Any]) -> Any:
        require_rank(self, shape, self._dims + 2, IMAGES[self._dims])
        kernel = (shape[-1] * self.depth_multiplier, *self.kernel_size, 1)
        return self.add_weight(name, kernel, dtype=self.dtype, **how)

    def _depthwise(self, x: Any, kernel: Any) -> Any:
        if self.depth_multiplier > 1:
            # As many channels as results: libraries are fast at that case alone.
            many = F.expand_dims(x, axis=-1)
            many = F.broadcast_to(many, (*x.shape, self.depth_multiplier))
            x = F.reshape(many, (*x.shape[:-1], x.shape[-1] * self.depth_multiplier))
        return self._convolve(x, kernel, kernel.shape[0])


class _DepthwiseConv(_Depthwise):
    def __init__(
        self,
        kernel_size: Any,
        strides: Any = 1,
        padding: Any = "valid",
        depth_multiplier: int = 1,
        dilation_rate: Any = 1,
        activation: Any = None,
        use_bias: bool = True,
        depthwise_initializer: Any = "glorot_uniform",
        bias_initializer: Any = "zeros",
        depthwise_regularizer: Any = None,
        bias_regularizer: Any = None,
        activity_regularizer: Any = None,
        depthwise_constraint: Any = None,
        bias_constraint: Any = None,
        *,
        dtype: Any = "float32",
        name: str | None = None,
    ):
        self._set_up(given(locals()))
        self.depth_multiplier = self._count("depth_multiplier", depth_multiplier)
        self._kernel = rules(depthwise_initializer, depthwise_regularizer, depthwise_constraint)

    def build(self, shape: tuple[Any, ...]) -> None:
        self.kernel = self._build_depthwise("kernel", shape, self._kernel)
        self._build_bias(self.kernel.shape[0])

    def call(self, x: Any) -> Any:
        return self._finish(self._depthwise(x, self.kernel))


@checked_init
class DepthwiseConv1D(_DepthwiseConv):
    """A 1-D convolution of every channel: [batch, length, c] to [batch, length', c * multiplier].

    Its kernel is [c * depth_multiplier, k, 1].
    """

    _dims = 1


@checked_init
class DepthwiseConv2D(_DepthwiseConv):
    """A 2-D convolution of every channel; its kernel is [c * depth_multiplier, kh, kw, 1]."""

    _dims = 2


class _SeparableConv(_Depthwise):
    def __init__(
        self,
        filters: int,
        kernel_size: Any,
        strides: Any = 1,
        padding: Any = "valid",
        dilation_rate: Any = 1,
        depth_multiplier: int = 1,
        activation: Any = None,
        use_bias: bool = True,
        depthwise_initializer: Any = "glorot_uniform",
        pointwise_initializer: Any = "glorot_uniform",
        bias_initializer: Any = "zeros",
        depthwise_regularizer: Any = None,
        pointwise_regularizer: Any = None,
        bias_regularizer: Any = None,
        activity_regularizer: Any = None,
        depthwise_constraint: Any = None,
        pointwise_constraint: Any = None,
        bias_constraint: Any = None,
        *,
        dtype: Any = "float32",
        name: str | None = None,
    ):
        self._set_up(given(locals()))
        self.filters = self._count("filters", filters)
        self.depth_multiplier = self._count("depth_multiplier", depth_multiplier)
        self._kernels = (
            rules(depthwise_initializer, depthwise_regularizer, depthwise_constraint),
            rules(pointwise_initializer, pointwise_regularizer, pointwise_constraint),
        )

    def build(self, shape: tuple[Any, ...]) -> None:
        depthwise, pointwise = self._kernels
        self.depthwise_kernel = self._build_depthwise("depthwise_kernel", shape, depthwise)
        kernel = (self.filters, *(1,) * self._dims, self.depthwise_kernel.shape[0])
        self.pointwise_kernel = self.add_weight(
            "pointwise_kernel", kernel, dtype=self.dtype, **pointwise
        )
        self._build_bias(self.filters)

    def call(self, x: Any) -> Any:
        between = self._depthwise(x, self.depthwise_kernel)
        return self._finish(getattr(_ops, f"conv{self._dims}d")(between, self.pointwise_kernel))


@checked_init
class SeparableConv1D(_SeparableConv):
    """A depthwise 1-D convolution, then one of size 1 that mixes the channels."""

    _dims = 1


@checked_init
class SeparableConv2D(_SeparableConv):
    """A depthwise 2-D convolution, then one of size 1 x 1 that mixes the channels."""

    _dims = 2
