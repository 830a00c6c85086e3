# SPDX-License-Identifier: Apache-2.0
"""Training steps in PyTorch, in the modes that its users would try.

eager          modules, fused optimizer
compile        forward and backward through Inductor, fused optimizer
max_autotune   the same with mode="max-autotune"
compile_step   the whole step, optimizer included, as one Inductor graph over plain tensors
*_graph        on a GPU: that step, optimizer included, captured once as a CUDA graph and replayed
*_channels_last  the same with NHWC memory, for convolutions
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from benchmarks import machine
from benchmarks.models import data, job, rules, target

Forward = Callable[[list[Any], Any], Any]
GRAPH = "_graph"
WARM_UP = 3  # steps before a capture: libraries choose, states of optimizers appear


def setup() -> None:
    """Threads, no slow arithmetic on numbers close to zero; on a GPU float32 that is float32."""
    torch.set_flush_denormal(True)
    if target.current.device == "cpu":
        torch.set_num_threads(machine.THREADS)
        return
    torch.backends.cudnn.benchmark = True
    torch.backends.cudnn.allow_tf32 = False
    torch.backends.cuda.matmul.allow_tf32 = False
    torch._dynamo.config.automatic_dynamic_shapes = False
    torch.backends.cuda.enable_flash_sdp(False)  # cuDNN's attention is faster on a Hopper GPU


class TrainModule(torch.nn.Module):
    """A module whose `forward(*batch)` is the loss, made of a function of a list of weights."""

    def __init__(self, loss_of: Callable[..., Any], parameters: list[Any]):
        super().__init__()
        self._loss_of = loss_of
        self.weights = torch.nn.ParameterList([p.clone() for p in parameters])

    def forward(self, *batch: Any) -> Any:
        return self._loss_of(list(self.weights), *batch)


class Mixed(torch.nn.Module):
    """A module under autocast."""

    def __init__(self, module: torch.nn.Module, device: str, precision: str):
        super().__init__()
        self.module, self._device = module, device
        self._dtype = getattr(torch, precision.removeprefix("mixed_"))

    def forward(self, *batch: Any) -> Any:
        # Without the cache, which a capture of the step must not use.
        with torch.autocast(self._device, self._dtype, cache_enabled=False):
            return self.module(*batch)


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


def there(batches: list[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    """Batches where the target is; images keep their memory format."""
    return [tuple(t.to(target.current.device) for t in batch) for batch in batches]


def train(
    module: torch.nn.Module,
    batches: list[tuple[Any, ...]],
    mode: str,
    rule: Any,
    check_steps: int = data.POOL,
) -> job.StepJob:
    """Trains a module whose `forward(*batch)` is the loss."""
    kind, captured = how(mode)
    module = module.to(target.current.device)
    if target.current.is_mixed:
        module = Mixed(module, target.current.device, target.current.precision)
    if kind not in ("eager", "compile", "compile_step") and not kind.startswith("max_autotune"):
        raise ValueError(f"torch: mode '{mode}' is not known")
    made_of = FunctionalStep if kind == "compile_step" else ModuleStep
    made = TorchJob(made_of(module, rule, kind), there(batches), check_steps)
    return made.captured() if captured else made


def how(mode: str) -> tuple[str, bool]:
    """(how the step is made, whether it is captured) of a mode."""
    kind = mode.removesuffix("_channels_last")
    if kind == GRAPH[1:]:
        return "eager", True
    if kind == "max_autotune_graph":  # not around graphs of its own
        return "max_autotune_no_cudagraphs", True
    return kind.removesuffix(GRAPH), kind.endswith(GRAPH)


class TorchJob(job.StepJob):
    """Steps on batches in turn; `captured` gives the job of the same step as a CUDA graph."""

    def captured(self) -> TorchJob:
        """The step as one graph, from the first weights on."""
        graph = Captured(self.step, self._batches[0])
        self.step.rewind()
        return TorchJob(graph, self._batches, self.check_steps, self._read)


class Captured:
    """A step that was captured: batches are copied to where it reads them."""

    def __init__(self, step: Any, example: tuple[Any, ...]):
        self._inputs = tuple(t.clone() for t in example)
        side = torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            for _ in range(WARM_UP):
                step(*self._inputs)
        torch.cuda.current_stream().wait_stream(side)
        torch.cuda.empty_cache()
        self._graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self._graph):
            self._loss = step(*self._inputs)

    def __call__(self, *batch: Any) -> Any:
        for place, given in zip(self._inputs, batch, strict=True):
            place.copy_(given)
        self._graph.replay()
        return self._loss


class ModuleStep:
    """Forward, backward and the optimizer of a module; in float16 with a loss scale."""

    def __init__(self, module: torch.nn.Module, rule: Any, kind: str):
        where = target.current
        self._rule, self._module = rule, module
        self._first = [t.clone() for t in module.state_dict().values()]
        self._optimizer = rule.torch(module.parameters())
        is_tuned = kind.startswith("max_autotune")
        options: dict[str, Any] = {"mode": kind.replace("_", "-")} if is_tuned else {}
        self._compiled_graphs = kind == "max_autotune"
        self._loss_of = module
        if kind != "eager":
            self._loss_of = torch.compile(module, fullgraph=True, dynamic=False, **options)
        self._scaler = None
        if where.precision == "mixed_float16":
            self._scaler = torch.amp.GradScaler(where.device, init_scale=target.LOSS_SCALE)

    def __call__(self, *batch: Any) -> Any:
        if self._compiled_graphs:
            torch.compiler.cudagraph_mark_step_begin()
        loss = self._loss_of(*batch)
        if self._scaler is None:
            loss.backward()
            self._optimizer.step()
        else:
            self._scaler.scale(loss).backward()
            self._scaler.step(self._optimizer)
            self._scaler.update()
        self._optimizer.zero_grad(set_to_none=True)
        return loss.detach()

    @torch.no_grad()
    def rewind(self) -> None:
        """Weights, state of the optimizer and the loss scale as they were at first, in place."""
        for t, first in zip(self._module.state_dict().values(), self._first, strict=True):
            t.copy_(first)
        for state in self._optimizer.state.values():
            for name, value in state.items():
                if isinstance(value, torch.Tensor):
                    value.fill_(self._rule.slots[0] if name == "sum" else 0)
        if self._scaler is not None:
            self._scaler._scale.fill_(target.LOSS_SCALE)
            self._scaler._growth_tracker.zero_()


class FunctionalStep:
    """One compiled function of weights and slots."""

    def __init__(self, module: torch.nn.Module, rule: Any, kind: str):
        self._weights = {name: p.detach() for name, p in module.named_parameters()}
        self._slots = {n: [torch.full_like(w, s) for s in rule.slots] for n, w in self._of()}
        self._count = torch.zeros((), device=next(iter(self._weights.values())).device)
        self._first = [w.clone() for _, w in self._of()]
        self._rule = rule

        def loss_of(weights: Any, batch: Any) -> Any:
            return torch.func.functional_call(module, weights, batch)

        @torch.compile(fullgraph=True, dynamic=False)
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

        self._update = update

    def _of(self) -> Any:
        return self._weights.items()

    def __call__(self, *batch: Any) -> Any:
        with torch.no_grad():
            return self._update(self._weights, self._slots, self._count, *batch)

    def rewind(self) -> None:
        """Weights and slots as they were at first, in place."""
        for (name, w), first in zip(self._of(), self._first, strict=True):
            w.copy_(first)
            for slot, s in zip(self._slots[name], self._rule.slots, strict=True):
                slot.fill_(s)
        self._count.zero_()
