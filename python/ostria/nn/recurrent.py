# SPDX-License-Identifier: Apache-2.0
"""Recurrent layers with Keras's names, defaults and gate order: [batch, time, features] inputs.

Each layer is one op over the whole sequence. A mask [batch, time] must be right-padded: per row,
True and then False. It becomes the row's length, from which on states stay and outputs are zero.
Another mask is an error; in a compiled function, which sees no values, it makes its row NaN.
"""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from ostria import _functions as F
from ostria import _native
from ostria._checks import is_int
from ostria._errors import at_line
from ostria._keywords import checked_init
from ostria.nn import initializers, regularizers
from ostria.nn._common import rules
from ostria.nn.module import Module

_ops: Any = _native.ops


class _Recurrent(Module):
    """What the three layers share; subclasses say what their op takes."""

    _gates: ClassVar[int] = 1
    _states: ClassVar[int] = 1

    def __init__(
        self,
        units: int,
        use_bias: bool,
        weights: tuple[dict[str, Any], dict[str, Any], dict[str, Any]],
        activity_regularizer: Any,
        return_sequences: bool,
        return_state: bool,
        go_backwards: bool,
        stateful: bool,
        dtype: Any,
        name: str | None,
    ):
        super().__init__(name=name)
        if not is_int(units) or units < 1:
            raise ValueError(
                at_line(
                    f"{type(self).__name__}: units {units!r} is not accepted; give a positive "
                    "integer"
                )
            )
        self.units, self.use_bias, self.dtype = units, use_bias, dtype
        self.return_sequences, self.return_state = return_sequences, return_state
        self.go_backwards, self.stateful = go_backwards, stateful
        self._kernel, self._recurrent, self._bias = weights
        self.activity_regularizer = regularizers.get(activity_regularizer)

    def _bias_shape(self) -> tuple[int, ...]:
        return (self._gates * self.units,)

    def _first_bias(self, shape: Any, dtype: Any, path: str) -> Any:
        return self._bias["initializer"](shape, dtype, path)

    def build(self, shape: tuple[Any, ...], *others: tuple[Any, ...]) -> None:
        if len(shape) != 3:
            raise ValueError(
                at_line(
                    f"{self.name}: needs an input of rank 3 ([batch, time, features]), but its "
                    f"shape is {list(shape)}"
                )
            )
        width = self._gates * self.units
        kernel, recurrent = (shape[2], width), (self.units, width)
        self.kernel = self.add_weight("kernel", kernel, dtype=self.dtype, **self._kernel)
        self.recurrent_kernel = self.add_weight(
            "recurrent_kernel", recurrent, dtype=self.dtype, **self._recurrent
        )
        if self.use_bias:
            bias = {**self._bias, "initializer": self._first_bias}
            self.bias = self.add_weight("bias", self._bias_shape(), dtype=self.dtype, **bias)
        if self.stateful:
            if not isinstance(shape[0], int):
                raise ValueError(
                    at_line(
                        f"{self.name}: stateful=True keeps a state per row, so the batch size must "
                        "be known; compile without dynamic_batch"
                    )
                )
            self.states = [
                self.add_weight(
                    f"state_{i}",
                    (shape[0], self.units),
                    initializer="zeros",
                    dtype=self.dtype,
                    trainable=False,
                )
                for i in range(self._states)
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
            state.assign(np.zeros(tuple(state.shape), str(state.dtype)))

    def _run(self, *inputs: Any, reverse: bool) -> tuple[Any, ...]:
        raise NotImplementedError

    def _first_states(self, x: Any, given: Any) -> list[Any]:
        if given is not None:
            states = list(given) if isinstance(given, (list, tuple)) else [given]
            if len(states) != self._states:
                raise ValueError(
                    at_line(
                        f"{self.name}: initial_state has {len(states)} tensor(s), but the layer "
                        f"has {self._states} state(s); give a list of {self._states}"
                    )
                )
            return states
        if self.stateful:
            return [state.value() for state in self.states]
        shape = (x.shape[0], self.units)
        zeros = _ops.full(shape=shape, dtype=_native.dtype(self.dtype), value=0.0)
        return [zeros] * self._states

    def _lengths(self, x: Any, mask: Any, states: list[Any]) -> tuple[list[Any], list[Any]]:
        """The lengths that a right-padded mask says, and states that are NaN where it is not."""
        mask = F.astensor(mask)
        if tuple(mask.shape) != tuple(x.shape[:2]) or str(mask.dtype) != "bool":
            raise ValueError(
                at_line(
                    f"{self.name}: the mask is {mask.dtype}{list(mask.shape)}, but must be bool "
                    f"[batch, time], here {list(x.shape[:2])}"
                )
            )
        lengths = _ops.sum(_ops.cast(mask, _native.dtype("int64")), (1,), False)
        padded = F.asarray(np.arange(x.shape[1])) < F.expand_dims(lengths, axis=1)
        fits = _ops.all(_ops.equal(padded, mask), (1,), True)
        if _native.current_trace() is not None:
            return [lengths], [_ops.where(fits, state, float("nan")) for state in states]
        if not fits.numpy().all():
            row = int(np.argmin(fits.numpy().ravel()))
            raise ValueError(
                at_line(
                    f"{self.name}: row {row} of the mask is not True and then False; move the "
                    "steps that count to the front"
                )
            )
        return [lengths], states

    def call(self, x: Any, initial_state: Any = None, mask: Any = None) -> Any:
        if x.shape[-1] != self.kernel.shape[0]:
            raise ValueError(
                at_line(
                    f"{self.name}: its weights are for {self.kernel.shape[0]} features, but the "
                    f"last size of {list(x.shape)} is another; build another layer for it"
                )
            )
        if self.use_bias:
            bias = self.bias
        else:
            bias = _ops.full(shape=self._bias_shape(), dtype=_native.dtype(self.dtype), value=0.0)
        states = self._first_states(x, initial_state)
        lengths: list[Any] = []
        if mask is not None:
            lengths, states = self._lengths(x, mask, states)
        inputs = [x, self.kernel, self.recurrent_kernel, bias, *states, *lengths]
        y, *ends = self._run(*inputs, reverse=self.go_backwards)
        states = ends[: self._states]
        if self.stateful:
            for variable, state in zip(self.states, states, strict=True):
                variable.assign(_ops.stop_gradient(state))
        if not self.return_sequences:
            y = states[0]
        elif self.go_backwards:
            y = _ops.flip(y, (1,))  # as Keras: in the order in which steps were taken
        return (y, *states) if self.return_state else y


@checked_init
class SimpleRNN(_Recurrent):
    """activation(x @ kernel + h @ recurrent_kernel + bias) over a sequence, tanh or relu.

    >>> x = np.ones((2, 5, 3), np.float32)
    >>> SimpleRNN(4, return_sequences=True)(x).shape
    (2, 5, 4)

    Args:
        units: size of the state.
        activation: 'tanh' or 'relu'.
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
        return_sequences: give all outputs, not only the last.
        return_state: give the last state too.
        go_backwards: take steps from the last to the first, and give outputs in that order.
        stateful: begin with the state that the batch before ended with; no gradient flows there.
        dtype: of the weights.
        name: of the layer.
    """

    def __init__(
        self,
        units: int,
        activation: str = "tanh",
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
        *,
        return_sequences: bool = False,
        return_state: bool = False,
        go_backwards: bool = False,
        stateful: bool = False,
        dtype: Any = "float32",
        name: str | None = None,
    ):
        if activation not in ("tanh", "relu"):
            raise ValueError(
                at_line(
                    f"SimpleRNN: activation {activation!r} is not accepted; give 'tanh' or 'relu'"
                )
            )
        super().__init__(
            units,
            use_bias,
            (
                rules(kernel_initializer, kernel_regularizer, kernel_constraint),
                rules(recurrent_initializer, recurrent_regularizer, recurrent_constraint),
                rules(bias_initializer, bias_regularizer, bias_constraint),
            ),
            activity_regularizer,
            return_sequences,
            return_state,
            go_backwards,
            stateful,
            dtype,
            name,
        )
        self.activation = activation

    def _run(self, *inputs: Any, reverse: bool) -> tuple[Any, ...]:
        return tuple(_ops.simple_rnn(*inputs, reverse=reverse, activation=self.activation))


@checked_init
class GRU(_Recurrent):
    """Gated recurrent units as Keras's reset_after=True and cuDNN; gates z, r, h.

    Arguments as for `SimpleRNN`.
    """

    _gates = 3

    def __init__(
        self,
        units: int,
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
        *,
        return_sequences: bool = False,
        return_state: bool = False,
        go_backwards: bool = False,
        stateful: bool = False,
        dtype: Any = "float32",
        name: str | None = None,
    ):
        super().__init__(
            units,
            use_bias,
            (
                rules(kernel_initializer, kernel_regularizer, kernel_constraint),
                rules(recurrent_initializer, recurrent_regularizer, recurrent_constraint),
                rules(bias_initializer, bias_regularizer, bias_constraint),
            ),
            activity_regularizer,
            return_sequences,
            return_state,
            go_backwards,
            stateful,
            dtype,
            name,
        )

    def _bias_shape(self) -> tuple[int, ...]:
        return (2, 3 * self.units)

    def _run(self, *inputs: Any, reverse: bool) -> tuple[Any, ...]:
        return tuple(_ops.gru(*inputs, reverse=reverse))


@checked_init
class LSTM(_Recurrent):
    """Long short-term memory; gates i, f, c, o; two states, h and c.

    >>> y, h, c = LSTM(4, return_state=True)(np.ones((2, 5, 3), np.float32))
    >>> c.shape
    (2, 4)

    Arguments as for `SimpleRNN`; `unit_forget_bias` starts the forget gate's bias at one.
    """

    _gates = 4
    _states = 2

    def __init__(
        self,
        units: int,
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
        *,
        return_sequences: bool = False,
        return_state: bool = False,
        go_backwards: bool = False,
        stateful: bool = False,
        dtype: Any = "float32",
        name: str | None = None,
    ):
        super().__init__(
            units,
            use_bias,
            (
                rules(kernel_initializer, kernel_regularizer, kernel_constraint),
                rules(recurrent_initializer, recurrent_regularizer, recurrent_constraint),
                rules(bias_initializer, bias_regularizer, bias_constraint),
            ),
            activity_regularizer,
            return_sequences,
            return_state,
            go_backwards,
            stateful,
            dtype,
            name,
        )
        self.unit_forget_bias = unit_forget_bias

    def _first_bias(self, shape: Any, dtype: Any, path: str) -> Any:
        bias = super()._first_bias(shape, dtype, path)
        if not self.unit_forget_bias:
            return bias
        n, ones = self.units, initializers.Ones()((self.units,), dtype, path)
        return F.concat([bias[:n], ones, bias[2 * n :]])

    def _run(self, *inputs: Any, reverse: bool) -> tuple[Any, ...]:
        return tuple(_ops.lstm(*inputs, reverse=reverse))


@checked_init
class Bidirectional(Module):
    """Two layers over a sequence, one forwards and one backwards, and their outputs merged.

    Args:
        layer: goes forwards.
        backward_layer: a layer of the same kind with go_backwards=True.
        merge_mode: 'concat', 'sum', 'mul', 'ave', or None for both outputs.
        name: of the layer.
    """

    def __init__(
        self,
        layer: Any,
        backward_layer: Any,
        merge_mode: str | None = "concat",
        *,
        name: str | None = None,
    ):
        super().__init__(name=name)
        for what, one, backwards in (
            ("layer", layer, False),
            ("backward_layer", backward_layer, True),
        ):
            if not isinstance(one, _Recurrent) or one.go_backwards != backwards or one.return_state:
                raise ValueError(
                    at_line(
                        f"Bidirectional: {what} {one!r} is not accepted; give a SimpleRNN, GRU or "
                        f"LSTM with go_backwards={backwards} and without return_state"
                    )
                )
        if merge_mode not in ("concat", "sum", "mul", "ave", None):
            raise ValueError(
                at_line(
                    f"Bidirectional: merge_mode {merge_mode!r} is not known; accepted are "
                    "'concat', 'sum', 'mul', 'ave' and None"
                )
            )
        self.forward_layer, self.backward_layer = layer, backward_layer
        self.merge_mode = merge_mode

    def call(self, x: Any, mask: Any = None) -> Any:
        a = self.forward_layer(x, mask=mask)
        b = self.backward_layer(x, mask=mask)
        if self.backward_layer.return_sequences:
            b = _ops.flip(b, (1,))
        if self.merge_mode is None:
            return a, b
        if self.merge_mode == "concat":
            return F.concat([a, b], axis=-1)
        if self.merge_mode == "mul":
            return a * b
        return a + b if self.merge_mode == "sum" else (a + b) * 0.5


@checked_init
class TimeDistributed(Module):
    """A layer applied to every step by itself: [batch, time, ...] as one batch of batch * time."""

    def __init__(self, layer: Module, *, name: str | None = None):
        super().__init__(name=name)
        self.layer = layer

    def call(self, x: Any) -> Any:
        batch, time = x.shape[:2]
        y = self.layer(F.reshape(x, (batch * time, *x.shape[2:])))
        return F.reshape(y, (batch, time, *y.shape[1:]))
