# SPDX-License-Identifier: Apache-2.0
"""Recurrent cells, which take one step: `cell(x, states)` gives its output and the new states.

The weights and the equations are those of the layers over sequences, which share them from here.
Keras's names, defaults and gate order.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any, ClassVar

from ostria import _functions as F
from ostria import _native, random
from ostria._checks import check_positive_int, check_share
from ostria._errors import at_line
from ostria._keywords import checked_init
from ostria.nn import activations, initializers
from ostria.nn._common import given, require_features, require_rank, rules_of
from ostria.nn.module import Module

_ops: Any = _native.ops


class Recurrence(Module):
    """Weights and equations of one step; subclasses say which."""

    _gates: ClassVar[int] = 1
    _states: ClassVar[int] = 1

    def _set_up(
        self, units: int, activation: Any, recurrent_activation: Any, use_bias: bool, options: Any
    ) -> None:
        kind = type(self).__name__
        Module.__init__(self, name=options["name"])
        self.units = check_positive_int(kind, "units", units)
        self.use_bias, self.dtype = use_bias, options["dtype"]
        self.dropout, self.recurrent_dropout = (
            check_share(kind, what, options[what]) for what in ("dropout", "recurrent_dropout")
        )
        self.activation, self.recurrent_activation = activation, recurrent_activation
        self._activate = activations.get(activation)
        self._open = activations.get(recurrent_activation)
        self._rules = {w: rules_of(options, w) for w in ("kernel", "recurrent", "bias")}

    def _bias_shape(self) -> tuple[int, ...]:
        return (self._gates * self.units,)

    def _first_bias(self, shape: Any, dtype: Any, path: str) -> Any:
        return self._rules["bias"]["initializer"](shape, dtype, path)

    def _add_weights(self, features: int) -> None:
        kernel, recurrent = (
            (features, self._gates * self.units),
            (self.units, self._gates * self.units),
        )
        make, dtype = self.add_weight, self.dtype
        self.kernel = make("kernel", kernel, dtype=dtype, **self._rules["kernel"])
        self.recurrent_kernel = make(
            "recurrent_kernel", recurrent, dtype=dtype, **self._rules["recurrent"]
        )
        if self.use_bias:
            bias = {**self._rules["bias"], "initializer": self._first_bias}
            self.bias = make("bias", self._bias_shape(), dtype=dtype, **bias)

    def _listed(self, states: Any) -> list[Any]:
        listed = list(states) if isinstance(states, (list, tuple)) else [states]
        if len(listed) != self._states:
            raise ValueError(
                at_line(
                    f"{self.name}: {len(listed)} state(s) are given, but it has {self._states}; "
                    f"give a list of {self._states}"
                )
            )
        return listed

    def _zeros(self, batch: Any) -> list[Any]:
        zeros = _ops.full(shape=(batch, self.units), dtype=_native.dtype(self.dtype), value=0.0)
        return [zeros] * self._states

    def _drawn(self, rate: float, shape: tuple[Any, ...], training: bool) -> Any:
        """A factor that drops a share of what it multiplies, or None."""
        if not training or rate == 0:
            return None
        return random.dropout(F.ones(shape, dtype=self.dtype), rate)

    def _recurrent_mask(self, batch: Any, training: bool) -> Any:
        return self._drawn(self.recurrent_dropout, (batch, self.units), training)

    def _project(self, x: Any) -> Any:
        """The part of a step that needs no state, for one step or for all."""
        z = F.astensor(x) @ self.kernel
        return z + self.bias if self.use_bias else z

    def _advance(self, z: Any, states: list[Any], mask: Any) -> tuple[Any, list[Any]]:
        """The step from `_project`'s result; `mask` multiplies h where recurrent weights do."""
        raise NotImplementedError

    def _parts(self, z: Any, count: int) -> list[Any]:
        n = self.units
        return [z[:, i * n : (i + 1) * n] for i in range(count)]


def _masked(h: Any, mask: Any) -> Any:
    return h if mask is None else h * mask


class SimpleRecurrence(Recurrence):
    """h' = activation(x kernel + h recurrent_kernel + bias)."""

    def _advance(self, z: Any, states: list[Any], mask: Any) -> tuple[Any, list[Any]]:
        h = self._activate(z + _masked(states[0], mask) @ self.recurrent_kernel)
        return h, [h]


