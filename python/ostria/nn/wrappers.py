# SPDX-License-Identifier: Apache-2.0
"""Layers around layers over sequences: both directions, every step by itself."""

from __future__ import annotations

import copy
from typing import Any

from ostria import _functions as F
from ostria import _native
from ostria._errors import at_line
from ostria._keywords import checked_init
from ostria.nn.module import Module
from ostria.nn.recurrent import Sequence

_ops: Any = _native.ops


@checked_init
class Bidirectional(Module):
    """Two layers over a sequence, one forwards and one backwards, and their outputs merged.

    Returns the outputs, and with layers of return_state=True all their states too, the forward
    layer's first. `initial_state` is a list of as many.

    Args:
        layer: goes forwards; SimpleRNN, GRU, LSTM or RNN.
        merge_mode: 'concat', 'sum', 'mul', 'ave', or None for both outputs.
        backward_layer: one with go_backwards=True; by default a copy of `layer` that has it, with
            weights of its own.
        name: of the layer.
    """

    def __init__(
        self,
        layer: Any,
        merge_mode: str | None = "concat",
        backward_layer: Any = None,
        *,
        name: str | None = None,
    ):
        super().__init__(name=name)
        self._check("layer", layer, False)
        if backward_layer is None:
            backward_layer = _copied_backwards(layer)
        self._check("backward_layer", backward_layer, True)
        for what in ("return_sequences", "return_state"):
            if getattr(layer, what) != getattr(backward_layer, what):
                raise ValueError(
                    at_line(
                        f"Bidirectional: {what} is {getattr(layer, what)} in layer but "
                        f"{getattr(backward_layer, what)} in backward_layer; give both the same"
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

    def _check(self, what: str, layer: Any, backwards: bool) -> None:
        if not isinstance(layer, Sequence) or layer.go_backwards != backwards:
            raise ValueError(
                at_line(
                    f"Bidirectional: {what} {layer!r} is not accepted; give a SimpleRNN, GRU, LSTM "
                    f"or RNN with go_backwards={backwards}"
                )
            )

    def call(self, x: Any, initial_state: Any = None, mask: Any = None) -> Any:
        """The merged outputs; see the class."""
        first: tuple[Any, Any] = (None, None)
        if initial_state is not None:
            half = len(initial_state) // 2
            first = (initial_state[:half], initial_state[half:])
        a = self.forward_layer(x, first[0], mask)
        b = self.backward_layer(x, first[1], mask)
        states: tuple[Any, ...] = ()
        if self.forward_layer.return_state:
            (a, *ahead), (b, *behind) = a, b
            states = (*ahead, *behind)
        if self.backward_layer.return_sequences:
            b = _ops.flip(b, (1,))
        y = self._merged(a, b)
        if not states:
            return y
        return (*y, *states) if self.merge_mode is None else (y, *states)

    def _merged(self, a: Any, b: Any) -> Any:
        if self.merge_mode is None:
            return a, b
        if self.merge_mode == "concat":
            return F.concat([a, b], axis=-1)
        if self.merge_mode == "mul":
            return a * b
        return a + b if self.merge_mode == "sum" else (a + b) * 0.5


def _copied_backwards(layer: Any) -> Any:
    if any(module.built for module in layer.modules()):
        raise ValueError(
            at_line(
                f"Bidirectional: layer '{layer.name}' has weights already, which its copy cannot "
                "share; give it before its first call, or give backward_layer"
            )
        )
    backward = copy.deepcopy(layer)
    backward._scope_name = ""  # it is a child of another name
    backward.name, backward.go_backwards = f"backward_{layer.name}", True
    return backward


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
