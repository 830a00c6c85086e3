# SPDX-License-Identifier: Apache-2.0
"""CONTRIBUTING's op is built from the page as it stands, run, and differentiated.

Beside the tree, not in it: the op's file is compiled and linked to the archive that the C++ tests
use, with a manifest of one more op.
"""

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("ostria._native")
ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "CONTRIBUTING.md").read_text()
BUILDS = [ROOT / "build" / "current", ROOT / "build"]

MAIN = """
#include <cstdio>
#include "autodiff/gradient.h"
#include "ir/builder.h"
#include "ops/ops.h"
#include "runtime/compiled_graph.h"
using namespace ostria;
int main() {
  Graph g;
  Builder b(g, 0);
  const Value x = g.AddInput("x", {DType::kFloat64, {2}}, 0);
  const Value y = b(ops::kSoftsign, {x});
  g.AddOutput("y", y);
  g.AddOutput("dx", Gradients(g, {&y, 1}, {}, {&x, 1})[0]);
  CompiledGraph compiled(std::move(g), {});
  Tensor in = Tensor::Empty(DType::kFloat64, {2});
  in.data<double>()[0] = -3, in.data<double>()[1] = 0.5;
  std::vector<Tensor> out;
  compiled.Run({&in, 1}, &out);
  for (const Tensor& t : out) {
    std::printf("%.17g %.17g\\n", t.data<double>()[0], t.data<double>()[1]);
  }
}
"""


def block(language):
    return re.search(rf"```{language}\n(.*?)```", PAGE, re.S).group(1)


def test_the_files_it_names_have_their_place():
    for path in re.findall(r"`((?:csrc|tests|kernels)/[^`]+)`", PAGE):
        parent = (ROOT / path).parent
        assert parent.is_dir(), path
    line = block("cmake").strip()
    assert re.fullmatch(r"ostria_op\(elementwise/softsign\)", line)
    assert "ostria_op(elementwise/softplus)" in (ROOT / "csrc/ops/CMakeLists.txt").read_text()


def test_the_op_works(tmp_path):
    build = next((b for b in BUILDS if (b / "csrc" / "libostria_static.a").exists()), None)
    if build is None:
        pytest.skip("the C++ tests are not built")
    (tmp_path / "ops").mkdir()
    (tmp_path / "ops" / "ops.h").write_text(
        f'#pragma once\n#include "{build}/generated/ops/ops.h"\n'
        "namespace ostria::ops { extern const OpDef kSoftsign; }\n"
    )
    (tmp_path / "softsign.cpp").write_text(block("cpp"))
    (tmp_path / "main.cpp").write_text(MAIN)
    dnnl = next(build.glob("**/libdnnl.so.3"), ROOT / "python" / "ostria" / "libdnnl.so.3")
    command = [
        "g++", "-std=c++20", "-fopenmp", "-Wall", "-Wextra", "-Wno-missing-field-initializers",
        f"-I{tmp_path}", f"-I{ROOT}/csrc", f"-I{ROOT}", f"-I{build}/generated",
        "softsign.cpp", "main.cpp", f"{build}/csrc/libostria_static.a", str(dnnl),
        f"-Wl,-rpath,{dnnl.parent}", "-ldl", "-o", "softsign",
    ]  # fmt: skip
    made = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert made.returncode == 0, made.stderr
    assert "softsign.cpp" not in made.stderr  # not a warning either
    out = subprocess.run(
        [tmp_path / "softsign"], capture_output=True, text=True, check=True, env=os.environ
    ).stdout
    y, dx = (np.array(line.split(), float) for line in out.splitlines())
    x = np.array([-3.0, 0.5])
    np.testing.assert_allclose(y, x / (1 + np.abs(x)), rtol=1e-14)
    np.testing.assert_allclose(dx, 1 / (1 + np.abs(x)) ** 2, rtol=1e-14)


def test_the_row_is_one(monkeypatch):
    monkeypatch.setattr(sys, "path", [str(ROOT / "tests" / "ops"), *sys.path])
    names = {}
    exec(compile(block("python"), "softsign.py", "exec"), names)
    assert names["ROW"].op == "softsign"
    assert names["ROW"].samples
