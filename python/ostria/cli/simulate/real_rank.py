# SPDX-License-Identifier: Apache-2.0
"""A rank of a real run: RESULT STEPS FUNCTION SCRIPT ARGS…, started by `ostria launch` for `real`.

It ends after its steps, as all ranks do, and rank 0 writes the median of their seconds.
"""

from __future__ import annotations

import os
import statistics
import sys
from pathlib import Path

from ostria.cli.simulate.session import execute
from ostria.distribute._simulated import RealRun


def main() -> object:
    result, steps, function, script, *args = sys.argv[1:]
    run = RealRun(int(os.environ["OSTRIA_WORLD_SIZE"]), int(steps) + 1, function)
    status = execute(run, script, args, {})
    seconds = [(r.end - r.begin) * 1e-9 for r in run.runs if r.function is run.step][1:]
    if os.environ["OSTRIA_RANK"] == "0" and seconds:
        Path(result).write_text(str(statistics.median(seconds)))
    return status  # of the script, as it gave it: a text is said at the end


if __name__ == "__main__":
    raise SystemExit(main())
