# SPDX-License-Identifier: Apache-2.0
"""Convolutions with Keras's names and defaults: channels last, kernels [out, k..., in]."""

from __future__ import annotations

from typing import Any

from ostria import _native
from ostria._errors import at_line
from ostria._keywords import checked_init
from ostria.nn import activations, initializers
from ostria.nn._common import penalize, require_rank
from ostria.nn._windows import pair, resolve_padding
from ostria.nn.module import Module

_ops = _native.ops


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
        require_rank(self, shape, 4, "[batch, height, width, channels]")
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
        penalize(self, self.kernel, self._regularizers[0])
        if self.use_bias:
            self.bias = self.add_weight(
                "bias", (self.filters,), initializer=self._initializers[1], dtype=self.dtype
            )
            penalize(self, self.bias, self._regularizers[1])

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
