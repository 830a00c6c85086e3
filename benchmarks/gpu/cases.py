# SPDX-License-Identifier: Apache-2.0
"""What is timed on a GPU, beside whom: the programs of `bench` and their cases."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from benchmarks.gpu import kernels
from benchmarks.models import transformer

Group = tuple[str, tuple[str, ...]]  # a process: a framework and its modes, one after another
PEAK = 989e12  # dense bf16 and f16 FLOP/s of an H100 or H200 (SXM), as its maker says
TOLERANCE = {"float32": 2e-3, "mixed_bfloat16": 2e-2, "mixed_float16": 3e-2}  # of losses, relative
RESNET_FLOPS = 24.5e9  # an image, forward and backward


@dataclass(frozen=True)
class Case:
    """One workload at one batch size."""

    name: str  # of a Workload in benchmarks.models.gpu, or of a Kernel
    batch: int
    precision: str
    unit: str
    items: float  # of `unit` in a step
    groups: tuple[Group, ...]
    flops: float = 0.0  # of a step; 0: no share of the peak is said
    ours: str = "compile"
    target: float | None = None  # how many times as fast as the best peer we want to be
    of_copy: float | None = None  # which share of a copy's bandwidth
    model: str = ""  # its name in docs/gpu-status.md

    @property
    def label(self) -> str:
        """What the record calls it."""
        return f"{self.name} {self.precision} batch {self.batch}" if self.batch else self.name


QUICK: tuple[Group, ...] = (
    ("torch", ("eager", "graph")),
    ("torch", ("compile", "compile_graph")),
    ("jax", ("jit",)),
)
# Takes minutes, so it comes last, where there is time left.
SLOW: tuple[Group, ...] = (("torch", ("max_autotune", "max_autotune_graph")),)


def resnet50() -> list[Case]:
    """G1."""
    return [
        Case(
            *("resnet50", batch, "mixed_float16", "images/s", batch, QUICK + SLOW),
            flops=batch * RESNET_FLOPS,
            target=1.3,
            model="resnet50",
        )
        for batch in (128, 64, 256)
    ]


def _text(name: str, shape: transformer.Shape, batch: int, target: float) -> Case:
    tokens = batch * shape.time
    flops = tokens * shape.flops_per_token
    groups = QUICK + SLOW
    precision = "mixed_bfloat16"
    return Case(
        *(name, batch, precision, "tokens/s", tokens, groups, flops), target=target, model=name
    )


def gpt2() -> list[Case]:
    """G2."""
    return [_text("gpt2_124m", transformer.GPT2_124M, batch, 1.05) for batch in (16, 32)]


def bert() -> list[Case]:
    """G3: only where it is asked for."""
    return [_text("bert_large", transformer.BERT_LARGE, 32, 1.5)]


def mlp() -> list[Case]:
    """G4."""
    step = ("torch", ("compile_step", "compile_step_graph"))
    groups = (*QUICK, step)
    return [Case("mlp", 128, "float32", "steps/s", 1, groups, target=1.2, model="mlp")]


def recurrent_and_tables() -> list[Case]:
    """G5."""
    lstm = (("torch", ("eager", "graph")), ("jax", ("jit",)), ("torch", ("compile",)))
    tables = (
        ("torch", ("eager_sparse", "eager_dense", "graph_dense")),
        ("jax", ("jit_rows",)),
        ("torch", ("compile_dense", "compile_graph_dense")),
    )
    return [
        Case("lstm", 20, "float32", "steps/s", 1, lstm, target=1.5, model="lstm"),
        Case(
            *("wide_deep", 2048, "float32", "steps/s", 1, tables),
            ours="compile_merged",
            target=1.5,
            model="wide_deep",
        ),
    ]


def _kernel(kernel: kernels.Kernel, modes: tuple[str, ...]) -> Case:
    groups = (("torch", modes),)
    flops = kernel.flops
    unit, items = ("TFLOP/s", flops / 1e12) if flops else ("GB/s", kernel.bytes / 1e9)
    copy, target = (0.85, None) if kernel.passes else (None, 1.0)
    return Case(kernel.name, 0, "bfloat16", unit, items, groups, flops, "compile", target, copy)


def fused() -> list[Case]:
    """G6: the yardstick is a copy of as many bytes."""
    modes = (kernels.COPY, "eager", "compile")
    return [_kernel(k, modes) for k in kernels.MEMORY_BOUND]


def direct() -> list[Case]:
    """G7: the yardstick is the library, called directly."""
    attention = [_kernel(k, ("eager", "flash", "cudnn")) for k in kernels.ATTENTION]
    products = [
        _kernel(k, ("eager", "epilogue") if "gelu" in k.name else ("eager",))
        for k in kernels.PRODUCTS
    ]
    return attention + products


def bottleneck() -> list[Case]:
    """Two bottleneck blocks at 56 x 56: whether fused normalisation can pay."""
    batch = 128
    name, precision = "bottleneck", "mixed_float16"
    return [Case(name, batch, precision, "images/s", batch, QUICK, target=1.3)]


PROGRAMS: dict[str, Callable[[], list[Case]]] = {
    "block": bottleneck,
    "g4": mlp,
    "g2": gpt2,
    "g1": resnet50,
    "g6": fused,
    "g5": recurrent_and_tables,
    "g7": direct,
    "g3": bert,
}
KEPT = frozenset({"g6", "g7"})  # small: processes serve all cases of the program


def tiny(case: Case, peers: str) -> Case:
    """For a test: a small network; on a CPU without the modes that need a GPU."""
    groups = case.groups
    if peers == "cpu":
        only = {"eager", "eager_dense", "jit", "jit_rows", kernels.COPY}
        found = ((f, tuple(m for m in modes if m in only)) for f, modes in groups)
        groups = tuple((f, modes) for f, modes in found if modes)
    batch = min(case.batch, 4)
    is_counted = case.batch and case.unit != "steps/s"
    items = case.items * batch / case.batch if is_counted else case.items
    return replace(case, batch=batch, items=items, groups=groups)
