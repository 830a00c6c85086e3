# SPDX-License-Identifier: Apache-2.0
"""All figures of a simulation, as one tree: `text` prints it, --json writes it.

What was given stands under "given"; every other number is a Figure, which says its origin.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from typing import Any

from ostria._native import dist
from ostria.cli.simulate.collectives import Model
from ostria.cli.simulate.figures import Figure, Origin
from ostria.cli.simulate.options import SimulateOptions
from ostria.cli.simulate.rendezvous import Rendezvous
from ostria.cli.simulate.timeline import (
    Bucket,
    Call,
    Event,
    Schedule,
    compute_seconds,
    events_of,
    schedule,
)
from ostria.cli.simulate.topology import Link, Topology
from ostria.distribute._simulated import Simulation

FORMAT = "ostria simulation 1"
GPU_HOURS_PER_FAILURE = 50_700
FAILURES_SOURCE = "419 interruptions of 16,384 GPUs in 54 days, as reported for Llama 3"


class Recorded:
    """What rank 0 did, cut into steps and what lies between them."""

    def __init__(self, simulation: Simulation) -> None:
        calls = [Call(*row) for row in simulation.log.calls()]
        begins = [call.begin for call in calls]

        def between(begin: int, end: int) -> list[Call]:
            return calls[bisect_left(begins, begin) : bisect_left(begins, end)]

        runs = [run for run in simulation.runs if run.function is simulation.step]
        self.first = runs[0]
        self.before = between(0, runs[0].end)  # what happens once
        self.steps = [events_of(r.begin, r.end, between(r.begin, r.end)) for r in runs[1:]]
        ends = [run.begin for run in runs[2:]]
        if simulation.stopped is not None:
            ends.append(simulation.stopped)
        self.gaps = [
            events_of(run.end, end, between(run.end, end))
            for run, end in zip(runs[1:], ends, strict=False)
        ]


def median_of(events: list[list[Event]]) -> list[Event]:
    """The one whose computing is the median, the lower of two."""
    ordered = sorted(events, key=compute_seconds)
    return ordered[(len(ordered) - 1) // 2] if ordered else []


def make_report(
    options: SimulateOptions,
    simulation: Simulation,
    topology: Topology,
    rendezvous: Rendezvous | None,
) -> dict[str, Any]:
    recorded, model = Recorded(simulation), Model(topology)
    step = median_of(recorded.steps)
    measured = compute_seconds(step)
    scale = 1.0 if options.step_time is None else options.step_time / measured
    timed: Origin = "measured" if options.step_time is None else "modelled"
    shown = schedule(step, model, scale)
    return {
        "format": FORMAT,
        "given": _given(options, topology),
        "links": {
            name: _link(link)
            for name, link, used in (
                ("intra", topology.intra, topology.gpus > 1),
                ("inter", topology.inter, topology.nodes > 1),
            )
            if used
        },
        "step": _step(simulation, recorded, shown, measured, timed),
        "buckets": [_bucket(bucket, timed) for bucket in shown.buckets],
        "between_steps": _between(recorded, model, shown, options.step_time is None),
        "memory": _memory(simulation, options),
        "start": _start(recorded, model, rendezvous),
        "growth": _growth(step, topology, scale),
        "failures": _failures(options, recorded, rendezvous),
    }


def add_real(report: dict[str, Any], seconds: float) -> None:
    """A real step took so long: that, and by which share the model is above or below it."""
    step = report["step"]
    step["real"] = Figure(seconds, "s", "measured")
    step["off"] = Figure(step["step_time"].value / seconds - 1.0, "1", "modelled")


def _given(options: SimulateOptions, topology: Topology) -> dict[str, Any]:
    return {
        "world": options.world,
        "nodes": topology.nodes,
        "gpus": topology.gpus,
        "nics": topology.nics,
        "steps": options.steps,
        "step_time": options.step_time,
        "checkpoint_time": options.checkpoint_time,
        "script": options.script,
        "args": list(options.args),
    }


def _link(link: Link) -> dict[str, Any]:
    origin: Origin = "measured" if link.is_measured else "modelled"
    return {
        "name": link.name,
        "bandwidth": Figure(link.bandwidth, "B/s", origin),
        "latency": Figure(link.alpha, "s", origin),
        "source": link.source,
    }


def _step(
    simulation: Simulation, recorded: Recorded, shown: Schedule, measured: float, timed: Origin
) -> dict[str, Any]:
    every = [compute_seconds(events) for events in recorded.steps]
    assert simulation.step is not None
    compiled, sizes = simulation.planned()
    fingerprint, _ = compiled.fingerprint()
    return {
        "function": str(simulation.step.name),
        "fingerprint": Figure(fingerprint.hex()[:16], "", "simulated"),
        "rows": [Figure(size, "rows", "simulated") for size in sizes.values()],
        "measured_steps": Figure(len(every), "1", "measured"),
        "compute_here": Figure(measured, "s", "measured"),
        "compute_here_least": Figure(min(every), "s", "measured"),
        "compute_here_most": Figure(max(every), "s", "measured"),
        "compute": Figure(shown.compute, "s", timed),
        "communication": Figure(shown.communication, "s", "modelled"),
        "exposed": Figure(shown.exposed, "s", "modelled"),
        "step_time": Figure(shown.step, "s", "modelled"),
        "efficiency": Figure(shown.efficiency, "1", "modelled"),
    }


def _bucket(bucket: Bucket, timed: Origin) -> dict[str, Any]:
    return {
        "kind": bucket.kind,
        "what": bucket.what,
        "overlapped": bucket.overlapped,
        "bytes": Figure(bucket.bytes, "B", "simulated"),
        # Later than measured where computing waited for another one before.
        "ready": Figure(bucket.ready, "s", timed if bucket.undelayed else "modelled"),
        "start": Figure(bucket.start, "s", "modelled"),
        "end": Figure(bucket.end, "s", "modelled"),
        "exposed": Figure(bucket.exposed, "s", "modelled"),
        "algorithm": Figure(bucket.algorithm, "", "modelled"),
    }


def _between(recorded: Recorded, model: Model, step: Schedule, counts_host: bool) -> dict[str, Any]:
    """What happens between two steps; --step-time is taken to hold the host's part of it."""
    shown = schedule(median_of(recorded.gaps), model)
    host = shown.compute if counts_host else 0.0
    whole = step.step + host + shown.exposed
    data: dict[str, Any] = {
        "communication": Figure(shown.exposed, "s", "modelled"),
        "step_and_between": Figure(whole, "s", "modelled"),
        "efficiency": Figure((step.compute + host) / whole if whole else 1.0, "1", "modelled"),
        "calls": [
            {
                "kind": bucket.kind,
                "what": bucket.what,
                "bytes": Figure(bucket.bytes, "B", "simulated"),
                "seconds": Figure(bucket.end - bucket.start, "s", "modelled"),
                "algorithm": Figure(bucket.algorithm, "", "modelled"),
            }
            for bucket in shown.buckets
        ],
    }
    if counts_host:
        data["host"] = Figure(host, "s", "measured")
    return data


