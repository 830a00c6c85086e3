# SPDX-License-Identifier: Apache-2.0
"""Single groups and library calls on a GPU: how each is written for Ostria and for PyTorch.

Tensors lie on the device before and after. Ours are timed by the nodes of their plan, since a call
also copies arguments and results, which a step of many groups does not; every node of ours pays for
two events (`empty_node`). PyTorch's are captured and replayed, which costs them nothing between.
What a kernel must move counts a forward and a backward pass as two: each reads its own operands.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from benchmarks.models import data, job, target, transformer

COPY = "copy"  # the mode that copies as many bytes as the kernel must move
ROWS = 64  # of a result that are compared
REPEATS = 10  # in a captured graph of PyTorch's
Array = tuple[tuple[int, ...], str]  # shape and dtype


@dataclass(frozen=True)
class Kernel:
    """One of them: arguments, and what gives the results in each framework.

    The last `grads` of the arguments are cotangents of the first results; then gradients by all
    floating arguments before them follow.
    """

    name: str
    arrays: tuple[Array, ...]
    passes: float = 0  # over the first argument, in bytes moved
    flops: float = 0
    backward: bool = False
    random: bool = False  # results are drawn, so there is nothing to compare

    @property
    def bytes(self) -> float:
        """That must be moved."""
        shape, dtype = self.arrays[0]
        return self.passes * math.prod(shape) * (4 if dtype == "float32" else 2)


BF16 = "bfloat16"
WIDE = (65536, 1024)
ROW: Array = ((1024,), BF16)
BIG: Array = (WIDE, BF16)
LOGITS: Array = ((8192, 50304), BF16)
LABELS: Array = ((8192,), "int64")
ADAM = "adam_124m"

MEMORY_BOUND = [
    Kernel("softmax", (BIG,), 2),
    Kernel("bias_gelu", (BIG, ROW), 2),
    Kernel("bias_gelu_grad", (BIG, ROW, BIG), 5, backward=True),
    Kernel("layer_norm", (BIG, ROW, ROW), 2),
    Kernel("layer_norm_grad", (BIG, ROW, ROW, BIG), 5, backward=True),
    Kernel("rms_norm_grad", (BIG, ROW, BIG), 5, backward=True),
    Kernel("dropout_add_layer_norm", (BIG, BIG, ROW, ROW), 4, random=True),
    Kernel("cross_entropy_grad", (LOGITS, LABELS), 2, backward=True),
    Kernel(ADAM, (((124_475_904,), "float32"),), 7),
]


def _attention(size: int, time: int) -> Kernel:
    heads, batch = 1024 // size, 16384 // time
    array: Array = ((batch, time, heads, size), BF16)
    flops = 3.5 * 4 * batch * heads * time * time * size / 2  # causal: half of the pairs
    return Kernel(f"attention_d{size}_s{time}", (array,) * 4, flops=flops, backward=True)


def _product(m: int, n: int, k: int, epilogue: str) -> Kernel:
    arrays: tuple[Array, ...] = (((m, k), BF16), ((k, n), BF16), ((n,), BF16))
    return Kernel(f"matmul_{epilogue}_{m}x{n}x{k}", arrays, flops=2.0 * m * n * k)


ATTENTION = [_attention(d, s) for d in (64, 128) for s in (512, 1024, 4096, 16384)]
PRODUCTS = [
    _product(m, n, k, epilogue)
    for m, n, k in ((16384, 3072, 768), (16384, 768, 3072), (8192, 8192, 8192), (512, 1024, 1024))
    for epilogue in ("bias", "gelu")
]
_ALL = {k.name: k for k in [*MEMORY_BOUND, *ATTENTION, *PRODUCTS]}
NAMES = frozenset(_ALL)


def tiny(kernel: Kernel) -> Kernel:
    """The same with sizes for a stand-in of a GPU; of attention the head stays as it is."""

    def small(shape: tuple[int, ...]) -> tuple[int, ...]:
        if kernel.name.startswith("attention"):
            return (1, 16, 2, shape[3])
        return tuple(16 if n < 8192 or len(shape) == 1 or i else 24 for i, n in enumerate(shape))

    arrays = tuple((small(shape), dtype) for shape, dtype in kernel.arrays)
    if kernel.name == "cross_entropy_grad":
        arrays = (((24, 16), BF16), ((24,), "int64"))
    return Kernel(kernel.name, arrays, kernel.passes, kernel.flops, kernel.backward, kernel.random)


def make(name: str, framework: str, mode: str, batch: int, is_tiny: bool) -> Any:
    """A worker's job."""
    kernel = tiny(_ALL[name]) if is_tiny else _ALL[name]
    if framework == "ostria":
        return _adam(is_tiny) if name == ADAM else Ours(kernel)
    return Theirs(kernel, mode, is_tiny)


