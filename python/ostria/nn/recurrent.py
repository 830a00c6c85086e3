# SPDX-License-Identifier: Apache-2.0
"""Recurrent layers with Keras's names, defaults and gate order: [batch, time, features] inputs.

SimpleRNN, GRU and LSTM are one op over the whole sequence where they can: with the activations that
they have by default, without recurrent dropout, and with no mask or a right-padded one (per row,
True and then False), which becomes the rows' lengths. Else, and in RNN, a scan takes the steps one
by one, which is slower.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

import numpy as np

from ostria import _activity, _native
from ostria import _functions as F
from ostria._control import cond, scan
from ostria._errors import at_line
from ostria._keywords import checked_init
from ostria.nn import regularizers
from ostria.nn._common import given, require_features, require_rank
from ostria.nn.cells import (
    GRURecurrence,
    LSTMRecurrence,
    Recurrence,
    SimpleRecurrence,
    StackedRNNCells,
    sizes_of,
)
from ostria.nn.module import Module

_ops: Any = _native.ops


class Sequence(Module):
    """What layers over sequences share: what they return, masks, states that go on."""

    return_sequences: bool
    return_state: bool
    go_backwards: bool
    stateful: bool
    zero_output_for_mask: bool

    def _sequence_options(self, options: Any) -> None:
        self.return_sequences = options["return_sequences"]
        self.return_state = options["return_state"]
        self.go_backwards, self.stateful = options["go_backwards"], options["stateful"]
        self.zero_output_for_mask = options["zero_output_for_mask"]

    def _state_sizes(self) -> list[int]:
        raise NotImplementedError

    def _add_states(self, batch: Any, dtype: Any) -> None:
        if not self.stateful:
            return
        if not isinstance(batch, int):
            raise ValueError(
                at_line(
                    f"{self.name}: stateful=True keeps a state per row, so the batch size must be "
                    "known; compile without dynamic_batch"
                )
            )
        self.states = [
            self.add_weight(
                f"state_{i}", (batch, size), initializer="zeros", dtype=dtype, trainable=False
            )
            for i, size in enumerate(self._state_sizes())
        ]

    def reset_states(self) -> None:
        """Sets the states that `stateful=True` carries from batch to batch to zero.

        Raises:
            ValueError: the layer is not stateful.
        """
        if not self.stateful:
            raise ValueError(
                at_line(f"{self.name}: has no states to reset; make it with stateful=True")
            )
        for state in self.states if self.built else ():
            state.assign(F.zeros(tuple(state.shape), dtype=state.dtype))

    def _first_states(self, x: Any, given: Any, dtype: Any) -> list[Any]:
        sizes = self._state_sizes()
        if given is not None:
            states = list(given) if isinstance(given, (list, tuple)) else [given]
            if len(states) != len(sizes):
                raise ValueError(
                    at_line(
                        f"{self.name}: initial_state has {len(states)} tensor(s), but the layer "
                        f"has {len(sizes)} state(s); give a list of {len(sizes)}"
                    )
                )
            return [F.astensor(state) for state in states]
        if self.stateful:
            return [state.value() for state in self.states]
        dtype = _native.dtype(dtype)
        return [_ops.full(shape=(x.shape[0], n), dtype=dtype, value=0.0) for n in sizes]

    def _checked_mask(self, x: Any, mask: Any) -> Any:
        if mask is None:
            return None
        mask = F.astensor(mask)
        if tuple(mask.shape) != tuple(x.shape[:2]) or str(mask.dtype) != "bool":
            raise ValueError(
                at_line(
                    f"{self.name}: the mask is {mask.dtype}{list(mask.shape)}, but must be bool "
                    f"[batch, time], here {list(x.shape[:2])}"
                )
            )
        return mask

    def _loop(
        self, step: Callable[..., Any], x: Any, states: list[Any], mask: Any, size: int
    ) -> tuple[Any, Any, list[Any]]:
        """`step(row, states)` over time: outputs, the last one, and the last states."""
        last = _ops.full(shape=(x.shape[0], size), dtype=states[0].dtype, value=0.0)
        rows = [F.transpose(x, (1, 0, *range(2, x.ndim)))]
        if mask is not None:
            rows.append(F.expand_dims(F.transpose(mask, (1, 0)), axis=2))

        def body(carry: Any, row: Any) -> Any:
            last, states = carry
            y, new = step(row[0], states)
            new, shown = list(new), y
            if mask is not None:
                new = [_ops.where(row[1], a, b) for a, b in zip(new, states, strict=True)]
                shown = _ops.where(row[1], y, 0.0 if self.zero_output_for_mask else last)
                y = _ops.where(row[1], y, last)
            return (y, new), shown

        (last, ends), ys = scan(body, (last, states), rows, reverse=self.go_backwards)
        return F.transpose(ys, (1, 0, 2)), last, ends

    def _finish(self, y: Any, last: Any, states: list[Any]) -> Any:
        if self.stateful:
            for variable, state in zip(self.states, states, strict=True):
                variable.assign(_ops.stop_gradient(state))
        if not self.return_sequences:
            y = last
        elif self.go_backwards:
            y = _ops.flip(y, (1,))  # as Keras: in the order in which steps were taken
        return (y, *states) if self.return_state else y


@checked_init
class RNN(Sequence):
    """A cell, or a list of them one upon the other, over a sequence, step by step.

    >>> from ostria.nn import GRUCell, LSTMCell
    >>> x = np.ones((2, 5, 3), np.float32)
    >>> RNN([GRUCell(4), LSTMCell(6)], return_sequences=True)(x).shape
    (2, 5, 6)

    Args:
        cell: a cell of this module, a module of yours with `state_size` (a number or a list),
            `output_size` and `call(x, states)`, which returns the output and the new states, or a
            list of cells.
        return_sequences: give all outputs, not only the last.
        return_state: give the last states too.
        go_backwards: take steps from the last to the first, and give outputs in that order.
        stateful: begin with the states that the batch before ended with; no gradient flows there.
        zero_output_for_mask: outputs of masked steps are zeros, not the output before them.
        name: of the layer.
    """

    def __init__(
        self,
        cell: Any,
        return_sequences: bool = False,
        return_state: bool = False,
        go_backwards: bool = False,
        stateful: bool = False,
        zero_output_for_mask: bool = False,
        *,
        name: str | None = None,
    ):
        super().__init__(name=name)
        self.cell = StackedRNNCells(cell) if isinstance(cell, (list, tuple)) else cell
        if not callable(self.cell) or not hasattr(self.cell, "state_size"):
            raise ValueError(
                at_line(
                    f"RNN: {cell!r} is not a cell; give a module with state_size, output_size and "
                    "call(x, states), such as nn.LSTMCell(8)"
                )
            )
        self._sequence_options(given(locals()))

    def _state_sizes(self) -> list[int]:
        return sizes_of(self.cell)

    def _cell_dtype(self, x: Any) -> Any:
        return getattr(self.cell, "dtype", str(x.dtype))

    def build(self, shape: tuple[Any, ...], *others: tuple[Any, ...]) -> None:
        self._add_states(shape[0], getattr(self.cell, "dtype", "float32"))

    def call(
        self, x: Any, initial_state: Any = None, mask: Any = None, training: bool = False
    ) -> Any:
        """Outputs, and states with `return_state`; `mask` is bool [batch, time]."""
        x = F.astensor(x)
        require_rank(self, x.shape, 3, "[batch, time, features]")
        states = self._first_states(x, initial_state, self._cell_dtype(x))
        if not self.cell.built:
            # Makes weights, which a loop's body cannot; what it drew would shift later draws.
            with _activity.ignored():
                self.cell(x[:, 0], states, training=False)
        holding = getattr(self.cell, "holding_masks", None)
        with holding(x.shape[0], training) if holding else contextlib.nullcontext():
            ends = self._loop(
                self.cell, x, states, self._checked_mask(x, mask), self.cell.output_size
            )
        return self._finish(*ends)


class Layer(Sequence, Recurrence):
    """What SimpleRNN, GRU and LSTM share; subclasses say what their op takes."""

    def _set_up_layer(
        self, units: int, activation: Any, recurrent_activation: Any, use_bias: bool, options: Any
    ) -> None:
        self._set_up(units, activation, recurrent_activation, use_bias, options)
        self._sequence_options(options)
        self.activity_regularizer = regularizers.get(options["activity_regularizer"])

    def _state_sizes(self) -> list[int]:
        return [self.units] * self._states

    def build(self, shape: tuple[Any, ...], *others: tuple[Any, ...]) -> None:
        require_rank(self, shape, 3, "[batch, time, features]")
        self._add_weights(shape[2])
        self._add_states(shape[0], self.dtype)

    def _has_op(self) -> bool:
        return self.activation == "tanh" and self.recurrent_activation == "sigmoid"

    def _op(self, *inputs: Any) -> tuple[Any, ...]:
        raise NotImplementedError

    def _at_once(self, x: Any, states: list[Any], mask: Any, lengths: Any) -> tuple[Any, list[Any]]:
        """All steps by one op; `mask` is right-padded and says `lengths`."""
        if self.use_bias:
            bias = self.bias
        else:
            bias = _ops.full(shape=self._bias_shape(), dtype=_native.dtype(self.dtype), value=0.0)
        more = [] if lengths is None else [lengths]
        y, *ends = self._op(x, self.kernel, self.recurrent_kernel, bias, *states, *more)
        if mask is not None and not self.zero_output_for_mask and not self.go_backwards:
            # Backwards, masked steps come first and have no output to repeat.
            y = _ops.where(F.expand_dims(mask, axis=2), y, F.expand_dims(ends[0], axis=1))
        return y, ends[: self._states]

    def call(
        self, x: Any, initial_state: Any = None, mask: Any = None, training: bool = False
    ) -> Any:
        """Outputs, and states with `return_state`; `mask` is bool [batch, time]."""
        x = F.astensor(x)
        require_features(self, x, self.kernel.shape[0])
        states, mask = self._first_states(x, initial_state, self.dtype), self._checked_mask(x, mask)
        dropped = self._drawn(self.dropout, (x.shape[0], 1, x.shape[2]), training)
        if dropped is not None:
            x = x * dropped
        of_h = self._recurrent_mask(x.shape[0], training)

        def loop() -> tuple[Any, list[Any]]:
            y, _, ends = self._loop(
                lambda z, states: self._advance(z, states, of_h),
                self._project(x),
                states,
                mask,
                self.units,
            )
            return y, ends

        if of_h is not None or not self._has_op():
            y, ends = loop()
        elif mask is None:
            y, ends = self._at_once(x, states, None, None)
        else:
            lengths = _ops.sum(_ops.cast(mask, _native.dtype("int64")), (1,), False)
            padded = F.asarray(np.arange(x.shape[1])) < F.expand_dims(lengths, axis=1)
            fits = _ops.all(_ops.equal(padded, mask), (0, 1), False)
            y, ends = cond(fits, lambda: self._at_once(x, states, mask, lengths), loop)
        return self._finish(y, ends[0], ends)


@checked_init
class SimpleRNN(Layer, SimpleRecurrence):
    """activation(x @ kernel + h @ recurrent_kernel + bias) over a sequence.

    >>> x = np.ones((2, 5, 3), np.float32)
    >>> SimpleRNN(4, return_sequences=True)(x).shape
    (2, 5, 4)

    Args:
        units: size of the state.
        activation: name or function. 'tanh' and 'relu' are one op over the sequence; others, and
            `recurrent_dropout` in training, take the steps one by one, which is slower.
        use_bias: whether there is a bias.
        kernel_initializer: of the input's weights.
        recurrent_initializer: of the state's weights.
        bias_initializer: of the bias.
        kernel_regularizer: a penalty on the input's weights; see `nn.regularizers`.
        recurrent_regularizer: on the state's weights.
        bias_regularizer: on the bias.
        activity_regularizer: on what the layer returns.
        kernel_constraint: what optimizers hold the input's weights to; see `nn.constraints`.
        recurrent_constraint: the state's weights.
        bias_constraint: the bias.
        dropout: the share of x that is dropped in training, the same in all steps of a sequence.
        recurrent_dropout: the share of the state, where it meets recurrent weights.
        return_sequences: give all outputs, not only the last.
        return_state: give the last state too.
        go_backwards: take steps from the last to the first, and give outputs in that order.
        stateful: begin with the state that the batch before ended with; no gradient flows there.
        zero_output_for_mask: outputs of masked steps, which keep the state, are zeros, not the
            output before them.
        dtype: of the weights.
        name: of the layer.
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
        activity_regularizer: Any = None,
        kernel_constraint: Any = None,
        recurrent_constraint: Any = None,
        bias_constraint: Any = None,
        dropout: float = 0.0,
        recurrent_dropout: float = 0.0,
        *,
        return_sequences: bool = False,
        return_state: bool = False,
        go_backwards: bool = False,
        stateful: bool = False,
        zero_output_for_mask: bool = False,
        dtype: Any = "float32",
        name: str | None = None,
    ):
        self._set_up_layer(units, activation, None, use_bias, given(locals()))

    def _has_op(self) -> bool:
        return self.activation in ("tanh", "relu")

    def _op(self, *inputs: Any) -> tuple[Any, ...]:
        return tuple(
            _ops.simple_rnn(*inputs, reverse=self.go_backwards, activation=self.activation)
        )


