# SPDX-License-Identifier: Apache-2.0
"""Training steps in PyTorch, in the modes that its users would try.

eager          modules, fused optimizer
compile        forward and backward through Inductor, fused optimizer
compile_step   the whole step, optimizer included, as one Inductor graph over plain tensors
*_channels_last  the same with NHWC memory, for convolutions
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from benchmarks import machine
from benchmarks.models import data, job, rules

Forward = Callable[[list[Any], Any], Any]


def setup() -> None:
    """Threads, and no slow arithmetic on numbers close to zero."""
    torch.set_num_threads(machine.THREADS)
    torch.set_flush_denormal(True)


class TrainModule(torch.nn.Module):
    """A module whose `forward(*batch)` is the loss, made of a function of a list of weights."""

    def __init__(self, loss_of: Callable[..., Any], parameters: list[Any]):
        super().__init__()
        self._loss_of = loss_of
        self.weights = torch.nn.ParameterList([p.clone() for p in parameters])

    def forward(self, *batch: Any) -> Any:
        return self._loss_of(list(self.weights), *batch)


def classify(
    forward: Forward, parameters: list[Any], x: list[Any], y: np.ndarray, mode: str
) -> job.StepJob:
    """Trains `forward(parameters, x)` with softmax cross-entropy and Adam."""

    def loss_of(weights: list[Any], x: Any, y: Any) -> Any:
        return F.cross_entropy(forward(weights, x), y)

    batches = list(zip(x, labels(y), strict=True))
    return train(TrainModule(loss_of, parameters), batches, mode, rules.ADAM)


def labels(y: np.ndarray) -> tuple[Any, ...]:
    """Integer labels [pool, ...] as PyTorch wants them."""
    return torch.from_numpy(y.astype(np.int64)).unbind()


def train(
    module: torch.nn.Module,
    batches: list[tuple[Any, ...]],
    mode: str,
    rule: Any,
    check_steps: int = data.POOL,
) -> job.StepJob:
    """Trains a module whose `forward(*batch)` is the loss."""
    kind = mode.removesuffix("_channels_last")
    if kind == "compile_step":
        step = _functional_step(module, rule)
    elif kind in ("eager", "compile"):
        step = _module_step(module, rule, kind == "compile")
    else:
        raise ValueError(f"torch: mode '{mode}' is not known")
    return job.StepJob(step, batches, check_steps)


def _module_step(module: torch.nn.Module, rule: Any, compiled: bool) -> Callable[..., Any]:
    optimizer = rule.torch(module.parameters())
    loss_of = torch.compile(module, fullgraph=True) if compiled else module

    def step(*batch: Any) -> Any:
        loss = loss_of(*batch)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        return loss.detach()

    return step


def _functional_step(module: torch.nn.Module, rule: Any) -> Callable[..., Any]:
    weights = {name: p.detach() for name, p in module.named_parameters()}
    slots = {n: [torch.full_like(w, s) for s in rule.slots] for n, w in weights.items()}
    count = torch.zeros(())

    def loss_of(weights: Any, batch: Any) -> Any:
        return torch.func.functional_call(module, weights, batch)

    @torch.compile(fullgraph=True)
    def update(weights: Any, slots: Any, t: Any, *batch: Any) -> Any:
        grads, loss = torch.func.grad_and_value(loss_of)(weights, batch)
        t.add_(1)
        scalars = rule.scalars(torch, t)
        for name, w in weights.items():
            value, new = rule.update(torch, w, grads[name], slots[name], scalars)
            w.copy_(value)
            for slot, s in zip(slots[name], new, strict=True):
                slot.copy_(s)
        return loss

    def step(*batch: Any) -> Any:
        with torch.no_grad():
            return update(weights, slots, count, *batch)

    return step
