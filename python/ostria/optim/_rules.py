# SPDX-License-Identifier: Apache-2.0
"""The optimizers, with Keras's names, defaults and formulas. The update ops do the arithmetic."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Unpack

import numpy as np

from ostria import _checks, _keywords, _native
from ostria._checks import check_fraction, check_not_negative, check_share
from ostria._errors import at_line
from ostria.optim._optimizer import Optimizer
from ostria.optim._options import Options, Shared

_ops = _native.ops
Rate = float | Callable[[Any], Any]


@_keywords.checked_init_with(Options)
class SGD(Optimizer):
    """Gradient descent: w -= lr g; with momentum v = momentum v - lr g, w += v.

    Args:
        learning_rate: a number, or a function of the step.
        momentum: share of the velocity that is kept, 0 … 1.
        nesterov: look ahead: w += momentum v - lr g.
        options: as `Optimizer`: weight_decay, clipnorm, clipvalue, global_clipnorm, use_ema,
            ema_momentum, ema_overwrite_frequency, learning_rate_multipliers and name.
    """

    _elementwise = True

    def __init__(
        self,
        learning_rate: Rate = 0.01,
        momentum: float = 0.0,
        nesterov: bool = False,
        **options: Unpack[Options],
    ):
        super().__init__(learning_rate, **options)
        self.momentum = check_fraction("SGD", "momentum", momentum)
        self.nesterov = bool(nesterov)
        self._slots = (("momentum", 0.0),) if self.momentum else ()

    def _rule(self) -> tuple[Any, dict[str, Any]]:
        if not self._slots:
            return _ops.sgd_update, {}
        return _ops.momentum_update, {"momentum": self.momentum, "nesterov": self.nesterov}


class _Moments(Optimizer):
    """What the family of Adam shares: two decays, an epsilon, two slots, the number of the step."""

    _takes_step = True
    _elementwise = True
    _op: Any

    def __init__(
        self,
        learning_rate: Rate = 0.001,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-7,
        **options: Unpack[Options],
    ):
        super().__init__(learning_rate, **options)
        kind = type(self).__name__
        self.beta_1 = check_share(kind, "beta_1", beta_1)
        self.beta_2 = check_share(kind, "beta_2", beta_2)
        self.epsilon = check_not_negative(kind, "epsilon", epsilon)

    def _rule(self) -> tuple[Any, dict[str, Any]]:
        return self._op, {"beta1": self.beta_1, "beta2": self.beta_2, "epsilon": self.epsilon}


@_keywords.checked_init_with(Options)
class Adam(_Moments):
    """Adam (Kingma, Ba 2014).

    Args:
        learning_rate: a number, or a function of the step.
        beta_1: decay of the first moment, 0 … 1.
        beta_2: decay of the second moment, 0 … 1.
        epsilon: added to the root of the second moment.
        lazy: leave rows (slices along the first axis) alone whose gradient is zero. Their moments
            do not decay, as they do in Adam, so results differ; in return a step touches only
            those rows of an embedding table that its batch read (see `CompiledFunction.explain`).
        options: as `SGD`.

    Example:
        >>> import ostria as ost
        >>> optimizer = ost.optim.Adam(0.1, lazy=True)
        >>> table = ost.Variable([[1.0], [1.0]], name="table")
        >>> optimizer.apply([ost.asarray([[0.5], [0.0]])], [table]).item()
        True
        >>> (table.numpy() == 1.0).tolist()
        [[False], [True]]
    """

    _slots = (("adam_m", 0.0), ("adam_v", 0.0))
    _op = _ops.adam_update

    def __init__(
        self,
        learning_rate: Rate = 0.001,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-7,
        *,
        lazy: bool = False,
        **options: Unpack[Options],
    ):
        super().__init__(learning_rate, beta_1, beta_2, epsilon, **options)
        self.lazy = bool(lazy)
        self._elementwise = not self.lazy

    def _rule(self) -> tuple[Any, dict[str, Any]]:
        op, attributes = super()._rule()
        return op, {**attributes, "lazy": self.lazy}


@_keywords.checked_init_with(Shared)
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
        lazy: bool = False,
        **options: Unpack[Shared],
    ):
        super().__init__(
            learning_rate,
            beta_1,
            beta_2,
            epsilon,
            lazy=lazy,
            weight_decay=weight_decay,
            **options,
        )


@_keywords.checked_init_with(Options)
class Adamax(_Moments):
    """Adamax: Adam with a decaying maximum as second moment (Kingma, Ba 2014, section 7).

    Args:
        learning_rate: a number, or a function of the step.
        beta_1: decay of the first moment, 0 … 1.
        beta_2: decay of the maximum, 0 … 1.
        epsilon: added to the maximum.
        options: as `SGD`.
    """

    _slots = (("adamax_m", 0.0), ("adamax_u", 0.0))
    _op = _ops.adamax_update


@_keywords.checked_init_with(Options)
class Nadam(_Moments):
    """Adam with Nesterov's momentum (Dozat 2016), whose share in step t is beta_1 (1 - 0.96^t / 2).

    Args:
        learning_rate: a number, or a function of the step.
        beta_1: decay of the first moment, 0 … 1.
        beta_2: decay of the second moment, 0 … 1.
        epsilon: added to the root of the second moment.
        options: as `SGD`.
    """

    _slots = (("nadam_m", 0.0), ("nadam_v", 0.0))
    _op = _ops.nadam_update


@_keywords.checked_init_with(Options)
class Lamb(_Moments):
    """LAMB (You et al. 2019): Adam's move, made as long as the weight itself, times the rate.

    Args:
        learning_rate: a number, or a function of the step.
        beta_1: decay of the first moment, 0 … 1.
        beta_2: decay of the second moment, 0 … 1.
        epsilon: added to the root of the second moment.
        options: as `SGD`.
    """

    _slots = (("lamb_m", 0.0), ("lamb_v", 0.0))
    _elementwise = False
    _op = _ops.lamb_update


@_keywords.checked_init_with(Options)
class Lion(Optimizer):
    """Lion (Chen et al. 2023): steps of one size, in the direction of a momentum's sign.

    Args:
        learning_rate: a number, or a function of the step; a third to a tenth of Adam's.
        beta_1: share of the momentum in the direction, 0 … 1.
        beta_2: share of the momentum that is kept, 0 … 1.
        options: as `SGD`.
    """

    _slots = (("lion_m", 0.0),)
    _elementwise = True

    def __init__(
        self,
        learning_rate: Rate = 0.001,
        beta_1: float = 0.9,
        beta_2: float = 0.99,
        **options: Unpack[Options],
    ):
        super().__init__(learning_rate, **options)
        self.beta_1 = check_share("Lion", "beta_1", beta_1)
        self.beta_2 = check_share("Lion", "beta_2", beta_2)

    def _rule(self) -> tuple[Any, dict[str, Any]]:
        return _ops.lion_update, {"beta1": self.beta_1, "beta2": self.beta_2}


@_keywords.checked_init_with(Options)
class Adagrad(Optimizer):
    """Adagrad (Duchi et al. 2011): a += g², w -= lr g / sqrt(a + epsilon).

    Args:
        learning_rate: a number, or a function of the step.
        initial_accumulator_value: what `a` starts from, at least 0.
        epsilon: added under the root.
        options: as `SGD`.
    """

    _elementwise = True

    def __init__(
        self,
        learning_rate: Rate = 0.001,
        initial_accumulator_value: float = 0.1,
        epsilon: float = 1e-7,
        **options: Unpack[Options],
    ):
        super().__init__(learning_rate, **options)
        start = check_not_negative(
            "Adagrad", "initial_accumulator_value", initial_accumulator_value
        )
        self.epsilon = check_not_negative("Adagrad", "epsilon", epsilon)
        self._slots = (("adagrad_accumulator", start),)

    def _rule(self) -> tuple[Any, dict[str, Any]]:
        return _ops.adagrad_update, {"epsilon": self.epsilon}


@_keywords.checked_init_with(Options)
class Adadelta(Optimizer):
    """Adadelta (Zeiler 2012): steps as large as the root of the average square of earlier steps.

    Args:
        learning_rate: a number, or a function of the step; 1.0 is the paper's.
        rho: share of both averages that is kept, 0 … 1.
        epsilon: added under the roots.
        options: as `SGD`.
    """

    _slots = (("adadelta_gradient", 0.0), ("adadelta_step", 0.0))
    _elementwise = True

    def __init__(
        self,
        learning_rate: Rate = 0.001,
        rho: float = 0.95,
        epsilon: float = 1e-7,
        **options: Unpack[Options],
    ):
        super().__init__(learning_rate, **options)
        self.rho = check_share("Adadelta", "rho", rho)
        self.epsilon = check_not_negative("Adadelta", "epsilon", epsilon)

    def _rule(self) -> tuple[Any, dict[str, Any]]:
        return _ops.adadelta_update, {"rho": self.rho, "epsilon": self.epsilon}


@_keywords.checked_init_with(Options)
class RMSprop(Optimizer):
    """RMSprop (Hinton 2012): v = rho v + (1 - rho) g², w -= lr g / sqrt(v + epsilon).

    Args:
        learning_rate: a number, or a function of the step.
        rho: share of the averages that is kept, 0 … 1.
        momentum: share of the last move that is kept, 0 … 1.
        epsilon: added under the root.
        centered: divide by the spread of the gradient: v less the square of its average.
        options: as `SGD`.
    """

    _elementwise = True

    def __init__(
        self,
        learning_rate: Rate = 0.001,
        rho: float = 0.9,
        momentum: float = 0.0,
        epsilon: float = 1e-7,
        centered: bool = False,
        **options: Unpack[Options],
    ):
        super().__init__(learning_rate, **options)
        self.rho = check_share("RMSprop", "rho", rho)
        self.momentum = check_share("RMSprop", "momentum", momentum)
        self.epsilon = check_not_negative("RMSprop", "epsilon", epsilon)
        self.centered = bool(centered)
        kinds = ["velocity"]
        if self.centered:
            kinds += ["average", "momentum"]
        elif self.momentum:
            kinds += ["momentum"]
        self._slots = tuple((f"rmsprop_{kind}", 0.0) for kind in kinds)

    def _rule(self) -> tuple[Any, dict[str, Any]]:
        attributes = {"rho": self.rho, "epsilon": self.epsilon}
        if len(self._slots) == 1:
            return _ops.rmsprop_update, attributes
        op = _ops.rmsprop_centered_update if self.centered else _ops.rmsprop_momentum_update
        return op, {**attributes, "momentum": self.momentum}


@_keywords.checked_init_with(Options)
class Ftrl(Optimizer):
    """FTRL-Proximal (McMahan et al. 2013): with `l1_regularization_strength` many weights are 0.

    The weight follows from sums of gradients, so what else writes it (its first value, weight
    decay, a constraint) lasts for one step. The rate must not be 0.

    Args:
        learning_rate: a number, or a function of the step.
        learning_rate_power: at most 0; -0.5 is the paper's rule, 0 a fixed rate.
        initial_accumulator_value: what the sum of squares starts from, at least 0.
        l1_regularization_strength: L1 penalty; weights that it outweighs are exactly 0.
        l2_regularization_strength: L2 penalty that stabilises, but is no part of the loss.
        l2_shrinkage_regularization_strength: L2 penalty as part of the loss.
        beta: added to the root of the sum of squares.
        lazy: leave rows (slices along the first axis) alone whose gradient is zero, as `Adam`. It
            changes nothing for tables that start from zeros, at a constant rate, without shrinkage.
        options: as `SGD`.
    """

    def __init__(
        self,
        learning_rate: Rate = 0.001,
        learning_rate_power: float = -0.5,
        initial_accumulator_value: float = 0.1,
        l1_regularization_strength: float = 0.0,
        l2_regularization_strength: float = 0.0,
        l2_shrinkage_regularization_strength: float = 0.0,
        beta: float = 0.0,
        *,
        lazy: bool = False,
        **options: Unpack[Options],
    ):
        super().__init__(learning_rate, **options)
        if not (_checks.is_number(learning_rate_power) and learning_rate_power <= 0):
            raise ValueError(
                at_line(
                    f"Ftrl: learning_rate_power {learning_rate_power!r} is not accepted; give a "
                    "number of at most 0"
                )
            )
        strengths = {
            "l1_regularization_strength": l1_regularization_strength,
            "l2_regularization_strength": l2_regularization_strength,
            "l2_shrinkage_regularization_strength": l2_shrinkage_regularization_strength,
            "beta": beta,
        }
        l1, l2, shrinkage, beta = (check_not_negative("Ftrl", k, v) for k, v in strengths.items())
        self._attributes = {
            "learning_rate_power": float(learning_rate_power),
            "l1": l1,
            "l2": l2,
            "l2_shrinkage": shrinkage,
            "beta": beta,
            "lazy": bool(lazy),
        }
        self._elementwise = not lazy
        start = check_not_negative("Ftrl", "initial_accumulator_value", initial_accumulator_value)
        self._slots = (("ftrl_accumulator", start), ("ftrl_linear", 0.0))

    def _rule(self) -> tuple[Any, dict[str, Any]]:
        return _ops.ftrl_update, self._attributes


@_keywords.checked_init_with(Options)
class Adafactor(Optimizer):
    """Adafactor (Shazeer, Stern 2018): the second moment of a matrix as means of rows and columns.

    A step is as long as the weight's root mean square times the rate, which is at most
    1 / sqrt(step). Its state is small: of a matrix [m, n] m + n numbers.

    Args:
        learning_rate: a number, or a function of the step.
        beta_2_decay: in step t the moments forget the share t ** beta_2_decay.
        epsilon_1: added to squares of gradients.
        epsilon_2: the least that the root mean square of a weight counts as.
        clip_threshold: limit of the root mean square of a move before the rate.
        relative_step: Keras's; the rate is at most 1 / sqrt(step) either way, as it is there.
        options: as `SGD`.
    """

    _slots = (("adafactor_r", 0.0), ("adafactor_c", 0.0))
    _takes_step = True

    def __init__(
        self,
        learning_rate: Rate = 0.001,
        beta_2_decay: float = -0.8,
        epsilon_1: float = 1e-30,
        epsilon_2: float = 1e-3,
        clip_threshold: float = 1.0,
        relative_step: bool = True,
        **options: Unpack[Options],
    ):
        super().__init__(learning_rate, **options)
        if not (_checks.is_number(beta_2_decay) and beta_2_decay <= 0):
            raise ValueError(
                at_line(
                    f"Adafactor: beta_2_decay {beta_2_decay!r} is not accepted; give a number of "
                    "at most 0"
                )
            )
        if not (_checks.is_number(clip_threshold) and clip_threshold > 0):
            raise ValueError(
                at_line(
                    f"Adafactor: clip_threshold {clip_threshold!r} is not accepted; give a "
                    "positive number"
                )
            )
        self.relative_step = bool(relative_step)
        self._attributes = {
            "beta2_decay": float(beta_2_decay),
            "epsilon1": check_not_negative("Adafactor", "epsilon_1", epsilon_1),
            "epsilon2": check_not_negative("Adafactor", "epsilon_2", epsilon_2),
            "clip_threshold": float(clip_threshold),
        }

    def _make_slots(self, variable: Any, parts: Any) -> list[Any]:
        shape = tuple(variable.shape)
        shapes = (shape[:-1], shape[:-2] + shape[-1:]) if len(shape) >= 2 else (shape, ())
        return [
            _native.Variable(
                np.zeros(of, variable.dtype.numpy()),
                name=f"{variable.name}/{kind}",
                trainable=False,
            )
            for of, (kind, _) in zip(shapes, self._slots, strict=True)
        ]

    def _rule(self) -> tuple[Any, dict[str, Any]]:
        return _ops.adafactor_update, self._attributes
