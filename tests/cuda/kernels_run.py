# SPDX-License-Identifier: Apache-2.0
"""Whether every kernel of kernels/ ran in the tests of the CUDA backend.

    python tests/cuda/kernels_run.py LOG

LOG is what the backend wrote into OSTRIA_KERNEL_LOG; kernel_facts.txt beside this file has every
kernel that is compiled. The log is removed: tests that run later write another one.
"""

from __future__ import annotations

import sys
from pathlib import Path

TABLE = Path(__file__).with_name("kernel_facts.txt")


def main(arguments: list[str]) -> int:
    """Names the kernels that did not run; 1 where there are any."""
    log = Path(arguments[0])
    ran = set(log.read_text().split()) if log.exists() else set()
    log.unlink(missing_ok=True)
    rows = [row.split(":")[0].split() for row in TABLE.read_text().splitlines()[1:]]
    missing = [f"{file}: {kernel} ran in no test" for file, kernel in rows if kernel not in ran]
    print("\n".join(missing) if missing else f"{len(rows)} kernels ran")
    return 1 if missing else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
