# SPDX-License-Identifier: Apache-2.0
"""Test that an object compiled for AVX2 or AVX-512 shares no function with the rest of the library.

Templates and inline functions are emitted by every file that uses them, and the linker keeps one
copy, perhaps the one with instructions that an older CPU lacks. So each such ("weak") function of
an AVX object must name its instruction set: a namespace `avx2`, a type `Avx512Vec`.

Usage: isa_symbols.py ISA SUFFIXES OBJECTS...; of the objects, those whose path ends with one of the
comma-separated suffixes are read.
"""

from __future__ import annotations

import subprocess
import sys


def shared_symbols(isa: str, listing: str) -> list[str]:
    """The weak functions in the output of `nm -C` that do not name the instruction set."""
    found = []
    for line in listing.splitlines():
        _, kind, name = line.split(" ", 2)
        if kind == "W" and isa not in name.lower():
            found.append(name)
    return found


def main() -> None:
    isa, suffixes, *objects = sys.argv[1:]
    chosen = [path for path in objects if path.endswith(tuple(suffixes.split(",")))]
    if not chosen:
        raise SystemExit(f"isa_symbols.py: none of the objects ends with {suffixes}")
    bad = 0
    for path in chosen:
        listing = subprocess.run(
            ["nm", "-C", "--defined-only", path], check=True, capture_output=True, text=True
        ).stdout
        for name in shared_symbols(isa, listing):
            print(
                f"{path}: {name}: may replace the plain copy; give it an {isa} name or keep it out"
            )
            bad += 1
    sys.exit(bad > 0)


if __name__ == "__main__":
    main()
