# SPDX-License-Identifier: Apache-2.0
"""Installs the peers into the environment that runs this file, and says why one is not there.

Each peer has its own pinned requirements, complete with what they bring along, and is installed
without looking for more: PyTorch's wheel would ask for 2 GB of CUDA libraries (stubs.py says what
it gets). A peer that cannot be installed is left out, with the reason; it never stops the run.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import subprocess
import sys
import sysconfig
from collections.abc import Sequence
from pathlib import Path

from benchmarks import stubs

ROOT = Path(__file__).resolve().parent.parent
PEERS = ("torch", "jax", "tensorflow", "onnxruntime")
_STATE = Path(sys.prefix) / ".peers.json"


def _requirements(name: str) -> Path:
    return ROOT / "requirements" / f"bench-{name}.txt"


def _stamp(name: str) -> str:
    text = _requirements(name).read_bytes() + Path(stubs.__file__).read_bytes()
    return hashlib.sha256(text).hexdigest()[:16]


def _state() -> dict[str, dict[str, str]]:
    try:
        state: dict[str, dict[str, str]] = json.loads(_STATE.read_text())
    except (OSError, ValueError):
        return {}
    return state


def missing(name: str) -> str | None:
    """Why a framework cannot be measured here; None where it can."""
    if reason := _state().get(name, {}).get("reason"):
        return reason
    if importlib.util.find_spec(name) is None:
        return f"no package '{name}' in {sys.prefix}"
    return None


def _last_line(error: subprocess.CalledProcessError) -> str:
    lines = [line for line in (error.stderr or "").splitlines() if line.strip()]
    return lines[-1].strip() if lines else str(error)


def _install(name: str) -> None:
    pip = [
        sys.executable,
        "-m",
        "pip",
        "install",
        "--quiet",
        "--disable-pip-version-check",
        "--no-deps",
    ]
    command = [*pip, "-r", str(_requirements(name))]
    subprocess.run(command, check=True, stderr=subprocess.PIPE, text=True)
    if name == "torch":
        made = stubs.write(Path(sysconfig.get_paths()["platlib"]))
        print(f"[setup] stand-ins for {len(made)} CUDA libraries that PyTorch does not call here")
    # In a process of its own: a broken library can end it.
    command = [sys.executable, "-c", f"import {name}"]
    subprocess.run(command, check=True, stderr=subprocess.PIPE, text=True)


def install(names: Sequence[str] = PEERS) -> None:
    """Installs those of `names` that are not there at their pinned versions."""
    state = _state()
    for name in names:
        stamp = _stamp(name)
        if state.get(name, {}).get("stamp") == stamp:
            continue
        print(f"[setup] installing {_requirements(name).name} into {sys.prefix} (to compare with)")
        try:
            _install(name)
            state[name] = {"stamp": stamp}
        except subprocess.CalledProcessError as error:
            state[name] = {"reason": f"could not be installed: {_last_line(error)}"}
        except OSError as error:
            state[name] = {"reason": f"could not be installed: {error}"}
        if reason := state[name].get("reason"):
            print(f"[setup] {name} is left out: {reason}")
        _STATE.write_text(json.dumps(state))


if __name__ == "__main__":
    install(sys.argv[1:] or PEERS)
