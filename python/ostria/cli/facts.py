# SPDX-License-Identifier: Apache-2.0
"""What `ostria doctor` knows: one dictionary that holds everything, and no opinion."""

from __future__ import annotations

import os
import platform
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

from ostria import _native
from ostria._version import __version__
from ostria.cli.gpu import probe

# docs/architecture.md says what each does.
SETTINGS = (
    "OSTRIA_AUTOTUNE",
    "OSTRIA_CACHE_DIR",
    "OSTRIA_CACHE_MB",
    "OSTRIA_CUDA_LIBRARIES",
    "OSTRIA_DATA_DIR",
    "OSTRIA_DEVICE",
    "OSTRIA_ISA",
    "OSTRIA_KERNEL_LOG",
    "OSTRIA_NUM_THREADS",
    "OSTRIA_RECORD_DIR",
    "OSTRIA_SECRET",
    "OSTRIA_SECRET_FD",
    "OSTRIA_SECRET_FILE",
    "OSTRIA_TF32",
    "OSTRIA_TIMER_AUTHENTICATE",
    "OSTRIA_TIMER_DEAD",
    "OSTRIA_TIMER_FIRST_STEP",
    "OSTRIA_TIMER_HEARTBEAT",
    "OSTRIA_TIMER_JOIN",
    "OSTRIA_TIMER_NO_PROGRESS",
    "OSTRIA_TIMER_REPORT",
    "OSTRIA_TIMER_SUSPECT",
    "OSTRIA_VERIFY",
)
# What `ostria launch` gives its ranks: docs/reference/launchers.md.
LAUNCHED = (
    "OSTRIA_GENERATION",
    "OSTRIA_JOB_ID",
    "OSTRIA_LOCAL_RANK",
    "OSTRIA_LOCAL_SIZE",
    "OSTRIA_NODE_COUNT",
    "OSTRIA_NODE_RANK",
    "OSTRIA_RANK",
    "OSTRIA_RENDEZVOUS",
    "OSTRIA_STORE",
    "OSTRIA_WORLD_SIZE",
)
_OTHERS = ("CUDA_VISIBLE_DEVICES", "CUDA_HOME", "LD_LIBRARY_PATH", "OMP_WAIT_POLICY")
_WHEELS = (
    "ostria",
    "ostria-cuda",
    "numpy",
    "nvidia-cublas",
    "nvidia-cudnn-cu13",
    "nvidia-cuda-nvrtc",
    "nvidia-nccl-cu13",
)


def collect() -> dict[str, Any]:
    """Everything, ready for JSON.

    Example:
        >>> from ostria.cli.facts import collect
        >>> sorted(collect())
        ['cache', 'cpu', 'gpu', 'ostria', 'settings', 'wheels']
    """
    return {
        "ostria": {
            "version": __version__,
            "build_id": _native.build_id(),
            "folder": str(Path(_native.__file__).parent),
            "python": platform.python_version(),
            "executable": sys.executable,
            "system": platform.platform(),
        },
        "cpu": _native.diagnose_cpu(),
        "gpu": {**probe(), "kernel_driver": _kernel_driver()},
        "settings": {
            name: "(hidden)" if name == "OSTRIA_SECRET" else value
            for name, value in sorted(os.environ.items())
            if name.startswith("OSTRIA_") or name in _OTHERS
        },
        "cache": _cache(),
        "wheels": {name: _version_of(name) for name in _WHEELS},
    }


def _version_of(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _kernel_driver() -> str:
    """The release of the driver in the kernel ("580.65.06"); "" where there is none."""
    try:
        words = Path("/proc/driver/nvidia/version").read_text().split()
    except OSError:
        return ""
    return next((w for w in words if w[:1].isdigit() and "." in w), "")


def _cache() -> dict[str, Any]:
    """The folder of backend/cuda/cache, by the same rule."""
    home = os.environ.get("HOME", "")
    user = os.environ.get("XDG_CACHE_HOME", "")
    given = os.environ.get("OSTRIA_CACHE_DIR", "")
    folder = given or (user + "/ostria" if user else home + "/.cache/ostria" if home else "")
    if not folder:
        return {"folder": "", "files": 0, "bytes": 0, "writable": False}
    files, total = 0, 0
    for root, _, names in os.walk(folder):
        for name in names:
            try:
                total += os.stat(os.path.join(root, name)).st_size
            except OSError:  # another process tidied up
                continue
            files += 1
    # It is made when it is first used: then the nearest folder above decides.
    near = Path(folder).absolute()
    while not near.exists() and near != near.parent:
        near = near.parent
    writable = near.is_dir() and os.access(near, os.W_OK | os.X_OK)
    return {"folder": folder, "files": files, "bytes": total, "writable": writable}
