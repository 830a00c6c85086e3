# SPDX-License-Identifier: Apache-2.0
"""Mistakes that show when a plan is made or a step runs, or that lie outside the program."""

from __future__ import annotations

import importlib
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from mistakes import x

import ostria as ost


def test_a_plan_over_its_limit_names_the_largest_values() -> None:
    def f(x: Any) -> Any:
        y = ost.exp(x)
        return ost.matmul(y, ost.transpose(y))

    with pytest.raises(ost.OutOfMemoryError) as caught:
        ost.compile(f, memory_limit=100)(x())
    first, *rows = str(caught.value).splitlines()
    line = f.__code__.co_firstlineno
    assert re.fullmatch(
        r"the plan needs \d+ bytes \(activations \d+, state 0\), over the limit of 100 bytes on "
        r"cpu; use a smaller batch\. Largest values:",
        first,
    )
    assert rows == [
        f"  320 bytes  float32[8, 10]  exp [test_errors_running.py:{line + 1}]",
        f"  256 bytes  float32[8, 8]  matmul [test_errors_running.py:{line + 2}]",
    ]


def test_a_folder_without_the_dataset(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    module = importlib.import_module("ostria.data.fashion_mnist")
    monkeypatch.setattr(module, "_folders", lambda path: [tmp_path])
    with pytest.raises(FileNotFoundError) as caught:
        ost.data.fashion_mnist(tmp_path)
    text = str(caught.value)
    assert text.startswith(
        "fashion_mnist: the data files were not found. Looked in\n  " + str(tmp_path)
    )
    assert "lacks train-images-idx3-ubyte.gz" in text
    assert "apt-get install dataset-fashion-mnist" in text
    assert re.search(r"\[test_errors_running\.py:\d+\]$", text)


def test_an_unknown_instruction_set() -> None:
    done = subprocess.run(
        [sys.executable, "-c", "import ostria as ost; ost.ones(3) + 1"],
        env={
            **os.environ,
            "OSTRIA_ISA": "sse",
            "PYTHONPATH": str(Path(ost.__file__).parents[1]),
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == (
        "ValueError: add: OSTRIA_ISA: 'sse' is not an instruction set; give baseline, avx2, avx512 "
        "or avx512_bf16, or unset it for the best one [<string>:1]"
    )


def test_a_full_disk() -> None:
    if not Path("/dev/full").exists():
        pytest.skip("no /dev/full here")
    with (
        pytest.raises(OSError, match="No space left on device"),
        ost.io.RecordWriter("/dev/full") as w,
    ):
        w.write(b"x" * 1_000_000)


def test_a_debugged_step_leaves_state_as_it_was_before_the_bad_value() -> None:
    v = ost.Variable(np.ones(2, np.float32), name="v")

    def f(x: Any) -> None:
        v.assign(v.value() + ost.log(x))

    with ost.debug(), pytest.raises(ost.NonFiniteError, match=r"^log: "):
        ost.compile(f)(np.array([-1.0, 1.0], np.float32))
    np.testing.assert_array_equal(v.numpy(), [1, 1])
