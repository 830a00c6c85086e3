# SPDX-License-Identifier: Apache-2.0
"""Who may know whom: one row per folder of csrc/, and what each may include.

A folder without a row fails, so that a new room is a decision. The rules below it hold the headers
of other people's libraries to the one place that may use them, and op names to the registry.
"""

from __future__ import annotations

import re
from pathlib import PurePosixPath

import pytest

# Left to right; a room includes rooms on its left. backend/cpu, cuda and null are known to nobody:
# the runtime reaches them through the table that RegisterBackends() fills.
ALLOWED = {
    "base": "base",
    "core": "base core",
    "ir": "base core ir",
    "ops": "base core ir ops kernels/scalar",
    "loop": "base core ir ops loop kernels/scalar",
    "autodiff": "base core ir ops autodiff",
    "passes": "base core ir ops loop passes kernels/scalar",
    "backend": "base core ir ops backend",
    "backend/cpu": "base core ir ops loop backend backend/cpu kernels kernels/scalar",
    "backend/cuda": "base core ir ops loop backend backend/cuda kernels kernels/scalar",
    "backend/null": "base core ir ops backend backend/null",
    "runtime": "base core ir ops autodiff passes backend runtime",
    "dist": "base core ir ops backend runtime dist",
    "io": "base core io",
    "data": "base core io runtime data",
    "serve": "base core ir backend runtime io data dist serve",
    "bindings": "base core ir ops autodiff passes backend runtime dist io data serve bindings",
    "kernels": "kernels kernels/scalar",
    "kernels/scalar": "kernels/scalar",
}
GENERATED = {"ops/ops.h": "ops", "backend/build_id.h": "backend"}

INCLUDE = re.compile(r'^\s*#\s*include\s*(["<])([^">]+)[">]', re.M)
# (header, where it may stand)
LIBRARIES = [
    (r"cuda|cudnn|cublas|nvrtc|nvtx|nccl|cooperative_groups", r"kernels/|csrc/backend/cuda/"),
    (r"omp\.h$", r"csrc/base/parallel\.cpp$"),
    (r"dnnl|oneapi/", r"csrc/backend/cpu/onednn"),
    (r"^gloo/", r"csrc/dist/gloo/"),
    (r"^mpi\.h$", r"csrc/dist/mpi/"),
    (r"sodium", r"csrc/dist/control/secret\.cpp$"),
    (r"pybind11/|Python\.h$", r"csrc/bindings/"),
    (r"(iostream|regex|ranges)$", r"(?!)"),  # slow to compile, and iostream has static constructors
]
PRAGMA = re.compile(r"^\s*#\s*pragma\s+omp\b", re.M)

# An op is known by its address. Text becomes an op where text comes in, and nowhere else.
OP_TEXT = re.compile(
    r"\b(?:op|def|op_def|opdef)(?:\(\))?(?:->|\.)name(?:\(\))?\s*[!=]=|"
    r"[!=]=\s*(?:\w+(?:\(\))?(?:->|\.))*(?:op|def|op_def)(?:\(\))?(?:->|\.)name\b|"
    r"\bFindOp\(\s*\""
)
OP_TEXT_FILES = re.compile(r"csrc/ir/(printer|parser|registry|op_def)\.(h|cpp)$|csrc/bindings/")


def room_of(path: str) -> str:
    """The row that a source file belongs to; raises KeyError where there is none."""
    parts = PurePosixPath(path).parts
    if parts[0] == "kernels":
        return "kernels/scalar" if parts[1] == "scalar" else "kernels"
    room = parts[1]
    if room == "backend" and len(parts) > 3:
        room = "/".join(parts[1:3])
    if len(parts) < 3 or room not in ALLOWED:
        raise KeyError(f"{path}: no row for this folder; add one to ALLOWED in test_layers.py")
    return room


