# SPDX-License-Identifier: Apache-2.0
"""A training step of GPT-2 by hand, as the sum of the best pieces that PyTorch has.

Each piece is timed alone, in bfloat16, with its operands on the device: products, attention of the
best library, fused norms and gelu, the cross-entropy, the optimizer. Their sum, a block's twelve
times, is what a framework without overheads would take: the ceiling of G2.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any

from benchmarks.gpu.cases import PEAK
from benchmarks.models.transformer import GPT2_124M, Shape, tiny

WINDOWS = 5


class Clock:
    """Times a function on a device."""

    def __init__(self, device: str, seconds: float = 0.03):
        self._device, self._seconds = device, seconds

    def _window(self, run: Callable[[], Any], count: int) -> float:
        if self._device == "cpu":
            start = time.perf_counter()
            for _ in range(count):
                run()
            return time.perf_counter() - start
        import torch

        begin = torch.cuda.Event(enable_timing=True)
        end = torch.cuda.Event(enable_timing=True)
        begin.record()
        for _ in range(count):
            run()
        end.record()
        end.synchronize()
        return float(begin.elapsed_time(end)) / 1e3

    def __call__(self, run: Callable[[], Any]) -> float:
        """Microseconds, the median of windows."""
        self._window(run, 3)
        count = max(2, int(self._seconds / max(self._window(run, 2) / 2, 1e-7)))
        count = min(count, 1000)
        return 1e6 * statistics.median(self._window(run, count) / count for _ in range(WINDOWS))


def _products(clock: Clock, m: int, k: int, n: int, tensor: Any) -> dict[str, float]:
    """Forward with its bias, gradient of the input, of the weights."""
    import torch

    x, w, b, dy = tensor(m, k), tensor(k, n), tensor(n), tensor(m, n)
    return {
        "forward": clock(lambda: torch.addmm(b, x, w)),
        "input": clock(lambda: torch.mm(dy, w.t())),
        "weight": clock(lambda: torch.mm(x.t(), dy)),
    }


def _attention(clock: Clock, shape: Shape, batch: int, tensor: Any) -> tuple[str, float]:
    import torch.nn.functional as F
    from torch.nn.attention import SDPBackend, sdpa_kernel

    size = (batch, shape.heads, shape.time, shape.width // shape.heads)
    q, k, v, d = (tensor(*size) for _ in range(4))
    wrt = [t.requires_grad_() for t in (q, k, v)]
    found: dict[str, float] = {}
    for backend in (SDPBackend.CUDNN_ATTENTION, SDPBackend.FLASH_ATTENTION, SDPBackend.MATH):
        if found and backend is SDPBackend.MATH:
            break

        def both(backend: Any = backend) -> None:
            import torch

            with sdpa_kernel(backend):
                y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
            torch.autograd.grad(y, wrt, d)

        try:
            found[str(backend).rsplit(".", 1)[-1]] = clock(both)
        except RuntimeError:
            continue
    best = min(found, key=lambda name: found[name])
    return best, found[best]


def _trained(clock: Clock, function: Any, args: list[Any], seed: Any) -> float:
    """Forward and backward of a compiled function."""
    import torch

    wrt = [a.requires_grad_() for a in args if a.is_floating_point()]
    compiled = torch.compile(function, dynamic=False)
    return clock(lambda: torch.autograd.grad(compiled(*args), wrt, seed))


def measure(batch: int = 16, device: str = "cuda", is_tiny: bool = False) -> dict[str, Any]:
    """Microseconds of each piece and of all, and the tokens per second that follow."""
    import torch
    import torch.nn.functional as F

    shape = tiny(GPT2_124M) if is_tiny else GPT2_124M
    clock = Clock(device, 0.002 if is_tiny else 0.03)
    tokens, width, words = batch * shape.time, shape.width, shape.vocabulary

    def tensor(*size: int, dtype: Any = torch.bfloat16) -> Any:
        return torch.randn(size, device=device, dtype=dtype)

    def norm(x: Any, r: Any, g: Any, b: Any) -> Any:
        return F.layer_norm(x + r, (width,), g, b, 1e-5)

    def entropy(logits: Any, labels: Any) -> Any:
        return F.cross_entropy(logits.float(), labels)

    block: dict[str, float] = {}
    for name, k, n in (
        ("qkv", width, 3 * width),
        ("proj", width, width),
        ("up", width, 4 * width),
        ("down", 4 * width, width),
    ):
        for part, us in _products(clock, tokens, k, n, tensor).items():
            block[f"{name} {part}"] = us
    library, block["attention"] = _attention(clock, shape, batch, tensor)
    rows, wide = (tokens, width), (tokens, 4 * width)
    args = [tensor(*rows), tensor(*rows), tensor(width), tensor(width)]
    block["2 residual adds and norms"] = 2 * _trained(clock, norm, args, tensor(*rows))

    def gelu(x: Any) -> Any:
        return F.gelu(x, approximate="tanh")

    block["gelu"] = _trained(clock, gelu, [tensor(*wide)], tensor(*wide))
    for name, n in (("qkv", 3), ("proj", 1), ("up", 4), ("down", 1)):
        dy = tensor(tokens, n * width)
        block[f"{name} bias gradient"] = clock(lambda dy=dy: dy.sum(0))
    ends: dict[str, float] = {}
    for part, us in _products(clock, tokens, width, words, tensor).items():
        ends[f"head {part}"] = us
    labels = torch.randint(0, words, (tokens,), device=device)
    ends["cross-entropy"] = _trained(clock, entropy, [tensor(tokens, words), labels], None)
    weights = [tensor(shape.parameters, dtype=torch.float32)]
    weights[0].grad = tensor(shape.parameters, dtype=torch.float32)
    optimizer = torch.optim.AdamW(weights, 1e-4, fused=True, capturable=device != "cpu")
    ends["optimizer"] = clock(optimizer.step)
    total = shape.layers * sum(block.values()) + sum(ends.values())
    return {
        "batch": batch,
        "attention": library,
        "block_us": {name: round(us, 1) for name, us in block.items()},
        "ends_us": {name: round(us, 1) for name, us in ends.items()},
        "step_us": round(total, 1),
        "tokens_per_s": round(1e6 * tokens / total),
        "mfu": round(shape.flops_per_token * tokens / (total / 1e6) / PEAK, 4),
    }
