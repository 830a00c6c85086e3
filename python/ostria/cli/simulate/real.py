# SPDX-License-Identifier: Apache-2.0
"""The largest real run there is: the script as so many processes of this machine.

It says by how much the model is off. Never are there more processes than cores: what those wait for
each other is no communication.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

from ostria._errors import at_line
from ostria.cli.simulate.options import SimulateOptions


def measure(options: SimulateOptions, function: str) -> float:
    """Seconds of a step, which is a run of `function`, of rank 0: the median.

    Raises:
      ValueError: the processes failed; the message ends with what they said.
    """
    with tempfile.TemporaryDirectory() as folder:
        result = Path(folder) / "seconds"
        words = [sys.executable, "-m", "ostria", "launch", "--nproc", str(options.world)]
        rank = [str(Path(__file__).with_name("real_rank.py")), str(result), str(options.steps)]
        done = subprocess.run(
            [*words, *rank, function, options.script, *options.args],
            capture_output=True,
            text=True,
        )
        if done.returncode != 0 or not result.exists():
            raise ValueError(
                at_line(
                    f"--real: {options.world} processes of this machine failed; leave it out, or "
                    f"look at what they said:\n{done.stderr}"
                )
            )
        return float(result.read_text())