class GRURecurrence(Recurrence):
    """Gates z, r, h; the reset gate before or after the product with the recurrent weights."""

    _gates = 3
    reset_after: bool = True

    def _bias_shape(self) -> tuple[int, ...]:
        return (2, 3 * self.units) if self.reset_after else (3 * self.units,)

    def _project(self, x: Any) -> Any:
        if not self.reset_after or not self.use_bias:
            return super()._project(x)
        return F.astensor(x) @ self.kernel + self.bias[0]

    def _advance(self, z: Any, states: list[Any], mask: Any) -> tuple[Any, list[Any]]:
        h, n = states[0], self.units
        seen = _masked(h, mask)
        of_x = self._parts(z, 3)
        if self.reset_after:
            s = seen @ self.recurrent_kernel
            of_h = self._parts(s + self.bias[1] if self.use_bias else s, 3)
        else:
            of_h = self._parts(seen @ self.recurrent_kernel[:, : 2 * n], 2)
        keep, reset = self._open(of_x[0] + of_h[0]), self._open(of_x[1] + of_h[1])
        if self.reset_after:
            candidate = self._activate(of_x[2] + reset * of_h[2])
        else:
            inner = (reset * seen) @ self.recurrent_kernel[:, 2 * n :]
            candidate = self._activate(of_x[2] + inner)
        h = candidate + keep * (h - candidate)
        return h, [h]


class LSTMRecurrence(Recurrence):
    """Gates i, f, c, o; two states, h and c."""

    _gates = 4
    _states = 2
    unit_forget_bias: bool = True

    def _first_bias(self, shape: Any, dtype: Any, path: str) -> Any:
        bias = super()._first_bias(shape, dtype, path)
        if not self.unit_forget_bias:
            return bias
        n, ones = self.units, initializers.Ones()((self.units,), dtype, path)
        return F.concat([bias[:n], ones, bias[2 * n :]])

    def _advance(self, z: Any, states: list[Any], mask: Any) -> tuple[Any, list[Any]]:
        h, c = states
        i, f, g, o = self._parts(z + _masked(h, mask) @ self.recurrent_kernel, 4)
        c = self._open(f) * c + self._open(i) * self._activate(g)
        h = self._open(o) * self._activate(c)
        return h, [h, c]


class Cell(Recurrence):
    """What the three cells share."""

    _held: tuple[Any, Any] | None = None

    @property
    def state_size(self) -> list[int]:
        """The sizes of the states."""
        return [self.units] * self._states

    @property
    def output_size(self) -> int:
        """The size of the output."""
        return self.units

    def get_initial_state(self, batch_size: Any) -> list[Any]:
        """Zeros, one tensor [batch_size, units] per state."""
        return self._zeros(batch_size)

    def build(self, shape: tuple[Any, ...], *others: tuple[Any, ...]) -> None:
        require_rank(self, shape, 2, "[batch, features]")
        self._add_weights(shape[1])

    def _masks(self, batch: Any, training: bool) -> tuple[Any, Any]:
        inputs = self._drawn(self.dropout, (batch, self.kernel.shape[0]), training)
        return inputs, self._recurrent_mask(batch, training)

    @contextlib.contextmanager
    def holding_masks(self, batch: Any, training: bool) -> Iterator[None]:
        """Within it all calls drop the same elements, as the steps of one sequence do."""
        self._held = self._masks(batch, training)
        try:
            yield
        finally:
            self._held = None

    def call(self, x: Any, states: Any, training: bool = False) -> tuple[Any, list[Any]]:
        x, states = F.astensor(x), [F.astensor(s) for s in self._listed(states)]
        require_features(self, x, self.kernel.shape[0])
        of_x, of_h = self._held or self._masks(x.shape[0], training)
        return self._advance(self._project(_masked(x, of_x)), states, of_h)


@checked_init
class SimpleRNNCell(Cell, SimpleRecurrence):
    """One step of `SimpleRNN`: `cell(x, states)` gives (h, [h]).

    Args:
        units: size of the state.
        activation: name or function.
        use_bias: whether there is a bias.
        kernel_initializer: of the input's weights.
        recurrent_initializer: of the state's weights.
        bias_initializer: of the bias.
        kernel_regularizer: a penalty on the input's weights; see `nn.regularizers`.
        recurrent_regularizer: on the state's weights.
        bias_regularizer: on the bias.
        kernel_constraint: what optimizers hold the input's weights to; see `nn.constraints`.
        recurrent_constraint: the state's weights.
        bias_constraint: the bias.
        dropout: the share of x that is dropped in training, the same in all steps of a sequence.
        recurrent_dropout: the share of the state, where it meets recurrent weights.
        dtype: of the weights.
        name: of the cell.
    """

    def __init__(
        self,
        units: int,
        activation: Any = "tanh",
        use_bias: bool = True,
        kernel_initializer: Any = "glorot_uniform",
        recurrent_initializer: Any = "orthogonal",
        bias_initializer: Any = "zeros",
        kernel_regularizer: Any = None,
        recurrent_regularizer: Any = None,
        bias_regularizer: Any = None,
        kernel_constraint: Any = None,
        recurrent_constraint: Any = None,
        bias_constraint: Any = None,
        dropout: float = 0.0,
        recurrent_dropout: float = 0.0,
        *,
        dtype: Any = "float32",
        name: str | None = None,
    ):
        self._set_up(units, activation, None, use_bias, given(locals()))