@checked_init
class GRU(Layer, GRURecurrence):
    """Gated recurrent units; gates z, r, h. Arguments as for `SimpleRNN`.

    `reset_after=True` is cuDNN's form. Without it, with another activation than 'tanh' or another
    recurrent activation than 'sigmoid', steps are taken one by one, which is slower.
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
        kernel_regularizer: Any = None,
        recurrent_regularizer: Any = None,
        bias_regularizer: Any = None,
        activity_regularizer: Any = None,
        kernel_constraint: Any = None,
        recurrent_constraint: Any = None,
        bias_constraint: Any = None,
        dropout: float = 0.0,
        recurrent_dropout: float = 0.0,
        *,
        reset_after: bool = True,
        return_sequences: bool = False,
        return_state: bool = False,
        go_backwards: bool = False,
        stateful: bool = False,
        zero_output_for_mask: bool = False,
        dtype: Any = "float32",
        name: str | None = None,
    ):
        self._set_up_layer(units, activation, recurrent_activation, use_bias, given(locals()))
        self.reset_after = reset_after

    def _has_op(self) -> bool:
        return self.reset_after and super()._has_op()

    def _op(self, *inputs: Any) -> tuple[Any, ...]:
        return tuple(_ops.gru(*inputs, reverse=self.go_backwards))


@checked_init
class LSTM(Layer, LSTMRecurrence):
    """Long short-term memory; gates i, f, c, o; two states, h and c.

    >>> y, h, c = LSTM(4, return_state=True)(np.ones((2, 5, 3), np.float32))
    >>> c.shape
    (2, 4)

    Arguments as for `SimpleRNN`; `unit_forget_bias` starts the forget gate's bias at one. With
    another activation than 'tanh' or another recurrent activation than 'sigmoid', steps are taken
    one by one, which is slower.
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
        activity_regularizer: Any = None,
        kernel_constraint: Any = None,
        recurrent_constraint: Any = None,
        bias_constraint: Any = None,
        dropout: float = 0.0,
        recurrent_dropout: float = 0.0,
        *,
        return_sequences: bool = False,
        return_state: bool = False,
        go_backwards: bool = False,
        stateful: bool = False,
        zero_output_for_mask: bool = False,
        dtype: Any = "float32",
        name: str | None = None,
    ):
        self._set_up_layer(units, activation, recurrent_activation, use_bias, given(locals()))
        self.unit_forget_bias = unit_forget_bias

    def _op(self, *inputs: Any) -> tuple[Any, ...]:
        return tuple(_ops.lstm(*inputs, reverse=self.go_backwards))
