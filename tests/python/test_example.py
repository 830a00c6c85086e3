# SPDX-License-Identifier: Apache-2.0
"""The example ends with one line, not a traceback, where a file or a device cannot be used."""

from __future__ import annotations

import gzip
import os
import subprocess
import sys
from pathlib import Path

import ostria
from ostria.data import fashion_mnist

ROOT = Path(__file__).resolve().parents[2]


def run(*args: str) -> tuple[int, str]:
    """Exit status and what was written to stderr."""
    path = os.pathsep.join(
        [str(Path(ostria.__file__).parents[1]), os.environ.get("PYTHONPATH", "")]
    )
    done = subprocess.run(
        [sys.executable, str(ROOT / "examples/fashion_mnist.py"), *args],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": path},
        timeout=120,
    )
    return done.returncode, done.stderr


def test_predicting_a_text_file(tmp_path: Path) -> None:
    file = tmp_path / "notes.txt"
    file.write_text("no image\n")
    status, text = run("predict", str(file), "--model-dir", str(tmp_path))
    assert status == 1 and text.count("\n") == 1
    assert text.startswith(f"load_image: {file}") and "BytesIO" not in text
    assert "[fashion_mnist.py:" in text


def test_training_on_a_damaged_file(tmp_path: Path) -> None:
    for name in sys.modules[fashion_mnist.__module__].FILES:
        (tmp_path / name).write_bytes(gzip.compress(b"", 1))
    name = "train-images-idx3-ubyte.gz"
    (tmp_path / name).write_bytes(gzip.compress(bytes(16 + 60000 * 28 * 28), 1))
    status, text = run("--data-dir", str(tmp_path), "--model-dir", str(tmp_path / "m"))
    assert status == 1 and text.count("\n") == 1
    assert text.startswith(f"fashion_mnist: {tmp_path / name} is damaged: its content has SHA-256")


def test_training_on_a_gpu_that_is_not_there(tmp_path: Path) -> None:
    status, text = run("--device", "cuda:99", "--model-dir", str(tmp_path / "m"))
    assert status == 1 and "Traceback" not in text, text
    assert "cuda" in text and "[fashion_mnist.py:" in text