def inputs(kernel: Kernel) -> list[np.ndarray]:
    """Random numbers, the same for everybody; long arrays repeat themselves."""
    rng = np.random.default_rng(data.SEED)
    base = rng.standard_normal(1 << 22, dtype=np.float32)
    labels = kernel.arrays[0][0][-1]
    arrays = []
    for i, (shape, dtype) in enumerate(kernel.arrays):
        if dtype == "int64":
            arrays.append(rng.integers(0, labels, shape))
        else:
            arrays.append(np.resize(base[1000 * i :], shape))
    return arrays


def _named(names: tuple[str, ...], functions: tuple[Callable[..., Any], ...], name: str) -> Any:
    return next(f for n, f in zip(names, functions, strict=True) if name.startswith(n))


KINDS = (
    *("softmax", "bias_gelu", "layer_norm", "rms_norm", "dropout_add_layer_norm"),
    *("cross_entropy", "attention", "matmul_bias", "matmul_gelu"),
)


def _ostria(name: str) -> Any:
    import ostria as ost

    def dropped(x: Any, r: Any, g: Any, b: Any) -> Any:
        h = r + ost.random.dropout(x, 0.1)
        return h, ost.layer_norm(h, g, b)[0]

    def cross_entropy(logits: Any, labels: Any) -> Any:
        each = ost.losses.sparse_categorical_crossentropy(labels, logits, from_logits=True)
        return ost.mean(each)

    functions: tuple[Callable[..., Any], ...] = (
        ost.softmax,
        lambda x, b: ost.gelu(x + b, approximate=True),
        lambda x, g, b: ost.layer_norm(x, g, b)[0],
        lambda x, g: ost.rms_norm(x, g)[0],
        dropped,
        cross_entropy,
        lambda q, k, v: ost.attention(q, k, v, causal=True),
        lambda x, w, b: ost.matmul(x, w) + b,
        lambda x, w, b: ost.gelu(ost.matmul(x, w) + b, approximate=True),
    )
    return _named(KINDS, functions, name)


class Ours:
    """A compiled function; timed by its nodes."""

    check_steps = 1

    def __init__(self, kernel: Kernel):
        import ostria as ost

        self._kernel = kernel
        forward = _ostria(kernel.name)
        has_cotangent = kernel.backward and not kernel.name.startswith("cross")
        count = len(kernel.arrays) - has_cotangent

        def run(*args: Any) -> Any:
            y = forward(*args[:count])
            if not kernel.backward:
                return y
            wrt = [a for a in args[:count] if a.dtype.kind == "float"]
            seeds = [args[-1]] if has_cotangent else None
            return [y, *ost.gradients(y, wrt, seeds)]

        self.step = ost.compile(run, device=target.current.device, name=kernel.name)
        self._args = []
        for array, (_, dtype) in zip(inputs(kernel), kernel.arrays, strict=True):
            there = ost.to_device(ost.asarray(array), target.current.device)
            self._args.append(there if dtype == "int64" else ost.cast(there, dtype))

    def example(self) -> tuple[Any, ...]:
        """The arguments."""
        return tuple(self._args)

    def advance(self, steps: int) -> float:
        """Runs, and gives the size of what comes out."""
        import ostria as ost

        results = self.step(*self._args)
        if self._kernel.random:
            ost.synchronize(target.current.device)
            return 0.0
        results = list(results) if isinstance(results, (list, tuple)) else [results]
        some = [r[:ROWS] if r.shape else r for r in results]
        return _size([ost.cast(r, "float32").numpy() for r in some])

    def timed(self, steps: int) -> float:
        """Seconds of `steps` runs of all nodes."""
        rows = self.step.profile(*self._args, runs=steps)
        return steps * sum(row["ns"] for row in rows) / 1e9