@checked_init
class GRUCell(Cell, GRURecurrence):
    """One step of `GRU`: `cell(x, states)` gives (h, [h]). Arguments as for `SimpleRNNCell`."""

    def __init__(
        self,
        units: int,
        activation: Any = "tanh",
        recurrent_activation: Any = "sigmoid",
        use_bias: bool = True,
        kernel_initializer: Any = "glorot_uniform",
        recurrent_initializer: Any = "orthogonal",
        bias_initializer: Any = "zeros",
        kernel_regularizer: Any = None,
        recurrent_regularizer: Any = None,
        bias_regularizer: Any = None,
        kernel_constraint: Any = None,
        recurrent_constraint: Any = None,
        bias_constraint: Any = None,
        dropout: float = 0.0,
        recurrent_dropout: float = 0.0,
        *,
        reset_after: bool = True,
        dtype: Any = "float32",
        name: str | None = None,
    ):
        self._set_up(units, activation, recurrent_activation, use_bias, given(locals()))
        self.reset_after = reset_after


@checked_init
class LSTMCell(Cell, LSTMRecurrence):
    """One step of `LSTM`: `cell(x, states)` gives (h, [h, c]). Arguments as for `SimpleRNNCell`.

    >>> cell = LSTMCell(4)
    >>> h, states = cell(F.ones((2, 3)), cell.get_initial_state(2))
    >>> h.shape, len(states)
    ((2, 4), 2)
    """

    def __init__(
        self,
        units: int,
        activation: Any = "tanh",
        recurrent_activation: Any = "sigmoid",
        use_bias: bool = True,
        kernel_initializer: Any = "glorot_uniform",
        recurrent_initializer: Any = "orthogonal",
        bias_initializer: Any = "zeros",
        unit_forget_bias: bool = True,
        kernel_regularizer: Any = None,
        recurrent_regularizer: Any = None,
        bias_regularizer: Any = None,
        kernel_constraint: Any = None,
        recurrent_constraint: Any = None,
        bias_constraint: Any = None,
        dropout: float = 0.0,
        recurrent_dropout: float = 0.0,
        *,
        dtype: Any = "float32",
        name: str | None = None,
    ):
        self._set_up(units, activation, recurrent_activation, use_bias, given(locals()))
        self.unit_forget_bias = unit_forget_bias


@checked_init
class StackedRNNCells(Module):
    """Cells one upon the other as one cell, whose states are those of all, the lowest's first."""

    def __init__(self, cells: Any, *, name: str | None = None):
        super().__init__(name=name)
        self.cells = list(cells)
        for cell in self.cells:
            if not hasattr(cell, "state_size") or not callable(cell):
                raise ValueError(
                    at_line(
                        f"StackedRNNCells: {cell!r} is not a cell; give modules with state_size, "
                        "output_size and call(x, states), such as nn.LSTMCell(8)"
                    )
                )
        if not self.cells:
            raise ValueError(at_line("StackedRNNCells: there are no cells; give at least one"))

    @property
    def state_size(self) -> list[int]:
        """The sizes of the states."""
        return [size for cell in self.cells for size in sizes_of(cell)]

    @property
    def output_size(self) -> int:
        """The size of the last cell's output."""
        return self.cells[-1].output_size

    @contextlib.contextmanager
    def holding_masks(self, batch: Any, training: bool) -> Iterator[None]:
        """Within it all calls drop the same elements, as the steps of one sequence do."""
        with contextlib.ExitStack() as stack:
            for cell in self.cells:
                if hasattr(cell, "holding_masks"):
                    stack.enter_context(cell.holding_masks(batch, training))
            yield

    def call(self, x: Any, states: Any) -> tuple[Any, list[Any]]:
        ends: list[Any] = []
        for cell in self.cells:
            count = len(sizes_of(cell))
            x, new = cell(x, list(states[len(ends) : len(ends) + count]))
            ends += list(new) if isinstance(new, (list, tuple)) else [new]
        return x, ends


def sizes_of(cell: Any) -> list[int]:
    """The sizes of a cell's states, as a list."""
    size = cell.state_size
    return list(size) if isinstance(size, (list, tuple)) else [size]
