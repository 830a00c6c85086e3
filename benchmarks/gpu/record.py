# SPDX-License-Identifier: Apache-2.0
"""The record of one run on a GPU: device, driver, date, commit, and what ran there.

Figures go into it as they are measured, and it is written after each, so that a run that is cut
short leaves what it had, and another can go on from there.
"""

from __future__ import annotations

import datetime
import json
import os
import subprocess
import threading
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]


def _words(*command: str) -> str:
    try:
        return subprocess.run(command, capture_output=True, text=True, cwd=ROOT).stdout.strip()
    except OSError:
        return ""


class Record:
    """A dictionary that is a file.

    With `resume` the results of an earlier run of the same kind, device and commit are kept.
    """

    def __init__(self, path: Path, kind: str, commit: str = "", resume: bool = False) -> None:
        self.path = path
        self.lock = threading.Lock()
        query = (
            "nvidia-smi",
            "--query-gpu=name,driver_version,memory.total",
            "--format=csv,noheader",
        )
        lines = _words(*query).splitlines() or [""]
        device, driver, memory = ([*lines[0].split(", "), "", "", ""])[:3]
        self.data: dict[str, Any] = {
            "kind": kind,
            "device": device,
            "driver": driver,
            "memory": memory,
            "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
            "commit": commit or _words("git", "rev-parse", "HEAD"),
            "stand_in": not device,  # the fake driver: no GPU at all
            "ran": {"kernels": [], "models": []},
            "timed": {"kernels": [], "models": []},
            "results": {},
        }
        if resume and path.exists():
            self._go_on(json.loads(path.read_text()))
        self.save()

    def _go_on(self, before: dict[str, Any]) -> None:
        for field in ("kind", "device", "commit"):
            if before[field] != self.data[field]:
                raise ValueError(
                    f"{self.path}: cannot go on: its {field} is {before[field]!r}, this run's is "
                    f"{self.data[field]!r}; give another --output, or leave --resume out"
                )
        self.data |= {key: before[key] for key in ("ran", "timed", "results", "date")}

    @property
    def memory_mb(self) -> float:
        """Of the device; 0 where there is none."""
        words = self.data["memory"].split()
        return float(words[0]) if words else 0.0

    def set(self, name: str, value: Any) -> None:
        """A result, kept at once."""
        self.keep(name, value)
        print(f"{name}: {value}", flush=True)

    def keep(self, name: str, value: Any) -> None:
        """The same without a word; several threads may."""
        with self.lock:
            self.data["results"][name] = value
            self.save()

    def entry(self, name: str, facts: dict[str, Any]) -> dict[str, Any]:
        """The result of this name, to be filled bit by bit, each followed by `save`."""
        found: dict[str, Any] = self.data["results"].setdefault(name, {})
        found |= facts
        self.save()
        return found

    def ran(self, level: str, kind: str, names: list[str]) -> None:
        """`level`: ran or timed; `kind`: kernels or models."""
        with self.lock:
            known = set(self.data[level][kind])
            self.data[level][kind] = sorted(known | set(names))
            self.save()

    def save(self) -> None:
        """Writes the file as a whole, or not at all."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        beside = self.path.with_suffix(".tmp")
        beside.write_text(json.dumps(self.data, indent=1) + "\n")
        os.replace(beside, self.path)
