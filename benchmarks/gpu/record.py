# SPDX-License-Identifier: Apache-2.0
"""The record of one run on a GPU: device, driver, date, commit, and what ran there.

Figures go into it as they are measured, and it is written after each, so that a run that is cut
short leaves what it had.
"""

from __future__ import annotations

import datetime
import json
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
    """A dictionary that is a file."""

    def __init__(self, path: Path, kind: str, commit: str = "") -> None:
        self.path = path
        self.lock = threading.Lock()
        query = (
            "nvidia-smi",
            "--query-gpu=name,driver_version,memory.total",
            "--format=csv,noheader",
        )
        device, driver, memory = ([*_words(*query).split(", "), "", "", ""])[:3]
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
        self.save()

    def set(self, name: str, value: Any) -> None:
        """A result, kept at once."""
        self.keep(name, value)
        print(f"{name}: {value}", flush=True)

    def keep(self, name: str, value: Any) -> None:
        """The same without a word; several threads may."""
        with self.lock:
            self.data["results"][name] = value
            self.save()

    def ran(self, level: str, kind: str, names: list[str]) -> None:
        """`level`: ran or timed; `kind`: kernels or models."""
        with self.lock:
            known = set(self.data[level][kind])
            self.data[level][kind] = sorted(known | set(names))
            self.save()

    def save(self) -> None:
        """Writes the file."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.path.write_text(json.dumps(self.data, indent=1) + "\n")
