# SPDX-License-Identifier: Apache-2.0
"""Dense, Embedding, activations and Sequential, with Keras's names and defaults."""

from __future__ import annotations

from typing import Any

from ostria import _functions as F
from ostria import _native
from ostria._checks import check_positive_int
from ostria._errors import at_line
from ostria._keywords import checked_init
from ostria.nn import activations, regularizers
from ostria.nn._common import require_features, rules
from ostria.nn.module import Module

_ops = _native.ops


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
        activity_regularizer: Any = None,
        kernel_constraint: Any = None,
        bias_constraint: Any = None,
        *,
        dtype: Any = "float32",
        name: str | None = None,
    ):
        super().__init__(name=name)
        self.units = check_positive_int("Dense", "units", units)
        self.use_bias, self.dtype = use_bias, dtype
        self.activation = activations.get(activation)
        self.activity_regularizer = regularizers.get(activity_regularizer)
        self._kernel = rules(kernel_initializer, kernel_regularizer, kernel_constraint)
        self._bias = rules(bias_initializer, bias_regularizer, bias_constraint)

    def build(self, shape: tuple[Any, ...]) -> None:
        if len(shape) < 2:
            raise ValueError(
                at_line(
                    f"{self.name}: needs an input of rank 2 or more ([batch, features]), but its "
                    "shape "
                    f"is {list(shape)}; add a batch axis with ost.expand_dims"
                )
            )
        kernel = (shape[-1], self.units)
        self.kernel = self.add_weight("kernel", kernel, dtype=self.dtype, **self._kernel)
        if self.use_bias:
            self.bias = self.add_weight("bias", (self.units,), dtype=self.dtype, **self._bias)

    def call(self, x: Any) -> Any:
        require_features(self, x, self.kernel.shape[0])
        y = F.matmul(x, self.kernel)
        if self.use_bias:
            y = y + self.bias
        return self.activation(y)


@checked_init
class Embedding(Module):
    """Rows of a table: integer input [...], output [..., output_dim].

    With `mask_zero`, row 0 stands for no word: give `compute_mask(x)` to layers as their `mask`.
    """

    def __init__(
        self,
        input_dim: int,
        output_dim: int,
        embeddings_initializer: Any = "uniform",
        embeddings_regularizer: Any = None,
        embeddings_constraint: Any = None,
        mask_zero: bool = False,
        *,
        dtype: Any = "float32",
        name: str | None = None,
    ):
        super().__init__(name=name)
        self.input_dim = check_positive_int("Embedding", "input_dim", input_dim)
        self.output_dim = check_positive_int("Embedding", "output_dim", output_dim)
        self.dtype, self.mask_zero = dtype, mask_zero
        self._table = rules(embeddings_initializer, embeddings_regularizer, embeddings_constraint)

    def build(self, shape: tuple[Any, ...]) -> None:
        table = (self.input_dim, self.output_dim)
        self.embeddings = self.add_weight("embeddings", table, dtype=self.dtype, **self._table)

    def call(self, x: Any) -> Any:
        return _ops.gather(self.embeddings, x, 0)

    def compute_mask(self, x: Any) -> Any:
        """bool, of the shape of `x`: where it is not 0; None without `mask_zero`."""
        return F.astensor(x) != 0 if self.mask_zero else None


@checked_init
class Activation(Module):
    """Applies an activation by name or function."""

    def __init__(self, activation: Any, *, name: str | None = None):
        super().__init__(name=name)
        self.activation = activations.get(activation)

    def call(self, x: Any) -> Any:
        return self.activation(F.astensor(x))


@checked_init
class ActivityRegularization(Module):
    """Passes its input on, and adds l1 * sum(|x|) + l2 * sum(x²) to the loss."""

    def __init__(self, l1: float = 0.0, l2: float = 0.0, *, name: str | None = None):
        super().__init__(name=name)
        self.activity_regularizer = regularizers.L1L2(l1=l1, l2=l2)

    def call(self, x: Any) -> Any:
        return F.astensor(x)


@checked_init
class Sequential(Module):
    """Layers one after another. Their names are Keras's: dense, dense_1, …"""

    def __init__(self, layers: Any = (), *, name: str | None = None):
        super().__init__(name=name)
        self.layers: list[Module] = []
        self._names: set[str] = set()  # of the layers, and the last number that each name got
        self._numbers: dict[str, int] = {}
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
        if len(self._names) != len(self.layers):  # someone changed the list
            self._names = {other._scope_name for other in self.layers}
            self._numbers = {}
        number = self._numbers.get(base, 0)
        name = f"{base}_{number}" if number else base
        while name in self._names:
            number += 1
            name = f"{base}_{number}"
        self._names.add(name)
        self._numbers[base] = number
        layer._scope_name = layer.name = name
        self.layers.append(layer)

    def call(self, x: Any, training: bool = False) -> Any:
        for layer in self.layers:
            x = layer(x, training=training)
        return x
