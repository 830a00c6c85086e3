# SPDX-License-Identifier: Apache-2.0
"""What there is of the GPU, asked in a process of its own: a broken driver may crash or hang."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

# A driver that wakes many GPUs takes some seconds for each.
_PATIENCE = 120.0

_PROBE = """
import json, sys
sys.path.insert(0, sys.argv[1])
from ostria import _native
library = _native.find_cuda_library()
parts = _native.diagnose_cuda() if not library["error"] else []
print(json.dumps({"library": library, "parts": parts}))
"""


def probe(patience: float = _PATIENCE) -> dict[str, Any]:
    """The CUDA backend, NVIDIA's libraries and the devices, as `_native` describes them.

    Returns:
        "library": path, build_id and error of libostria_cuda.so; "parts": what it found; "failure":
        a sentence where the process that asked did not come to an end of its own.

    Example:
        >>> from ostria.cli.gpu import probe
        >>> sorted(probe())
        ['failure', 'library', 'parts']
    """
    empty: dict[str, Any] = {"path": "", "build_id": "", "error": ""}
    nothing = {"library": empty, "parts": [], "failure": ""}
    root = str(Path(__file__).parents[2])
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
        try:
            child = subprocess.Popen(
                [sys.executable, "-c", _PROBE, root],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
            )
        except OSError as error:
            return {**nothing, "failure": f"no process could be started to ask: {error}"}
        try:
            status = child.wait(patience)
        except subprocess.TimeoutExpired:
            child.kill()  # not waited for: within the driver it may not die
            child.returncode = -signal.SIGKILL
            return {
                **nothing,
                "failure": f"the driver did not answer within {patience:g} s; see whether "
                "`nvidia-smi` answers, and look into `dmesg`",
            }
        out.seek(0)
        err.seek(0)
        said, wrong = out.read().strip(), err.read().strip()
    if status < 0:
        return {
            **nothing,
            "failure": f"looking for GPUs ended with {signal.Signals(-status).name}, which is the "
            "driver's doing or a library's; see whether `nvidia-smi` works, and reinstall the "
            "driver",
        }
    try:
        found = json.loads(said.splitlines()[-1])
    except (IndexError, ValueError):
        last = (wrong.splitlines() or ["it said nothing"])[-1]
        return {**nothing, "failure": f"looking for GPUs failed: {last}"}
    return {**found, "failure": ""}
