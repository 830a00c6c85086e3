# SPDX-License-Identifier: Apache-2.0
"""Where a result was measured: processor, versions, commit, and what else ran meanwhile."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import re
import subprocess
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
THREADS = 2
_ALLOCATOR = "libjemalloc.so.2"
_PACKAGES = ("ostria", "torch", "jax", "jaxlib", "tensorflow-cpu", "onnxruntime", "numpy")


def _allocator() -> Path | None:
    places = [
        Path("/usr/lib", f"{platform.machine()}-linux-gnu"),
        Path("/usr/lib64"),
        Path("/usr/lib"),
    ]
    return next((p for p in (place / _ALLOCATOR for place in places) if p.exists()), None)


def environment() -> dict[str, str]:
    """What every worker runs under: the same threads, and a heap that keeps what was freed.

    glibc gives freed memory back to the system by default; a step then pays for page faults again.
    Even told to keep it, glibc 2.36 often finds no freed block for an aligned request of its size,
    and tensors are aligned: jemalloc takes its place where it is there.
    """
    threads = str(THREADS)
    keep = str(1 << 30)
    common = {
        "OMP_NUM_THREADS": threads,
        "MKL_NUM_THREADS": threads,
        "OSTRIA_NUM_THREADS": threads,
        "JAX_PLATFORMS": "cpu",
        "TF_CPP_MIN_LOG_LEVEL": "2",
        "CUDA_VISIBLE_DEVICES": "",
        "PYTHONHASHSEED": "0",
    }
    if library := _allocator():
        settings = "dirty_decay_ms:-1,muzzy_decay_ms:-1,oversize_threshold:0"
        return {**common, "LD_PRELOAD": str(library), "MALLOC_CONF": settings}
    return {
        **common,
        "MALLOC_TRIM_THRESHOLD_": keep,
        "MALLOC_MMAP_THRESHOLD_": keep,
        "MALLOC_TOP_PAD_": str(64 << 20),
    }


def cores() -> list[int]:
    """The cores that workers are bound to."""
    return sorted(os.sched_getaffinity(0))[:THREADS]


def cpu_ticks() -> tuple[float, float]:
    """(seconds that all cores of `cores()` were busy since boot, seconds of this moment)."""
    busy = 0
    mine = {f"cpu{n}" for n in cores()}
    for line in Path("/proc/stat").read_text().splitlines():
        name, *fields = line.split()
        if name in mine:
            user, nice, system, _idle, _wait, irq, soft, steal = map(int, fields[:8])
            busy += user + nice + system + irq + soft + steal
    return busy / os.sysconf("SC_CLK_TCK"), float(Path("/proc/uptime").read_text().split()[0])


class Load:
    """Finds how many of `cores()` other processes kept busy since it was made."""

    def __init__(self) -> None:
        self._busy, self._begin = cpu_ticks()

    def others(self, own: float) -> float:
        """`own`: seconds of processor time that are not others'."""
        busy, end = cpu_ticks()
        return max(0.0, (busy - self._busy - own) / max(end - self._begin, 0.01))


def _cpu_info() -> dict[str, str]:
    lines = Path("/proc/cpuinfo").read_text().split("\n\n", 1)[0].splitlines()
    return {k.strip(): v.strip() for k, _, v in (line.partition(":") for line in lines)}


def describe() -> dict[str, Any]:
    """Processor, its vector instructions, cores, memory, system."""
    info = _cpu_info()
    flags = set(info.get("flags", "").split())
    pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    names = (
        "avx2",
        "fma",
        "avx512f",
        "avx512bw",
        "avx512vl",
        "avx512_bf16",
        "avx_vnni",
        "amx_tile",
    )
    return {
        "cpu": info.get("model name", platform.processor()),
        "family": info.get("cpu family", "?"),
        "model": info.get("model", "?"),
        "mhz": info.get("cpu MHz", "?"),
        "flags": [f for f in names if f in flags],
        "cores": os.cpu_count(),
        "cores_used": len(cores()),
        "memory_gb": round(pages / 2**30, 1),
        "system": platform.platform(),
    }


def versions() -> dict[str, str]:
    """Versions of Python and of what is compared; a package that is not there is left out."""
    found = {"python": platform.python_version()}
    for package in _PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def commit() -> str:
    """The commit of this checkout, with '+' where files differ from it; 'unknown' outside git."""

    def git(*arguments: str) -> str:
        return subprocess.run(
            ["git", *arguments], cwd=ROOT, check=True, capture_output=True, text=True
        ).stdout.strip()

    try:
        changed = git("status", "--porcelain", "--untracked-files=no", "--", ":!benchmarks/results")
        return git("rev-parse", "--short=12", "HEAD") + ("+" if changed else "")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def slug(cpu: str) -> str:
    """A processor's name as a part of a file name."""
    return re.sub(r"[^a-z0-9]+", "-", cpu.lower()).strip("-") or "cpu"