def empty_node_us() -> float:
    """What a node of ours that does next to nothing takes between its events."""
    import ostria as ost

    device = target.current.device
    step = ost.compile(lambda x: x + 1.0, device=device, name="empty")
    x = ost.to_device(ost.asarray(np.zeros(8, np.float32)), device)
    return float(sum(row["ns"] for row in step.profile(x, runs=50)) / 1e3)


def _size(arrays: list[np.ndarray]) -> float:
    return sum(job.sample(a) for a in arrays)


class _AdamJob(job.StepJob):
    def timed(self, steps: int) -> float:
        """Seconds of `steps` runs of all nodes."""
        rows = self.step.profile(*self.example(), runs=steps)
        return steps * sum(row["ns"] for row in rows) / 1e9


def _adam_shapes(is_tiny: bool) -> list[tuple[int, ...]]:
    shape = transformer.GPT2_124M
    arrays = transformer.weights(transformer.tiny(shape)) if is_tiny else None
    if arrays is not None:
        return [a.shape for a in arrays]
    w = shape.width
    block: list[tuple[int, ...]] = [(w,), (w,), (w, 3 * w), (3 * w,), (w, w), (w,), (w,), (w,)]
    block += [(w, 4 * w), (4 * w,), (4 * w, w), (w,)]
    return [(shape.vocabulary, w), (shape.time, w), *(block * shape.layers), (w,), (w,)]


def _adam(is_tiny: bool) -> Any:
    """The update of all weights of GPT-2 124M; gradients are variables that nobody writes."""
    import ostria as ost

    shapes = _adam_shapes(is_tiny)
    base = np.random.default_rng(data.SEED).standard_normal(1 << 20, dtype=np.float32)
    weights = [ost.Variable(np.resize(base, s), name=f"w{i}") for i, s in enumerate(shapes)]
    grads = [ost.Variable(np.resize(base[7:], s), name=f"g{i}") for i, s in enumerate(shapes)]
    optimizer = ost.optim.AdamW(1e-3)

    def update(x: Any) -> Any:
        optimizer.apply([g.value() for g in grads], weights)
        return x + 1.0

    step = ost.compile(update, device=target.current.device, name=ADAM)
    there = ost.to_device(ost.asarray(np.zeros((), np.float32)), target.current.device)
    made = _AdamJob(step, [(there,)], 1, lambda x: 0.0 * float(x.item()))
    return made


# --- PyTorch --------------------------------------------------------------------------------------


def _torch(name: str, mode: str) -> Any:
    import torch
    import torch.nn.functional as F
    from torch.nn.attention import SDPBackend, sdpa_kernel

    backends = {"flash": SDPBackend.FLASH_ATTENTION, "cudnn": SDPBackend.CUDNN_ATTENTION}

    def attention(q: Any, k: Any, v: Any) -> Any:
        q, k, v = (t.transpose(1, 2) for t in (q, k, v))
        if mode not in backends:
            return F.scaled_dot_product_attention(q, k, v, is_causal=True).transpose(1, 2)
        with sdpa_kernel(backends[mode]):
            return F.scaled_dot_product_attention(q, k, v, is_causal=True).transpose(1, 2)

    def dropped(x: Any, r: Any, g: Any, b: Any) -> Any:
        h = r + F.dropout(x, 0.1)
        return h, F.layer_norm(h, g.shape, g, b, 1e-3)

    def gelu_product(x: Any, w: Any, b: Any) -> Any:
        if mode == "epilogue":
            return torch._addmm_activation(b, x, w, use_gelu=True)
        return F.gelu(torch.addmm(b, x, w), approximate="tanh")

    functions: tuple[Callable[..., Any], ...] = (
        lambda x: F.softmax(x, -1),
        lambda x, b: F.gelu(x + b, approximate="tanh"),
        lambda x, g, b: F.layer_norm(x, g.shape, g, b, 1e-3),
        lambda x, g: F.rms_norm(x, g.shape, g, 1e-6),
        dropped,
        lambda logits, labels: F.cross_entropy(logits.float(), labels),
        attention,
        lambda x, w, b: torch.addmm(b, x, w),
        gelu_product,
    )
    forward = _named(KINDS, functions, name)
    return torch.compile(forward, dynamic=False) if mode == "compile" else forward