def _memory(simulation: Simulation, options: SimulateOptions) -> dict[str, Any]:
    compiled, sizes = simulation.planned()
    stats, device = compiled.plan_stats(sizes), "cpu"
    if options.device is not None:
        stats = compiled.plan_for(sizes, "cuda", options.device)
        device = stats["device"]
    variables = list(compiled.variables)

    def total(chosen: list[Any]) -> int:
        return sum(int(v.size) * int(v.dtype.itemsize) for v in chosen)

    shapes = {v.name: v.shape for v in variables if v.trainable}

    def is_slot(v: Any) -> bool:
        """An optimizer names it after its weight: "dense/kernel/adam_m"."""
        return not v.trainable and shapes.get(v.name.rpartition("/")[0]) == v.shape

    weights = total([v for v in variables if v.trainable])
    other = total([v for v in variables if not v.trainable and not is_slot(v)])
    held = int(stats["state_bytes"]) - weights - other  # of the slots, by this rank
    share = min(held, -(-total([v for v in variables if is_slot(v)]) // options.world))
    peak = int(stats["peak_bytes"])
    parts = {
        "weights": weights,
        "optimizer": held,
        "other_state": other,
        "activations": int(stats["activation_bytes"]),
        "inputs_and_results": int(stats["input_bytes"]) + int(stats["output_bytes"]),
        "constants": int(stats["constant_bytes"]) + int(stats["kept_bytes"]),
        "peak": peak,
    }
    figures = {name: Figure(value, "B", "simulated") for name, value in parts.items()}
    return {
        "device": device,
        **figures,
        "optimizer_zero1": Figure(share, "B", "modelled"),
        "peak_zero1": Figure(peak - held + share, "B", "modelled"),
    }


def _start(recorded: Recorded, model: Model, rendezvous: Rendezvous | None) -> dict[str, Any]:
    sent = [call for call in recorded.before if call.kind == "broadcast"]
    data: dict[str, Any] = {
        "first_step": Figure((recorded.first.end - recorded.first.begin) * 1e-9, "s", "measured"),
        "first_values_bytes": Figure(sum(call.bytes for call in sent), "B", "simulated"),
        "first_values": Figure(
            sum(model.seconds(call.kind, call.bytes).seconds for call in sent), "s", "modelled"
        ),
    }
    if rendezvous is not None:
        data["joined"] = [
            {"ranks": Figure(n, "ranks", "measured"), "seconds": Figure(t, "s", "measured")}
            for n, t in rendezvous.joined
        ]
        origin: Origin = "measured" if rendezvous.is_measured else "modelled"
        data["rendezvous"] = Figure(rendezvous.seconds, "s", origin)
        if not rendezvous.is_measured:
            data["rendezvous_error"] = Figure(rendezvous.error, "1", "modelled")
    return data


def _growth(step: list[Event], topology: Topology, scale: float) -> list[dict[str, Any]]:
    """The same step in smaller worlds of the same links, and the same batch of a rank."""
    worlds = [1, topology.gpus]
    while worlds[-1] < topology.world:
        worlds.append(min(2 * worlds[-1], topology.world))
    rows = []
    for world in dict.fromkeys(worlds):
        if world > topology.gpus:
            world -= world % topology.gpus
        shown = schedule(step, Model(topology.shrunk(world)), scale)
        rows.append(
            {
                "world": Figure(world, "ranks", "modelled"),
                "communication": Figure(shown.communication, "s", "modelled"),
                "exposed": Figure(shown.exposed, "s", "modelled"),
                "step_time": Figure(shown.step, "s", "modelled"),
                "efficiency": Figure(shown.efficiency, "1", "modelled"),
            }
        )
    return rows


def _failures(
    options: SimulateOptions, recorded: Recorded, rendezvous: Rendezvous | None
) -> dict[str, Any]:
    """How often to save, by Young and Daly, and what share of the time trains then."""
    between = GPU_HOURS_PER_FAILURE * 3600 / options.world
    restart = dist.Timers({}).dead + (recorded.first.end - recorded.first.begin) * 1e-9
    restart += rendezvous.seconds if rendezvous is not None else 0.0
    interval = math.sqrt(2 * options.checkpoint_time * between)
    lost = options.checkpoint_time / interval + (interval / 2 + restart) / between
    return {
        "source": FAILURES_SOURCE,
        "time_between": Figure(between, "s", "modelled"),
        "restart": Figure(restart, "s", "modelled"),
        "checkpoint_interval": Figure(interval, "s", "modelled"),
        "effective_share": Figure(max(0.0, 1.0 - lost), "1", "modelled"),
    }
