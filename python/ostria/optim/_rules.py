# SPDX-License-Identifier: Apache-2.0
"""The optimizers, with Keras's names, defaults and formulas. The update ops do the arithmetic."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ostria import _keywords, _native
from ostria._errors import at_line
from ostria.optim._optimizer import Optimizer

_ops = _native.ops
Rate = float | Callable[[Any], Any]


@_keywords.checked_init
class SGD(Optimizer):
    """Gradient descent: w -= lr g; with momentum v = momentum v - lr g, w += v.

    Args:
        learning_rate: a number, or a function of the step.
        momentum: share of the velocity that is kept, 0 … 1.
        nesterov: look ahead: w += momentum v - lr g.
        weight_decay: w *= 1 - lr weight_decay before the step.
        clipnorm: limit of the norm of each gradient.
        clipvalue: limit of each element.
        global_clipnorm: limit of the norm of all gradients together. At most one of the three.
        name: prefix of the names of the state.
    """

    def __init__(
        self,
        learning_rate: Rate = 0.01,
        momentum: float = 0.0,
        nesterov: bool = False,
        *,
        weight_decay: float | None = None,
        clipnorm: float | None = None,
        clipvalue: float | None = None,
        global_clipnorm: float | None = None,
        name: str | None = None,
    ):
        super().__init__(
            learning_rate,
            weight_decay=weight_decay,
            clipnorm=clipnorm,
            clipvalue=clipvalue,
            global_clipnorm=global_clipnorm,
            name=name,
        )
        if not 0 <= momentum <= 1:
            raise ValueError(
                at_line(f"SGD: momentum {momentum} is not accepted; give a number from 0 to 1")
            )
        self.momentum, self.nesterov = float(momentum), bool(nesterov)
        self._slots = (("momentum", 0.0),) if self.momentum else ()

    def _rule(self) -> tuple[Any, dict[str, Any]]:
        if not self._slots:
            return _ops.sgd_update, {}
        return _ops.momentum_update, {"momentum": self.momentum, "nesterov": self.nesterov}


@_keywords.checked_init
class Adam(Optimizer):
    """Adam (Kingma, Ba 2014). Other arguments as `SGD`.

    Args:
        beta_1: decay of the first moment, 0 … 1.
        beta_2: decay of the second moment, 0 … 1.
        epsilon: added to the root of the second moment.
    """

    _slots = (("adam_m", 0.0), ("adam_v", 0.0))
    _takes_step = True

    def __init__(
        self,
        learning_rate: Rate = 0.001,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-7,
        *,
        weight_decay: float | None = None,
        clipnorm: float | None = None,
        clipvalue: float | None = None,
        global_clipnorm: float | None = None,
        name: str | None = None,
    ):
        super().__init__(
            learning_rate,
            weight_decay=weight_decay,
            clipnorm=clipnorm,
            clipvalue=clipvalue,
            global_clipnorm=global_clipnorm,
            name=name,
        )
        for what, beta in (("beta_1", beta_1), ("beta_2", beta_2)):
            if not 0 <= beta < 1:
                raise ValueError(
                    at_line(
                        f"{type(self).__name__}: {what} {beta} is not accepted; give a number "
                        "from 0 up to, but not, 1"
                    )
                )
        self.beta_1, self.beta_2, self.epsilon = float(beta_1), float(beta_2), float(epsilon)

    def _rule(self) -> tuple[Any, dict[str, Any]]:
        attributes = {"beta1": self.beta_1, "beta2": self.beta_2, "epsilon": self.epsilon}
        return _ops.adam_update, attributes


@_keywords.checked_init
class AdamW(Adam):
    """Adam with decoupled weight decay (Loshchilov, Hutter 2017), 0.004 by default; see `Adam`."""

    def __init__(
        self,
        learning_rate: Rate = 0.001,
        weight_decay: float | None = 0.004,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-7,
        *,
        clipnorm: float | None = None,
        clipvalue: float | None = None,
        global_clipnorm: float | None = None,
        name: str | None = None,
    ):
        super().__init__(
            learning_rate,
            beta_1,
            beta_2,
            epsilon,
            weight_decay=weight_decay,
            clipnorm=clipnorm,
            clipvalue=clipvalue,
            global_clipnorm=global_clipnorm,
            name=name,
        )


@_keywords.checked_init
class Adagrad(Optimizer):
    """Adagrad (Duchi et al. 2011): a += g², w -= lr g / sqrt(a + epsilon).

    Other arguments as `SGD`.

    Args:
        initial_accumulator_value: what `a` starts from, at least 0.
        epsilon: added under the root.
    """

    def __init__(
        self,
        learning_rate: Rate = 0.001,
        initial_accumulator_value: float = 0.1,
        epsilon: float = 1e-7,
        *,
        weight_decay: float | None = None,
        clipnorm: float | None = None,
        clipvalue: float | None = None,
        global_clipnorm: float | None = None,
        name: str | None = None,
    ):
        super().__init__(
            learning_rate,
            weight_decay=weight_decay,
            clipnorm=clipnorm,
            clipvalue=clipvalue,
            global_clipnorm=global_clipnorm,
            name=name,
        )
        if not initial_accumulator_value >= 0:
            raise ValueError(
                at_line(
                    f"Adagrad: initial_accumulator_value {initial_accumulator_value} is not "
                    "accepted; give a number of at least 0"
                )
            )
        self.epsilon = float(epsilon)
        self._slots = (("adagrad_accumulator", float(initial_accumulator_value)),)

    def _rule(self) -> tuple[Any, dict[str, Any]]:
        return _ops.adagrad_update, {"epsilon": self.epsilon}
