# SPDX-License-Identifier: Apache-2.0
"""The entry of the archive that pack.py makes: `python3 ostria-gpu.pyz COMMAND [ARGUMENT ...]`.

Commands: check, bench, sanitize (see check.py and bench.py for their arguments), and python, which
runs that Python with everything on its path. Unpacks once, below the folder of temporary files or
into OSTRIA_GPU_FOLDER. Knows nothing of ostria: it runs before anything of it is there.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path

COMMANDS = ("check", "bench", "sanitize", "python")


def unpacked(archive: Path, digest: str) -> Path:
    """The folder with the archive's content, made if it is not there."""
    default = Path(tempfile.gettempdir()) / f"ostria-gpu-{digest}"
    folder = Path(os.environ.get("OSTRIA_GPU_FOLDER") or default).resolve()
    if (folder / "manifest.json").exists():
        return folder
    folder.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(archive) as outer, outer.open("content.tar.xz") as stream:
        with tarfile.open(fileobj=stream, mode="r:xz") as inner:
            inner.extractall(folder, filter="data")
    return folder


def command_line(folder: Path, command: str, arguments: list[str], commit: str) -> list[str]:
    """What is run for a command."""
    if command == "python":
        return [sys.executable, *arguments]
    module = "bench" if command == "bench" else "check"
    # -P: the folder that this is called from may be a checkout, and is not what is to be run.
    line = [sys.executable, "-P", "-m", f"benchmarks.gpu.{module}", "--commit", commit]
    if module == "check":
        line += ["--tests", str(folder / "bin" / "backend_cuda_test")]
    if command == "sanitize":
        line.append("--sanitize")
    if "--output" not in arguments:
        line += ["--output", str(Path.cwd() / f"ostria-gpu-{command}.json")]
    return [*line, *arguments]


def main() -> int:
    """The command's exit status; 2 where the archive cannot be used."""
    archive = Path(sys.argv[0]).resolve()
    with zipfile.ZipFile(archive) as outer:
        manifest = json.loads(outer.read("manifest.json"))
    if len(sys.argv) < 2 or sys.argv[1] not in COMMANDS:
        print(f"{archive.name}: give one of {', '.join(COMMANDS)}", file=sys.stderr)
        return 2
    wanted, found = manifest["python"], f"{sys.version_info.major}.{sys.version_info.minor}"
    if wanted != found:
        print(
            f"{archive.name} was built for Python {wanted}, and this is {found}; run it with "
            f"python{wanted}, or pack it with --python of a Python {found}",
            file=sys.stderr,
        )
        return 2
    folder = unpacked(archive, manifest["digest"])
    environment = dict(os.environ)
    paths = [str(folder / part) for part in ("python", "site", ".")]
    if environment.get("PYTHONPATH"):
        paths.append(environment["PYTHONPATH"])
    environment["PYTHONPATH"] = os.pathsep.join(paths)
    environment.setdefault("OSTRIA_CACHE_DIR", str(folder / "cache"))
    line = command_line(folder, sys.argv[1], sys.argv[2:], manifest["commit"])
    return subprocess.run(line, env=environment).returncode


if __name__ == "__main__":
    sys.exit(main())
