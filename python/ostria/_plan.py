# SPDX-License-Identifier: Apache-2.0
"""Plans as reports: what a step takes and does on a device, which need not be there."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ostria._errors import at_line

__all__ = ["PlanReport"]


@dataclass(frozen=True)
class PlanReport:
    """What a plan knows of a step before it runs; `str` of it is a page, `text` the plan itself.

    Attributes:
        device: what it was made for, such as "cuda:sm_90".
        description: of a GPU, as `plan_for` takes it where that GPU is not there.
        peak_bytes: what the step takes: activations and workspaces, Variables, inputs, outputs.
        least_bytes: the same where activations take no more than what is alive at once.
        moved_bytes: what steps read and write in one run: every operand of each of them once,
            and again for every pass over rows that are too long to be kept on a GPU's chip.
        fused_bound_bytes: what a perfect fuser would read and write.
        launches: kernels and calls of libraries that one run puts into a stream.
        copies: copies that it needs besides them.
        kernels: how often each is launched, by name.
        transposes: steps that only permute axes.
        moved: bytes read and written, by op, or by what a group of loops computes.
        streams: how many steps run side by side at most.
        notes: what precision, passes and the choice of implementations decided.
        stats: all bytes by name, as `memory_plan` gives them.
        text: every step with its kernel, operands and the line of your program.
    """

    device: str
    description: str
    peak_bytes: int
    least_bytes: int
    moved_bytes: int
    fused_bound_bytes: int
    launches: int
    copies: int
    kernels: dict[str, int]
    transposes: int
    moved: dict[str, int]
    streams: int
    notes: list[str]
    stats: dict[str, int]
    text: str

    def __str__(self) -> str:
        most = sorted(self.kernels.items(), key=lambda item: (-item[1], item[0]))
        bound = self.fused_bound_bytes
        ratio = f", {self.moved_bytes / bound:.3f} times the fused bound {bound}" if bound else ""
        lines = [
            f"plan for {self.device}: {self.launches} launches of {len(self.kernels)} kernels, "
            f"{self.copies} copies, {self.transposes} transposes, {self.streams} stream(s)",
            f"  peak {self.peak_bytes} bytes, at least {self.least_bytes}",
            f"  moves {self.moved_bytes} bytes{ratio}",
            *(f"  {note}" for note in self.notes),
            *(f"  {count:6d} x {name}" for name, count in most),
        ]
        return "\n".join(lines)


def described(device: Any) -> tuple[str, str]:
    """(name, description) of a device: one that is there, or what a file, JSON or a dict says.

    Raises:
        TypeError: it is none of these.
        OSError: the file cannot be read.
        ValueError: the file or text holds no JSON object.
    """
    import json  # not when ostria is imported

    if isinstance(device, Mapping):
        return "cuda", json.dumps(dict(device), separators=(",", ":"))
    if not isinstance(device, (str, os.PathLike)):
        raise TypeError(
            at_line(
                f"plan_for: {device!r} is no device; give a name such as 'cuda', or describe a GPU "
                "by a dict, JSON or the path of a JSON file"
            )
        )
    text = os.fspath(device)
    if isinstance(device, os.PathLike) or text.endswith(".json"):
        try:
            with open(text, encoding="utf-8") as file:
                text = file.read()
        except OSError as error:
            raise type(error)(
                error.errno,
                at_line(f"plan_for: the description of a GPU cannot be read: {error.strerror}"),
                text,
            ) from None
    elif re.fullmatch(r"[a-z]+(:\d+)?", text):
        return text, ""
    elif not text.lstrip().startswith("{"):
        raise ValueError(
            at_line(
                f"plan_for: {text!r} is neither a device such as 'cpu' or 'cuda:1' nor the "
                "description of a GPU: a dict, JSON text or the path of a .json file"
            )
        )
    try:
        values = json.loads(text)
    except json.JSONDecodeError as error:
        raise ValueError(
            at_line(f"plan_for: the description of a GPU is no JSON: {error}")
        ) from None
    if not isinstance(values, dict):
        raise ValueError(at_line(f"plan_for: a GPU is described by an object, not by {values!r}"))
    return "cuda", json.dumps(values, separators=(",", ":"))


def report(summary: Mapping[str, Any], notes: list[str]) -> PlanReport:
    """Of what the native `plan_for` gives, with further notes in front."""
    stats = {key: value for key, value in summary.items() if key.endswith(("_bytes", "_nodes"))}
    return PlanReport(
        device=summary["device"],
        description=summary["description"],
        peak_bytes=summary["peak_bytes"],
        least_bytes=summary["peak_bytes"] - summary["activation_bytes"] + summary["liveness_bytes"],
        moved_bytes=summary["moved_bytes"],
        fused_bound_bytes=summary["fused_bound_bytes"],
        launches=summary["launches"],
        copies=summary["copies"],
        kernels=dict(summary["kernels"]),
        transposes=summary["transposes"],
        moved=dict(summary["moved"]),
        streams=summary["streams"],
        notes=notes + list(summary["notes"]),
        stats=stats,
        text=summary["text"],
    )
