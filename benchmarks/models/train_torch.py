# SPDX-License-Identifier: Apache-2.0
"""Training steps in PyTorch, in the modes that its users would try.

eager          modules, fused Adam
compile        forward and backward through Inductor, fused Adam
compile_step   the whole step, Adam included, as one Inductor graph over plain tensors
*_channels_last  the same with NHWC memory, for convolutions
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from benchmarks import machine
from benchmarks.models import data

Forward = Callable[[list[Any], Any], Any]


def setup() -> None:
    """Threads, and no slow arithmetic on numbers close to zero."""
    torch.set_num_threads(machine.THREADS)
    torch.set_flush_denormal(True)


class TrainJob:
    """Runs `forward(parameters, x)` with softmax cross-entropy and Adam."""

    stride = 1
    check_steps = data.POOL

    def __init__(
        self, forward: Forward, parameters: list[Any], x: list[Any], y: np.ndarray, mode: str
    ):
        self._batches = list(zip(x, torch.from_numpy(y.astype(np.int64)).unbind(), strict=True))
        self._at = 0
        parameters = [p.clone() for p in parameters]
        kind = mode.removesuffix("_channels_last")
        if kind == "compile_step":
            self._step = _functional_step(forward, parameters)
        elif kind in ("eager", "compile"):
            self._step = _module_step(forward, parameters, kind == "compile")
        else:
            raise ValueError(f"torch: mode '{mode}' is not known")

    def advance(self, steps: int) -> float:
        step, batches = self._step, self._batches
        loss: Any = None
        for i in range(self._at, self._at + steps):
            loss = step(*batches[i % len(batches)])
        self._at += steps
        return float(loss)


def _module_step(forward: Forward, parameters: list[Any], compiled: bool) -> Callable[..., Any]:
    for p in parameters:
        p.requires_grad_(True)
    betas = (data.BETA_1, data.BETA_2)
    adam = torch.optim.Adam(
        parameters, lr=data.LEARNING_RATE, betas=betas, eps=data.EPSILON, fused=True
    )

    def loss_of(x: Any, y: Any) -> Any:
        return F.cross_entropy(forward(parameters, x), y)

    if compiled:
        loss_of = torch.compile(loss_of, fullgraph=True)

    def step(x: Any, y: Any) -> Any:
        loss = loss_of(x, y)
        loss.backward()
        adam.step()
        adam.zero_grad(set_to_none=True)
        return loss.detach()

    return step


def _functional_step(forward: Forward, parameters: list[Any]) -> Callable[..., Any]:
    first = [torch.zeros_like(p) for p in parameters]
    second = [torch.zeros_like(p) for p in parameters]
    count = torch.zeros(())

    def loss_of(weights: list[Any], x: Any, y: Any) -> Any:
        return F.cross_entropy(forward(weights, x), y)

    @torch.compile(fullgraph=True)
    def update(weights: list[Any], m: list[Any], v: list[Any], t: Any, x: Any, y: Any) -> Any:
        grads, loss = torch.func.grad_and_value(loss_of)(weights, x, y)
        t.add_(1)
        scale_1 = -data.LEARNING_RATE / torch.expm1(t * data.LOG_BETA_1)
        scale_2 = -1 / torch.expm1(t * data.LOG_BETA_2)
        for i in range(len(weights)):
            m[i].mul_(data.BETA_1).add_(grads[i], alpha=1 - data.BETA_1)
            v[i].mul_(data.BETA_2).addcmul_(grads[i], grads[i], value=1 - data.BETA_2)
            weights[i].sub_(m[i] * scale_1 / ((v[i] * scale_2).sqrt() + data.EPSILON))
        return loss

    def step(x: Any, y: Any) -> Any:
        with torch.no_grad():
            return update(parameters, first, second, count, x, y)

    return step