def problems(path: str, text: str, known: set[str]) -> list[str]:
    """What is wrong with the includes and op names of one file; `known` are the project's files."""
    try:
        room = room_of(path)
    except KeyError as error:
        return [str(error.args[0])]
    found = []
    allowed = ALLOWED[room].split()
    for mark, header in INCLUDE.findall(text):
        for library, places in LIBRARIES:
            if re.search(library, header) and not re.match(places, path):
                found.append(f"{path}: <{header}> may not be included here")
        if mark == "<":
            continue
        if header in GENERATED:
            target = GENERATED[header]
        elif f"csrc/{header}" in known:
            target = room_of(f"csrc/{header}")
        elif header in known and header.startswith("kernels/"):
            target = room_of(header)
        else:
            found.append(f'{path}: "{header}" is no file below csrc/ or kernels/; write its path')
            continue
        if target not in allowed:
            found.append(f'{path}: "{header}": {room} may not know {target}')
    if PRAGMA.search(text) and path != "csrc/base/parallel.cpp":
        found.append(f"{path}: OpenMP is named in csrc/base/parallel.cpp only; use ParallelFor")
    if not OP_TEXT_FILES.match(path):
        for match in OP_TEXT.finditer(text):
            line = text.count("\n", 0, match.start()) + 1
            found.append(f"{path}:{line}: compares an op's name; compare its address (&ops::kName)")
    return found


def test_every_include_is_allowed(texts: dict[str, str]) -> None:
    sources = {
        path: text
        for path, text in texts.items()
        if re.match(r"(csrc|kernels)/.*\.(h|cpp|cu|cuh)$", path)
    }
    assert sources, "no sources found"
    found = [line for path, text in sources.items() for line in problems(path, text, set(sources))]
    assert not found, "\n" + "\n".join(found)


@pytest.mark.parametrize(
    ("path", "line", "message"),
    [
        ("csrc/core/x.cpp", '#include "ir/graph.h"', "core may not know ir"),
        ("csrc/runtime/x.cpp", '#include "backend/cpu/x.h"', "runtime may not know backend/cpu"),
        ("csrc/newroom/x.cpp", "", "no row"),
        ("csrc/backend/tpu/x.cpp", "", "no row"),
        ("kernels/norm/x.cuh", '#include "base/error.h"', "kernels may not know base"),
        ("csrc/ops/nn/x.cpp", '#include "kernels/norm/y.cuh"', "ops may not know kernels"),
        ("csrc/ir/x.cpp", '#include "graph.h"', "is no file"),
        ("csrc/ops/nn/x.cpp", "#include <cuda_runtime.h>", "may not be included"),
        ("csrc/core/x.cpp", "#include <omp.h>", "may not be included"),
        ("csrc/backend/cpu/conv.cpp", "#include <oneapi/dnnl/dnnl.hpp>", "may not be included"),
        ("csrc/runtime/x.cpp", "#include <pybind11/numpy.h>", "may not be included"),
        ("csrc/dist/x.cpp", "#include <gloo/context.h>", "may not be included"),
        ("csrc/io/x.h", "#include <iostream>", "may not be included"),
        ("csrc/ops/nn/x.cpp", "  #pragma omp parallel for", "OpenMP"),
        ("csrc/passes/x.cpp", 'if (node.op->name == "softmax") {}', "compares an op's name"),
        ("csrc/passes/x.cpp", "if (kName != node.def().name) {}", "compares an op's name"),
        ("csrc/runtime/x.cpp", 'auto* op = FindOp("softmax");', "compares an op's name"),
    ],
)
def test_a_breach_is_found(path: str, line: str, message: str) -> None:
    known = {"csrc/ir/graph.h", "csrc/base/error.h", "csrc/backend/cpu/x.h", "kernels/norm/y.cuh"}
    assert any(message in problem for problem in problems(path, line + "\n", known))


@pytest.mark.parametrize(
    ("path", "line"),
    [
        ("csrc/backend/cpu/onednn_matmul.cpp", "#include <oneapi/dnnl/dnnl.hpp>"),
        ("csrc/backend/cpu/x.cpp", '#include "kernels/norm/y.cuh"'),
        ("csrc/passes/x.cpp", '#include "ops/ops.h"'),
        ("csrc/ir/parser.cpp", 'if (op->name == "softmax") {}'),
        ("csrc/passes/x.cpp", "if (node.op == &ops::kSoftmax) {}"),
    ],
)
def test_what_is_allowed_passes(path: str, line: str) -> None:
    assert problems(path, line + "\n", {"kernels/norm/y.cuh"}) == []
