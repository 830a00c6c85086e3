# SPDX-License-Identifier: Apache-2.0
"""`python -m benchmarks.gpu.checks CHECK [ARGUMENT ...]`: one check of whole steps.

The last line printed is JSON: what was found, and in "wrong" what was wrong with it.
"""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks.gpu import steps

COUNT = 8  # steps that are compared
# Of losses, relative.
TOLERANCE = {"float32": 2e-4, "mixed_bfloat16": 3e-2, "mixed_float16": 3e-2}
MEMORY = 0.05  # of what is reserved, between the plan and the device
DEVICE = "cuda"


def _policy(precision: str) -> str | None:
    return None if precision == "float32" else precision


def _digest(values: list[Any]) -> str:
    all_bytes = hashlib.sha256()
    for v in values:
        all_bytes.update(np.ascontiguousarray(np.asarray(v)).tobytes())
    return all_bytes.hexdigest()[:16]


def _trained(make: Callable[..., Any], precision: str, count: int) -> tuple[list[float], str]:
    """Losses of so many steps, and a digest of the variables after them."""
    step, batch = make(DEVICE, _policy(precision))
    found = steps.losses(step, batch, count)
    state = [v.numpy() for v in step.trace(*batch).variables]
    return found, _digest([np.asarray(found), *state])


def model(name: str, precision: str) -> dict[str, Any]:
    """Losses beside the CPU's; two runs give the same bits, replayed or node by node."""
    import ostria as ost

    make = steps.STEPS[name]
    want = steps.losses(*make("cpu"), COUNT)
    first, digest = _trained(make, precision, COUNT)
    _, again = _trained(make, precision, COUNT)
    with ost.debug():
        _, single = _trained(make, precision, COUNT)
    off = max(abs(a - b) / (abs(b) + 1e-3) for a, b in zip(first, want, strict=True))
    wrong = []
    if not off < TOLERANCE[precision]:
        wrong.append(f"losses are {first}, on the CPU {want}")
    if digest != again:
        wrong.append("two runs give different bits")
    if digest != single:
        wrong.append("a replay and a run node by node give different bits")
    return {
        "losses": first,
        "largest_difference": off,
        "digest": digest,
        "two_runs_equal": digest == again,
        "replay_equals_node_by_node": digest == single,
        "wrong": "; ".join(wrong),
    }


def towers(device: str, precision: str | None = None) -> tuple[Any, tuple[Any, ...]]:
    """Three towers beside each other, so that a plan has work for several streams."""
    import ostria as ost
    from ostria import nn

    rng = np.random.default_rng(0)
    batch = (rng.normal(size=(256, 512)).astype(np.float32),)

    class Towers(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.towers = [
                nn.Sequential(
                    [nn.Dense(w, activation="tanh"), nn.Dense(64), nn.LayerNormalization()]
                )
                for w in (256, 512, 768)
            ]

        def call(self, x: Any) -> Any:
            a, b, c = (tower(x) for tower in self.towers)
            return a + b * c

    net = Towers()
    optimizer = ost.optim.Adam(1e-3)

    def step(x: Any) -> Any:
        loss = ost.mean(ost.square(net(x)))
        optimizer.minimize(loss, net.trainable_variables)
        return loss

    return ost.compile(step, device=device, precision=precision), batch


def streams(runs: str) -> dict[str, Any]:
    """A step that runs on several streams gives the same bits in every run."""
    step, batch = towers(DEVICE)
    losses = steps.losses(step, batch, 2)
    text = step.trace(*batch).plan_text({})
    several = " stream 1" in text
    digests = [_trained(towers, "float32", 20)[1] for _ in range(int(runs))]
    wrong = [] if several else ["the plan has one stream"]
    if len(set(digests)) != 1:
        wrong.append(f"runs give different bits: {digests}")
    found = {"several_streams": several, "losses": losses, "digest": digests[0]}
    return {**found, "wrong": "; ".join(wrong)}


def memory(name: str, precision: str) -> dict[str, Any]:
    """What the plan says of memory, beside what the device's allocator took for it."""
    import ostria as ost

    ost.to_device(ost.asarray(np.zeros(1, np.float32)), DEVICE)  # the device's own share
    before = ost._native.device_memory_stats(DEVICE)
    step, batch = LARGE[name](precision)
    plan = step.memory_plan(*batch)
    for _ in range(3):
        step(*batch)
    ost.synchronize(DEVICE)
    after = ost._native.device_memory_stats(DEVICE)
    planned = plan["peak_bytes"]
    taken = {k: after[k] - before[k] for k in ("in_use", "peak", "reserved", "free")}
    off = taken["in_use"] / planned - 1
    wrong = "" if abs(off) <= MEMORY else f"{taken['in_use']} bytes in use, {planned} planned"
    return {"plan": plan, "taken": taken, "off": off, "wrong": wrong}


def _classifier(net: Any, optimizer: Any, precision: str) -> Any:
    import ostria as ost

    loss_fn = ost.losses.SparseCategoricalCrossentropy(from_logits=True)

    def step(x: Any, y: Any) -> Any:
        loss = loss_fn(y, net(x, training=True))
        optimizer.minimize(loss, net.trainable_variables)
        return loss

    return ost.compile(step, device=DEVICE, precision=_policy(precision))


def _wide_mlp(precision: str) -> tuple[Any, tuple[Any, ...]]:
    import ostria as ost
    from ostria import nn

    rng = np.random.default_rng(0)
    batch = rng.normal(size=(4096, 1024)).astype(np.float32), rng.integers(0, 1000, 4096)
    with ost.device(DEVICE):
        net = nn.Sequential([nn.Dense(4096, activation="relu"), nn.Dense(4096), nn.Dense(1000)])
        return _classifier(net, ost.optim.Adam(1e-3), precision), batch


def _deep_cnn(precision: str) -> tuple[Any, tuple[Any, ...]]:
    import ostria as ost
    from ostria import nn

    rng = np.random.default_rng(0)
    batch = rng.normal(size=(128, 64, 64, 3)).astype(np.float32), rng.integers(0, 10, 128)
    layers: list[Any] = []
    for _ in range(4):
        layers += [nn.Conv2D(64, 3, padding="same"), nn.BatchNormalization()]
        layers += [nn.Activation("relu")]
    layers += [nn.GlobalAveragePooling2D(), nn.Dense(10)]
    with ost.device(DEVICE):
        net = nn.Sequential(layers)
        return _classifier(net, ost.optim.SGD(0.1, 0.9), precision), batch


LARGE = {"wide_mlp": _wide_mlp, "deep_cnn": _deep_cnn}
CHECKS: dict[str, Callable[..., dict[str, Any]]] = {
    "model": model,
    "streams": streams,
    "memory": memory,
}


def main() -> int:
    """0 where the check came to an end, whatever it found."""
    print(json.dumps(CHECKS[sys.argv[1]](*sys.argv[2:])))
    return 0


if __name__ == "__main__":
    sys.exit(main())
