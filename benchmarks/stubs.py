# SPDX-License-Identifier: Apache-2.0
"""Empty stand-ins for the CUDA libraries that PyTorch's loader wants, where only its CPU is used.

PyPI's Linux wheel of PyTorch links about 2 GB of CUDA libraries by name. Its CPU code
(libtorch_cpu.so, with MKL and oneDNN inside) calls none of them, so libraries of the right names
whose functions abort are enough to load it. Invariant: a real library that is there is never
replaced. The CUDA runtime is always the real one (2 MB): PyTorch asks it for the number of devices.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

_CUDA = re.compile(
    r"^(cublas|cublasLt|cudnn|cufft|cuFile|cusparse|cusparseLt|cupti|nccl|nvrtc|nvshmem)"
)
_LIBRARY = re.compile(r"^lib(cublas|cudnn|cufft|cufile|cusparse|cupti|nccl|nvrtc|nvshmem)\w*\.so")


def _fields(arguments: list[str], pattern: str) -> list[str]:
    text = subprocess.run(arguments, check=True, capture_output=True, text=True).stdout
    return re.findall(pattern, text, re.MULTILINE)


def _versions(library: Path) -> dict[str, set[str]]:
    """Symbol versions that `library` wants, by the name of the library it wants them from."""
    text = subprocess.run(
        ["readelf", "-VW", str(library)], check=True, capture_output=True, text=True
    ).stdout
    wanted: dict[str, set[str]] = {}
    at: set[str] = set()
    for line in text.splitlines():
        if match := re.search(r"Version: \d+\s+File: (\S+)", line):
            at = wanted.setdefault(match[1], set())
        elif match := re.search(r"Name: (\S+)\s+Flags: .*Version: \d+", line):
            at.add(match[1])
    return wanted


def write(site_packages: Path) -> list[str]:
    """Makes the libraries missing beside torch in `site_packages`; returns their names.

    Raises:
        FileNotFoundError: no PyTorch there, no C compiler or no binutils.
        subprocess.CalledProcessError: the compiler failed.
    """
    torch = site_packages / "torch" / "lib"
    compiler = next((c for c in ("cc", "gcc", "clang") if shutil.which(c)), None)
    if compiler is None:
        raise FileNotFoundError(
            "no C compiler (cc, gcc or clang) to make stand-ins for CUDA libraries"
        )
    needed: set[str] = set()
    symbols: set[str] = set()
    versions: dict[str, set[str]] = {}
    for library in sorted(torch.glob("lib*.so*")):
        needed.update(_fields(["readelf", "-d", str(library)], r"\(NEEDED\).*\[(.*)\]"))
        for name, wanted in _versions(library).items():
            versions.setdefault(name, set()).update(wanted)
        undefined = _fields(["nm", "-D", "--undefined-only", str(library)], r" [UwV] ([^@\s]+)")
        symbols.update(s for s in undefined if _CUDA.match(s))
    there = {path.name for path in site_packages.glob("nvidia/*/lib/*.so*")}
    missing = sorted(name for name in needed if _LIBRARY.match(name) and name not in there)
    folder = next(iter(site_packages.glob("nvidia/cu[0-9]*/lib")), None)
    if missing and folder is None:
        raise FileNotFoundError(
            f"no nvidia/cu*/lib in {site_packages}; install nvidia-cuda-runtime there"
        )
    with tempfile.TemporaryDirectory() as scratch:
        source = Path(scratch, "stub.c")
        body = "\n".join(f"void {s}(void) {{ __builtin_trap(); }}" for s in sorted(symbols))
        source.write_text(body)
        for name in missing:
            assert folder is not None
            command = [compiler, "-w", "-fno-builtin", "-shared", "-fPIC", "-O1"]
            command += [f"-Wl,-soname,{name}", str(source), "-o", str(folder / name)]
            if names := sorted(versions.get(name, ())):
                # The loader checks that the versions exist; which symbol has which does not matter
                # before its first call.
                script = Path(scratch, "stub.map")
                script.write_text(
                    "".join(f"{v} {{ }};\n" for v in names[1:]) + f"{names[0]} {{ *; }};\n"
                )
                command.append(f"-Wl,--version-script={script}")
            subprocess.run(command, check=True, capture_output=True)
    return missing


if __name__ == "__main__":
    print(" ".join(write(Path(sys.argv[1]))))
