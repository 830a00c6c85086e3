# SPDX-License-Identifier: Apache-2.0
"""`make gpu-pack`: one file with all that check.py and bench.py need on a bare machine with a GPU.

That machine needs a Python of the version that is packed for, with NumPy (and PyTorch and JAX for
bench.py), NVIDIA's driver and CUDA 13's libraries, and no network. The extension module is built
for that Python; the libraries and the C++ tests, which know no Python, come from a build folder.

--python PYTHON   the Python to pack for (default: python3.12)
--build FOLDER    a build folder with tests (default: build/current)
--output FILE     default: dist/ostria-gpu.pyz
"""

from __future__ import annotations

import argparse
import hashlib
import json
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
LIMIT = 60 << 20  # bytes of the archive
SOURCES = ("python", "benchmarks", "tests/ops", "tests/python", "pyproject.toml", "LICENSE")
LEFT_OUT = re.compile(r"^benchmarks/results/|\.(png|html)$")
TESTERS = ("pytest", "iniconfig", "packaging", "pluggy", "pygments")


def run(*command: str | Path) -> str:
    """Standard output of a command, which must succeed; what it says is shown where it does not."""
    done = subprocess.run([str(c) for c in command], capture_output=True, text=True, cwd=ROOT)
    if done.returncode != 0:
        sys.exit(f"pack: {' '.join(map(str, command))} failed:\n{done.stdout}\n{done.stderr}")
    return done.stdout


def with_pybind11(python: str, folder: Path) -> str:
    """`python`, or one of its environments with pybind11, which the extension is built with."""
    if subprocess.run([python, "-m", "pybind11", "--cmakedir"], capture_output=True).returncode:
        pinned = re.search(r"pybind11==[\d.]+", (ROOT / "pyproject.toml").read_text())
        run(python, "-m", "venv", folder / "venv")
        python = str(folder / "venv" / "bin" / "python")
        run(python, "-m", "pip", "install", "--quiet", pinned[0] if pinned else "pybind11")
    return python


def build(python: str, tests: Path, folder: Path) -> None:
    """The extension in `folder`; libraries and tests in `tests`, where the work of nvcc is."""
    builder = with_pybind11(python, folder)
    options = ["-DOSTRIA_INPLACE=OFF", "-DOSTRIA_BUILD_TESTS=OFF", "-DOSTRIA_REQUIRE_PYTHON=ON"]
    # Equal flags, so that a compiler cache has every object already.
    given = re.search(r"^OSTRIA_WERROR:BOOL=(\w+)", (tests / "CMakeCache.txt").read_text(), re.M)
    options += [f"-DOSTRIA_WERROR={given[1]}"] if given else []
    source = ("cmake", "-S", ROOT, "-B", folder, "-G", "Ninja")
    run(*source, f"-DPython_EXECUTABLE={builder}", *options)
    run("cmake", "--build", folder, "-j2", "--target", "ostria_python")
    run("cmake", tests)
    run("cmake", "--build", tests, "-j2", "--target", "ostria_cuda", "backend_cuda_test")
    ids = {(f / "generated/backend/build_id.h").read_text() for f in (folder, tests)}
    if len(ids) != 1:
        sys.exit(f"pack: {folder} and {tests} were built by different compilers; use one for both")


def stage(python: str, tests: Path, folder: Path, into: Path) -> None:
    """Lays out what is packed in `into`, without symbols."""
    shutil.rmtree(into, ignore_errors=True)
    listed = run("git", "ls-files", "-co", "--exclude-standard", "--", *SOURCES).splitlines()
    for name in listed:
        if not LEFT_OUT.search(name) and (ROOT / name).is_file():
            (into / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, into / name)
    installed = ("cmake", "--install")
    package = into / "python" / "ostria"
    run(*installed, folder, "--component", "python", "--strip", "--prefix", package)
    run(*installed, tests, "--component", "cuda", "--strip", "--prefix", package)
    run(*installed, tests, "--component", "gpu_check", "--strip", "--prefix", into)
    pins = (ROOT / "requirements" / "dev.txt").read_text()
    wanted = [m[0] if (m := re.search(rf"^{t}==\S+", pins, re.M)) else t for t in TESTERS]
    site = folder / "site"
    if not (site / "pytest").exists():
        quiet = ("--quiet", "--disable-pip-version-check", "--no-deps")
        run(python, "-m", "pip", "install", *quiet, "--target", site, *wanted)
    shutil.copytree(site, into / "site", ignore=shutil.ignore_patterns("__pycache__", "bin"))


def paths_of_this_machine(into: Path) -> list[str]:
    """Files that name the checkout, whose folder the other machine does not have."""
    needle = str(ROOT).encode() + b"/"
    files = (f for f in sorted(into.rglob("*")) if f.is_file())
    return [str(f.relative_to(into)) for f in files if needle in f.read_bytes()]


def pack(into: Path, version: str, output: Path) -> None:
    """Writes the archive: a program for Python with everything else in one compressed part."""
    content = into.parent / "content.tar.xz"
    digest = hashlib.sha256()
    files = [f for f in sorted(into.rglob("*")) if f.is_file()]
    for f in files:
        digest.update(str(f.relative_to(into)).encode() + f.read_bytes())
    head = run("git", "rev-parse", "HEAD").strip()
    changed = run("git", "status", "--porcelain", "--untracked-files=no").strip()
    manifest = {
        "python": version,
        "commit": head + ("+changes" if changed else ""),
        "digest": digest.hexdigest()[:16],
    }
    (into / "manifest.json").write_text(json.dumps(manifest))
    # The manifest comes last: its presence says that unpacking was done.
    with tarfile.open(content, "w:xz", preset=2) as tar:
        for f in [*files, into / "manifest.json"]:
            tar.add(f, f.relative_to(into), filter=_anonymous)
    output.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(output, "w", zipfile.ZIP_STORED) as archive:
        archive.write(Path(__file__).with_name("unpack.py"), "__main__.py")
        archive.writestr("manifest.json", json.dumps(manifest))
        archive.write(content, "content.tar.xz")
    content.unlink()


def _anonymous(info: tarfile.TarInfo) -> tarfile.TarInfo:
    info.uid = info.gid = 0
    info.uname = info.gname = ""
    return info


def main() -> int:
    """0 where the archive was written and keeps the limit."""
    parser = argparse.ArgumentParser(prog="pack")
    parser.add_argument("--python", default="python3.12")
    parser.add_argument("--build", type=Path, default=ROOT / "build/current")
    parser.add_argument("--output", type=Path, default=ROOT / "dist/ostria-gpu.pyz")
    arguments = parser.parse_args()
    tests = arguments.build.resolve()
    ask = "import sys; print('%d.%d' % sys.version_info[:2])"
    version = run(arguments.python, "-c", ask).strip()
    folder = ROOT / "build" / f"gpu-pack-{version}"
    build(arguments.python, tests, folder)
    into = folder / "stage"
    stage(arguments.python, tests, folder, into)
    for name in paths_of_this_machine(into):
        sys.exit(f"pack: {name} names {ROOT}, which is not on the other machine")
    pack(into, version, arguments.output)
    size = arguments.output.stat().st_size
    print(f"{arguments.output}: {size / 2**20:.1f} MiB, for Python {version}")
    if size > LIMIT:
        sys.exit(f"pack: that is more than {LIMIT >> 20} MiB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
