# SPDX-License-Identifier: Apache-2.0
"""What the compiler made of every kernel: registers, stack, shared memory, 16-byte accesses.

    python tests/cuda/kernel_facts.py FOLDER [--write]

FOLDER holds a .ptx and a .cubin per file of kernels/. Compares with kernel_facts.txt beside this
file, or writes it. Whatever the compiler's version: no kernel may spill, none that is not named for
doubles may compute in them, and none may add floats in an order that differs from run to run.
Registers and the like are compared where the version is the same.
"""

from __future__ import annotations

import re
import struct
import sys
from pathlib import Path

TABLE = Path(__file__).with_name("kernel_facts.txt")
COLUMNS = ("registers", "stack", "shared", "loads16", "stores16", "doubles")
STACK_ALLOWED = re.compile(r"_slow_path$")  # a kernel that calls a function needs a stack
REGCOUNT, FRAME_SIZE = 0x2F, 0x11  # attributes of .nv.info
# Kernels of doubles say so in their names. Updates correct their rate in double, once per block,
# and scans accumulate one size up, as on the CPU.
DOUBLES = re.compile(r"(^|_)(f64|float64|double)(_|$)|_update(_rows)?_f32$| scan_\w+_f32$")


def sections(elf: bytes) -> list[tuple[str, int, int, bytes]]:
    """(name, link, size, content) of each section of a 64-bit ELF file."""
    at, count, names_at = (
        struct.unpack_from("<Q", elf, 40)[0],
        *struct.unpack_from("<HH", elf, 60),
    )
    rows = [struct.unpack_from("<IIQQQQIIQQ", elf, at + 64 * i) for i in range(count)]
    names = elf[rows[names_at][4] : rows[names_at][4] + rows[names_at][5]]
    out = []
    for name, kind, _flags, _addr, offset, size, link, _info, _align, _entry in rows:
        text = names[name : names.index(b"\0", name)].decode()
        out.append((text, link, size, b"" if kind == 8 else elf[offset : offset + size]))
    return out


def symbols(elf: bytes) -> list[str]:
    """The names in the symbol table, by index."""
    found = sections(elf)
    _name, link, _size, table = next(s for s in found if s[0] == ".symtab")
    strings = found[link][3]
    out = []
    for i in range(0, len(table), 24):
        at = struct.unpack_from("<I", table, i)[0]
        out.append(strings[at : strings.index(b"\0", at)].decode())
    return out


def of_cubin(elf: bytes) -> dict[str, dict[str, int]]:
    """Registers, stack and static shared memory of each kernel."""
    names = symbols(elf)
    out: dict[str, dict[str, int]] = {}
    found = sections(elf)
    for name, _link, _size, _content in found:
        if name.startswith(".text."):
            out[name[6:]] = {"registers": 0, "stack": 0, "shared": 0}
    for name, _link, size, content in found:
        if name.startswith(".nv.shared.") and name[11:] in out:
            out[name[11:]]["shared"] = size
        if name != ".nv.info":
            continue
        at = 0
        while at < len(content):
            form, attribute, length = struct.unpack_from("<BBH", content, at)
            at += 4
            if form != 4:  # the value stands in place of a length
                continue
            if attribute in (REGCOUNT, FRAME_SIZE):
                symbol, value = struct.unpack_from("<II", content, at)
                if names[symbol] in out:
                    column = "registers" if attribute == REGCOUNT else "stack"
                    out[names[symbol]][column] = value
            at += length
    return out


# What makes sums of floats depend on who comes first.
ATOMICS = re.compile(r"(@\S+ )?(atom|red)\.(\w+\.)*(f16|bf16|f16x2|bf16x2|f32|f64)\b")
WIDE = re.compile(r"\.(?:v4\.[a-z]?[a-z]32|v2\.[a-z]64|v8\.[a-z]16|b128)\b")


def of_ptx(text: str) -> dict[str, dict[str, int]]:
    """16-byte accesses of global memory and instructions on doubles of each kernel."""
    out = {}
    for match in re.finditer(r"\.entry\s+(\w+)\(.*?\n\{\n(.*?)\n\}", text, re.S):
        lines = [line.strip() for line in match[2].split("\n")]
        wide = [line for line in lines if WIDE.search(line)]
        out[match[1]] = {
            "loads16": sum(re.match(r"(@\S+ )?ld\.global", line) is not None for line in wide),
            "stores16": sum(re.match(r"(@\S+ )?st\.global", line) is not None for line in wide),
            "doubles": sum(
                re.match(r"(@\S+ )?(add|sub|mul|fma|div|rcp|sqrt|min|max)\.(\w+\.)*f64", line)
                is not None
                for line in lines
            ),
            "atomics": sum(ATOMICS.match(line) is not None for line in lines),
        }
    return out


def collect(folder: Path) -> tuple[str, dict[str, dict[str, int]]]:
    """The compiler's version, and the facts by 'file kernel'."""
    facts: dict[str, dict[str, int]] = {}
    version = "unknown"
    for ptx in sorted(folder.glob("*.ptx")):
        text = ptx.read_text()
        if match := re.search(r"Cuda compilation tools, release [\d.]+, V([\d.]+)", text):
            version = match[1]
        file = ptx.name.split(".")[0]
        from_cubin = of_cubin(ptx.with_suffix(".cubin").read_bytes())
        for kernel, row in of_ptx(text).items():
            facts[f"{file} {kernel}"] = {**from_cubin[kernel], **row}
    return version, facts


def render(version: str, facts: dict[str, dict[str, int]]) -> str:
    """The table as text."""
    lines = [f"# nvcc {version}, sm_90: " + " ".join(COLUMNS)]
    lines += [f"{name}: " + " ".join(str(row[c]) for c in COLUMNS) for name, row in facts.items()]
    return "\n".join(lines) + "\n"


def mistakes(facts: dict[str, dict[str, int]]) -> list[str]:
    """What no kernel may do, whatever compiled it."""
    found = []
    for name, row in facts.items():
        if row["stack"] and not STACK_ALLOWED.search(name):
            found.append(f"{name}: {row['stack']} bytes of stack: registers are spilled or indexed")
        if row["doubles"] and not DOUBLES.search(name):
            found.append(f"{name}: {row['doubles']} instructions on doubles")
        if row["atomics"]:
            found.append(f"{name}: {row['atomics']} atomics on floats")
    return found


def main(arguments: list[str]) -> int:
    """Checks or writes the table; 1 when something is wrong."""
    folder = Path(arguments[0])
    version, facts = collect(folder)
    if not facts:
        print(f"no .ptx file in {folder}")
        return 1
    found = mistakes(facts)
    fresh = render(version, facts)
    if "--write" in arguments:
        TABLE.write_text(fresh)
    elif not TABLE.exists() or TABLE.read_text().split("\n")[0] == fresh.split("\n")[0]:
        old = TABLE.read_text().splitlines() if TABLE.exists() else []
        found += [f"not in the table: {row}" for row in fresh.splitlines() if row not in old]
        found += [f"only in the table: {row}" for row in old if row not in fresh.splitlines()]
        if found:
            found.append(f"if it is meant: python {sys.argv[0]} {folder} --write")
    print("\n".join(found) if found else f"{len(facts)} kernels, as in the table")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