class Theirs:
    """PyTorch's, or a copy; timed between events."""

    check_steps = 1

    def __init__(self, kernel: Kernel, mode: str, is_tiny: bool):
        import torch

        from benchmarks.models import train_torch

        train_torch.setup()
        self._torch, self._kernel = torch, kernel
        device = target.current.device
        if mode == COPY:
            source = torch.randn(int(kernel.bytes / 8), device=device)
            there = torch.empty_like(source)
            self.step: Any = lambda: there.copy_(source)
        elif kernel.name == ADAM:
            self.step = self._adam(is_tiny, mode)
        else:
            self.step = self._function(mode)
        self._compare = mode != COPY and kernel.name != ADAM and not kernel.random
        self._graph: Any = None
        self.how = "calls"

    def _function(self, mode: str) -> Any:
        torch, kernel = self._torch, self._kernel
        has_cotangent = kernel.backward and not kernel.name.startswith("cross")
        args = []
        for i, (array, (_, dtype)) in enumerate(zip(inputs(kernel), kernel.arrays, strict=True)):
            there = torch.from_numpy(array).to(target.current.device, getattr(torch, dtype))
            is_seed = has_cotangent and i == len(kernel.arrays) - 1
            args.append(there.requires_grad_(kernel.backward and dtype != "int64" and not is_seed))
        forward = _torch(kernel.name, mode)
        if not kernel.backward:
            return lambda: forward(*args)
        seed = args.pop() if has_cotangent else None
        wrt = [a for a in args if a.requires_grad]

        def both() -> Any:
            y = forward(*args)
            return [y.detach(), *torch.autograd.grad(y, wrt, seed)]

        return both

    def _adam(self, is_tiny: bool, mode: str) -> Any:
        torch = self._torch
        device = target.current.device
        weights = [torch.randn(s, device=device) for s in _adam_shapes(is_tiny)]
        for w in weights:
            w.grad = torch.randn_like(w)
        optimizer = torch.optim.AdamW(weights, 1e-3, fused=True, capturable=device != "cpu")
        return torch.compile(optimizer.step) if mode == "compile" else optimizer.step

    def advance(self, steps: int) -> float:
        """Runs, and gives the size of what comes out."""
        results = self.step()
        if self._graph is None and target.current.device != "cpu":
            self._capture()
        if not self._compare:
            return 0.0
        results = list(results) if isinstance(results, (list, tuple)) else [results]
        some = [r[:ROWS] if r.ndim else r for r in results]
        return _size([r.float().cpu().numpy() for r in some])

    def timed(self, steps: int) -> float:
        """Seconds of `steps` runs in a row."""
        if target.current.device == "cpu":  # a test without a GPU
            import time

            begin = time.perf_counter()
            for _ in range(steps):
                self.step()
            return time.perf_counter() - begin
        cuda = self._torch.cuda
        begin, end = cuda.Event(enable_timing=True), cuda.Event(enable_timing=True)
        run, each = (self._graph.replay, REPEATS) if self._graph else (self.step, 1)
        count = -(-steps // each)
        run()
        begin.record()
        for _ in range(count):
            run()
        end.record()
        end.synchronize()
        return float(begin.elapsed_time(end)) / 1e3 * steps / (count * each)

    def _capture(self) -> None:
        """A graph of repeated steps; what cannot be captured is called."""
        torch = self._torch
        side = torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            for _ in range(3):
                self.step()
        torch.cuda.current_stream().wait_stream(side)
        graph = torch.cuda.CUDAGraph()
        try:
            with torch.cuda.graph(graph):
                for _ in range(REPEATS):
                    self.step()
        except Exception:
            torch.cuda.synchronize()
            graph = False
        self._graph, self.how = graph, "graph" if graph else "calls"
