# SPDX-License-Identifier: Apache-2.0
"""The report of `ostria simulate` as lines. Each figure is followed by its origin, or stands below
a heading that says it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from ostria.cli.simulate.figures import MEANING, Figure

_MOST = 24  # buckets, before those in the middle are left out


def head_lines(world: int) -> list[str]:
    """What is printed before anything runs."""
    return [
        f"ostria simulate: rank 0 of {world:,} runs on this machine alone; no cluster is used.",
        *(f"  [{origin}] {meaning}" for origin, meaning in MEANING.items()),
    ]


def report_lines(report: dict[str, Any]) -> list[str]:
    """All that is printed after it."""
    return [
        *_topology(report),
        *_step(report),
        *_between(report["between_steps"]),
        *_memory(report["memory"], report["given"]["world"]),
        *_start(report["start"], report["given"]["world"]),
        *_growth(report["growth"]),
        *_failures(report["failures"], report["given"]),
        "",
        "Not part of the model: congestion, other jobs, slow ranks, starting kernels, and "
        "computing that communication slows down.",
    ]


def _row(name: str, figure: Figure, more: str = "") -> str:
    return f"  {name:<26}{figure.text:>16} [{figure.origin}]{more}"


def _topology(report: dict[str, Any]) -> Iterator[str]:
    given = report["given"]
    yield ""
    nics = f", {given['nics']} adapter(s) each" if given["nodes"] > 1 else ""
    yield f"topology: {given['nodes']:,} node(s) of {given['gpus']} rank(s){nics}"
    for name, link in report["links"].items():
        rate = f"{link['bandwidth'].value / 1e9:.4g} GB/s"
        yield (
            f"  {name} '{link['name']}': {rate}, {link['latency'].text} "
            f"[{link['latency'].origin}]: {link['source']}"
        )


def _step(report: dict[str, Any]) -> Iterator[str]:
    step, buckets = report["step"], report["buckets"]
    yield ""
    yield (
        f"a step of '{step['function']}': the median of {step['measured_steps'].value}, after one "
        "that traces and plans"
    )
    yield _row("graph", step["fingerprint"])
    for rows in step["rows"]:
        yield _row("rows of rank 0", rows)
    if report["given"]["step_time"] is not None:
        yield _row("computing, here", step["compute_here"])
        yield _row("computing, as given", step["compute"], " each part scaled alike")
    else:
        least, most = step["compute_here_least"].text, step["compute_here_most"].text
        yield _row("computing", step["compute"], f" {least} to {most}")
    yield _row("cores that others used", step["other_cores"], " meanwhile")
    yield _row("communication", step["communication"], f" {len(buckets)} collective(s)")
    yield _row("exposed communication", step["exposed"])
    yield _row("time of a step", step["step_time"])
    yield _row("scaling efficiency", step["efficiency"], " with the batch of a rank as it is")
    if "real" in step:
        yield _row("time of a real step", step["real"], " by as many processes of this machine")
        yield _row("the model is off by", step["off"])
    if buckets:
        yield ""
        yield from _table(
            ("bytes", "ready at", "start", "end", "exposed", "algorithm", "what"),
            ("simulated", "", "modelled", "modelled", "modelled", "modelled", "simulated"),
            [
                (
                    b["bytes"].text,
                    str(b["ready"]),
                    b["start"].text,
                    b["end"].text,
                    b["exposed"].text,
                    b["algorithm"].text,
                    b["what"] + ("" if b["overlapped"] else ", not overlapped"),
                )
                for b in buckets
            ],
        )


def _between(between: dict[str, Any]) -> Iterator[str]:
    yield ""
    yield "between two steps"
    if "host" in between:
        yield _row("the host's work", between["host"])
    yield _row("communication", between["communication"], f" {len(between['calls'])} collective(s)")
    for call in between["calls"]:
        yield (
            f"    {call['kind']} of {call['bytes']}, {call['seconds']}, {call['algorithm'].text}: "
            f"{call['what']}"
        )
    yield _row("a step and this", between["step_and_between"])
    yield _row("scaling efficiency", between["efficiency"])


def _memory(memory: dict[str, Any], world: int) -> Iterator[str]:
    yield ""
    yield f"memory of a rank, by its plan for {memory['device']}"
    for name, key in (
        ("weights", "weights"),
        ("optimizer's slots", "optimizer"),
        ("other state", "other_state"),
        ("activations, workspaces", "activations"),
        ("inputs and results", "inputs_and_results"),
        ("constants", "constants"),
        ("all of it", "peak"),
    ):
        yield _row(name, memory[key])
    yield _row("slots, sharded (ZeRO-1)", memory["optimizer_zero1"], f" by {world:,} ranks")
    yield _row("all of it, sharded", memory["peak_zero1"])


def _start(start: dict[str, Any], world: int) -> Iterator[str]:
    yield ""
    yield "start"
    for row in start.get("joined", ()):
        ranks = f"{row['ranks'].text} threads meet"
        yield _row(ranks, row["seconds"], " over sockets of the loopback")
    if "rendezvous" in start and start["rendezvous"].origin == "modelled":
        error = start["rendezvous_error"].text
        yield _row(f"{world:,} ranks meet", start["rendezvous"], f" off by up to {error} above")
    yield _row(
        "first values, sent to all", start["first_values"], f" {start['first_values_bytes']}"
    )
    yield _row("first step, with its plan", start["first_step"])


def _growth(rows: Sequence[dict[str, Any]]) -> Iterator[str]:
    yield ""
    yield "the same step in worlds of other sizes [modelled]"
    keys = ("world", "communication", "exposed", "step_time", "efficiency")
    titles = ("ranks", "communication", "exposed", "step", "efficiency")
    yield from _table(titles, (), [tuple(row[key].text for key in keys) for row in rows])


def _failures(failures: dict[str, Any], given: dict[str, Any]) -> Iterator[str]:
    yield ""
    yield f"failures, at the rate of {failures['source']}"
    yield _row("time between two", failures["time_between"])
    yield _row("time of a restart", failures["restart"], " noticing, meeting, the first step")
    takes = f" by Young and Daly, if it takes {given['checkpoint_time']:g} s"
    yield _row("save every", failures["checkpoint_interval"], takes)
    yield _row("share of time that trains", failures["effective_share"])


def _table(
    titles: Sequence[str], origins: Sequence[str], rows: Sequence[Sequence[str]]
) -> Iterator[str]:
    """Columns to the right, but for the last; a row in place of those in the middle of many."""
    heads = [tuple(titles)]
    if origins:
        heads.append(tuple(f"[{origin}]" if origin else "" for origin in origins))
    shown = [*heads, *rows]
    if len(rows) > _MOST:
        half = _MOST // 2
        shown = [*heads, *rows[:half], *rows[-half:]]
    widths = [max(len(row[i]) for row in shown) for i in range(len(titles))]
    for number, row in enumerate(shown):
        if len(rows) > _MOST and number == len(heads) + _MOST // 2:
            yield f"  … {len(rows) - _MOST} more, of which --json has all"
        last = len(row) - 1
        cells = [cell.rjust(widths[i]) if i < last else cell for i, cell in enumerate(row)]
        yield "  " + "  ".join(cells).rstrip()
