# SPDX-License-Identifier: Apache-2.0
"""Fetches the pinned oneDNN (headers and CPU library on GNU OpenMP) and prints its prefix.

Both wheels come from the Python package index through pip and are checked against the hashes below.
They are unpacked once into `<cache>/<version>-<hash>`; a second call only prints the path. The
library, which the wheel stores three times, is kept once. Safe to run from several builds at once.
"""

from __future__ import annotations

import argparse
import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

VERSION = "2023.2.0"
WHEELS = {
    "onednn-cpu-gomp": "2f22a54d6a890ed14bfa185d42a4be65d8b5b1df85dc1f0f3a9abe31620416fb",
    "onednn-devel-cpu-gomp": "9763c69e8c907e119056bd52ad918ca84ac9ba939d130a99dfa95ccca3e5e284",
}
LIBRARY = "lib/libdnnl.so.3.2"  # the file that dnnl-targets-release.cmake names
COPIES = {"lib/libdnnl.so", "lib/libdnnl.so.3"}


def download(folder: Path) -> None:
    """Downloads the wheels into `folder`; raises SystemExit with pip's own words on failure."""
    pins = folder / "requirements.txt"
    pins.write_text(
        "".join(f"{name}=={VERSION} --hash=sha256:{digest}\n" for name, digest in WHEELS.items())
    )
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--require-hashes"]
    command += ["--only-binary=:all:", "--dest", str(folder), "--requirement", str(pins)]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if done.returncode != 0:
        raise SystemExit(
            f"onednn.py: pip could not download oneDNN {VERSION}; give another one by "
            f"-DOSTRIA_DNNL_ROOT=<prefix of a oneDNN 3.x>. pip says:\n{done.stdout}"
        )


def unpack(wheel: Path, prefix: Path) -> None:
    """Copies a wheel's data files (include/, lib/, share/) to `prefix`, one copy of the library."""
    with zipfile.ZipFile(wheel) as archive:
        for info in archive.infolist():
            _, mark, relative = info.filename.partition(".data/data/")
            if not mark or info.is_dir() or relative in COPIES:
                continue
            target = prefix / relative
            target.parent.mkdir(parents=True, exist_ok=True)
            with archive.open(info) as source, target.open("wb") as sink:
                shutil.copyfileobj(source, sink, 1 << 20)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("cache", type=Path, help="folder that keeps the unpacked library")
    cache: Path = parser.parse_args().cache.resolve()
    key = hashlib.sha256("".join(WHEELS.values()).encode()).hexdigest()[:8]
    prefix = cache / f"{VERSION}-{key}"
    cache.mkdir(parents=True, exist_ok=True)
    with (cache / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not prefix.exists():
            with tempfile.TemporaryDirectory(dir=cache) as scratch:
                folder, fresh = Path(scratch), Path(scratch) / "prefix"
                download(folder)
                for wheel in sorted(folder.glob("*.whl")):
                    unpack(wheel, fresh)
                for name in COPIES:
                    (fresh / name).symlink_to(Path(LIBRARY).name)
                os.rename(fresh, prefix)
    print(prefix)


if __name__ == "__main__":
    main()
