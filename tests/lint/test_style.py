# SPDX-License-Identifier: Apache-2.0
"""Habits that a machine can check: licence, file length, a README per room, no machine paths."""

from __future__ import annotations

import re

import pytest

# A room's CMakeLists.txt is a list of names, not a source.
SOURCE = re.compile(r"\.(h|cpp|cu|cuh|py|cmake|sh|map)$|^(CMakeLists\.txt|Makefile|\.ci/run)$")
MAX_LINES = 600
MAX_BUILD_LINES = 120  # setup.py and the top CMakeLists.txt hold no logic worth more
MAX_README_LINES = 15
# A path of the machine somebody happened to sit at. Split, so that this file does not name one; the
# examples in tests may live with "me".
MACHINE_PATH = re.compile("(?<![\\w.}~-])/" + "(work|root|home(?!/me/)|tmp|farm|Users)/[A-Za-z.]")
SPDX = "SPDX-License-Identifier: Apache-2.0"


def problems(path: str, text: str) -> list[str]:
    """What is wrong with one file's form."""
    found = []
    lines = text.count("\n") + (not text.endswith("\n"))
    if SOURCE.search(path):
        if SPDX not in "\n".join(text.split("\n", 3)[:3]):
            found.append(f"{path}: its first lines lack '{SPDX}'")
        if lines > MAX_LINES:
            found.append(f"{path}: {lines} lines; more than {MAX_LINES} are two files")
    if path in ("setup.py", "CMakeLists.txt") and lines > MAX_BUILD_LINES:
        found.append(f"{path}: {lines} lines; at most {MAX_BUILD_LINES}")
    if path.endswith("/README.md") and lines > MAX_README_LINES:
        found.append(f"{path}: {lines} lines; a room's README has at most {MAX_README_LINES}")
    for number, line in enumerate(text.split("\n"), 1):
        if MACHINE_PATH.search(line):
            found.append(f"{path}:{number}: a path of one machine: {line.strip()[:80]}")
    return found


def test_every_file(texts: dict[str, str]) -> None:
    found = [line for path, text in texts.items() for line in problems(path, text)]
    assert not found, "\n" + "\n".join(found)


def rooms(texts: dict[str, str]) -> set[str]:
    """The folders of `csrc` and `python/ostria`, and whatever docs/architecture.md calls a room."""
    found = {"kernels", "benchmarks", "examples", "cmake", "docs"}
    for path in texts:
        if match := re.match(r"((?:csrc|python/ostria)/[^/]+)/", path):
            found.add(match[1])
    for line in texts["docs/architecture.md"].splitlines():
        if line.startswith("| `"):  # | `csrc/io`, `csrc/data` | ... |
            found |= set(re.findall("`([^`]+)`", line.split("|")[1]))
        elif match := re.fullmatch(r"  \w+\[([\w/]+)\]", line):  # backend_cpu[backend/cpu]
            found.add(match[1] if match[1] == "kernels" else f"csrc/{match[1]}")
    return found


def test_every_room_has_a_readme(texts: dict[str, str]) -> None:
    missing = sorted(room for room in rooms(texts) if f"{room}/README.md" not in texts)
    assert not missing, f"these folders lack a README.md of at most 15 lines: {missing}"


def test_rooms_are_those_of_the_table_and_of_the_picture(texts: dict[str, str]) -> None:
    assert rooms(texts) >= {
        "python/ostria",
        "python/ostria/nn",
        "csrc/backend/cpu",
        "csrc/backend/null",
        "csrc/passes",
        "kernels",
    }
    page = {"docs/architecture.md": "| `csrc/a`, `b` | `c` |\n  x_y[x/y]\n  x_y --> z\n"}
    assert rooms(page) - rooms({"docs/architecture.md": ""}) == {"csrc/a", "b", "csrc/x/y"}


@pytest.mark.parametrize(
    ("path", "text", "message"),
    [
        ("csrc/base/x.h", "#pragma once\n", "SPDX"),
        ("cmake/x.sh", "#!/bin/sh\necho\n", "SPDX"),
        ("python/ostria/x.py", f"# {SPDX}\n" + "x = 1\n" * 600, "601 lines"),
        ("setup.py", f"# {SPDX}\n" + "x = 1\n" * 120, "at most 120"),
        ("csrc/base/README.md", "line\n" * 16, "at most 15"),
        ("docs/x.md", "see " + "/" + "home/jo/x\n", "one machine"),
        ("Makefile", f"# {SPDX}\n\tcp " + "/" + "tmp/x .\n", "one machine"),
    ],
)
def test_a_breach_is_found(path: str, text: str, message: str) -> None:
    assert any(message in problem for problem in problems(path, text))


def test_what_is_fine_passes() -> None:
    text = f"// {SPDX}\n// https://example.org/home/page and ./tmp/x\n"
    assert problems("csrc/base/x.cpp", text) == []
