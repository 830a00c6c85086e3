# SPDX-License-Identifier: Apache-2.0
"""The examples on real data learn: the loss goes down, and the result beats a simple guess.

Each runs with its --quick budget, and is skipped where its data is not there and not to be had.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import ostria

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"


def run(name: str, *args: str, **environment: str) -> tuple[int, str, str]:
    """Exit status, stdout and stderr."""
    path = os.pathsep.join(
        [str(Path(ostria.__file__).parents[1]), os.environ.get("PYTHONPATH", "")]
    )
    done = subprocess.run(
        [sys.executable, str(EXAMPLES / name), *args],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": path, **environment},
        timeout=240,
    )
    if "could not be fetched" in done.stderr:
        pytest.skip(done.stderr.strip())
    return done.returncode, done.stdout, done.stderr


def quick(name: str, *args: str) -> tuple[str, dict[str, float]]:
    """Stdout, and the figures of its last line."""
    status, out, err = run(name, "--quick", *args)
    assert status == 0, err
    figures = re.findall(r"(\w+)=([-.\d]+)", out.splitlines()[-1])
    return out, {key: float(value) for key, value in figures}


def losses(out: str) -> list[float]:
    """The training losses of the progress lines."""
    return [float(loss) for loss in re.findall(r"\bloss (\d+\.\d+)", out)]


@pytest.mark.slow
def test_char_gpt() -> None:
    out, figures = quick("char_gpt.py")
    progress = losses(out.split("\n\n")[0])
    assert len(progress) == 11 and progress[-1] < 0.7 * progress[0]
    assert figures["valid_loss"] < figures["baseline"]


def test_char_gpt_on_a_text_of_ones_own(tmp_path: Path) -> None:
    file = tmp_path / "text"
    file.write_text("to be or not to be, ähnlich\n" * 60, encoding="utf-8")
    steps = ["--steps", "60", "--warmup", "10", "--sample", "20", "--prompt", "to "]
    status, out, err = run("char_gpt.py", "--text", str(file), *steps)
    assert status == 0, err
    assert "\nto be" in out and float(re.search(r"valid_loss=(\S+)", out).group(1)) < 0.5


def test_char_gpt_on_a_text_that_is_too_short(tmp_path: Path) -> None:
    file = tmp_path / "text"
    file.write_text("to be\n")
    status, _, err = run("char_gpt.py", "--text", str(file))
    assert (status, err) == (1, "the text has 6 characters; give at least 650\n")


def test_sunspots_lstm() -> None:
    out, figures = quick("sunspots_lstm.py")
    progress = losses(out)
    assert len(progress) == 7 and progress[-1] < 0.7 * progress[0]
    assert figures["rmse"] < 0.8 * figures["baseline"]
    # The naive forecast and the linear one are facts of the data: they hold the split in place.
    assert (figures["baseline"], figures["linear"]) == (33.18, 18.58)


def test_wide_deep() -> None:
    pytest.importorskip("sklearn")
    out, figures = quick("wide_deep.py")
    progress = losses(out)  # of each fold the first and the last
    assert len(progress) == 6 and max(progress[1::2]) < 0.3 * min(progress[::2])
    assert figures["accuracy"] > figures["baseline"] + 0.25
    assert figures["auc"] > figures["linear_auc"] - 0.01


def test_both_optimizers_of_wide_deep_train(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(EXAMPLES))
    import wide_deep

    rng = np.random.default_rng(0)
    x = rng.normal(size=(128, 12))
    _, losses, model = wide_deep.fit(x, (x[:, 0] > 0).astype(int), wide_deep.parse(["--quick"]))
    assert len(losses) == 15 * 4 and losses[-1] < 0.5 * losses[0]
    begun_at_zero = [t.embeddings for t in model.wide] + [
        v for v in model.layers.trainable_variables if v.name.endswith("bias")
    ]
    assert len(begun_at_zero) == 5
    for variable in begun_at_zero:
        assert np.any(variable.numpy()), variable.name


def test_damaged_data_ends_with_one_line(tmp_path: Path) -> None:
    (tmp_path / "bible-kjv-text").mkdir()
    file = tmp_path / "bible-kjv-text/bible.data"
    file.write_bytes(b"no bible")
    status, _, err = run("char_gpt.py", OSTRIA_DATA_DIR=str(tmp_path))
    assert status == 1 and err.count("\n") == 1
    assert err.startswith(f"{file} is damaged or of another version: it has SHA-256 ")
