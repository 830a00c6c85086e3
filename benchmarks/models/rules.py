# SPDX-License-Identifier: Apache-2.0
"""The optimizers of the workloads: as formulas for any framework, as PyTorch's and as Ostria's.

`update` works on one weight with the functions of `m` (torch, jax.numpy or tensorflow.math).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from benchmarks.models import data


@dataclass(frozen=True)
class Momentum:
    """SGD with momentum; with 0 there is no velocity."""

    rate: float
    momentum: float = 0.0

    @property
    def slots(self) -> tuple[float, ...]:
        """First values of the state of one weight."""
        return (0.0,) if self.momentum else ()

    def scalars(self, m: Any, t: Any) -> tuple[Any, ...]:
        """What all weights share at step `t` (from 1)."""
        return ()

    def update(self, m: Any, w: Any, g: Any, slots: Any, scalars: Any) -> tuple[Any, Any]:
        """(new weight, new slots)."""
        if not self.momentum:
            return w - self.rate * g, ()
        v = self.momentum * slots[0] - self.rate * g
        return w + v, (v,)

    def torch(self, parameters: Any, sparse: bool = False) -> Any:
        """PyTorch's optimizer; the fused one takes no sparse gradients."""
        import torch

        rates = {"lr": self.rate, "momentum": self.momentum}
        return torch.optim.SGD(parameters, **rates, fused=not sparse)

    def ostria(self) -> Any:
        """Ostria's optimizer."""
        import ostria as ost

        return ost.optim.SGD(self.rate, self.momentum)


@dataclass(frozen=True)
class AdamW:
    """Adam, with decoupled weight decay."""

    rate: float
    decay: float = 0.0
    slots = (0.0, 0.0)

    def scalars(self, m: Any, t: Any) -> tuple[Any, ...]:
        """Rate over bias correction of the first moment, bias correction of the second."""
        return -self.rate / m.expm1(t * data.LOG_BETA_1), -1 / m.expm1(t * data.LOG_BETA_2)

    def update(self, m: Any, w: Any, g: Any, slots: Any, scalars: Any) -> tuple[Any, Any]:
        """(new weight, new slots)."""
        first = data.BETA_1 * slots[0] + (1 - data.BETA_1) * g
        second = data.BETA_2 * slots[1] + (1 - data.BETA_2) * g * g
        if self.decay:
            w = w * (1 - self.rate * self.decay)
        root = m.sqrt(second * scalars[1]) + data.EPSILON
        return w - first * scalars[0] / root, (first, second)

    def torch(self, parameters: Any, sharded: bool = False) -> Any:
        """PyTorch's optimizer; `sharded`: ranks share out its state."""
        import torch

        parameters = list(parameters)
        options = {
            "lr": self.rate,
            "betas": (data.BETA_1, data.BETA_2),
            "eps": data.EPSILON,
            "weight_decay": self.decay,
            "fused": True,
            "capturable": parameters[0].is_cuda,
        }
        if not sharded:
            return torch.optim.AdamW(parameters, **options)
        from torch.distributed.optim import ZeroRedundancyOptimizer

        return ZeroRedundancyOptimizer(parameters, torch.optim.AdamW, **options)

    def ostria(self) -> Any:
        """Ostria's optimizer."""
        import ostria as ost

        betas = (data.BETA_1, data.BETA_2)
        return ost.optim.AdamW(self.rate, self.decay, *betas, epsilon=data.EPSILON)


@dataclass(frozen=True)
class Adagrad:
    """Adagrad from an accumulator that makes the epsilon immaterial."""

    rate: float
    slots = (0.1,)

    def scalars(self, m: Any, t: Any) -> tuple[Any, ...]:
        """None."""
        return ()

    def update(self, m: Any, w: Any, g: Any, slots: Any, scalars: Any) -> tuple[Any, Any]:
        """(new weight, new slots)."""
        a = slots[0] + g * g
        return w - self.rate * g / m.sqrt(a), (a,)

    def torch(self, parameters: Any, sparse: bool = False) -> Any:
        """PyTorch's optimizer; the fused one takes no sparse gradients."""
        import torch

        parameters = list(parameters)
        options = {"initial_accumulator_value": self.slots[0], "eps": data.EPSILON}
        if not sparse:  # there is no fused one for a GPU
            options["foreach" if parameters[0].is_cuda else "fused"] = True
        return torch.optim.Adagrad(parameters, lr=self.rate, **options)

    def ostria(self) -> Any:
        """Ostria's optimizer."""
        import ostria as ost

        return ost.optim.Adagrad(self.rate, self.slots[0], epsilon=data.EPSILON)


ADAM = AdamW(data.LEARNING_RATE)
