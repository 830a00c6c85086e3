# SPDX-License-Identifier: Apache-2.0
"""What is promised of each failure: said once, beside the test that holds it.

`docs/faults.py` makes the table in docs/distributed.md of these declarations; a case of TITLES that
no test declares is said there to be not yet.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

# Of the tests; the defaults are in docs/distributed.md. Short, but a busy machine is no dead rank.
TIMERS = {"heartbeat": 0.1, "suspect": 1.0, "dead": 2.0, "no progress": 5.0}
JOIN = 1.0  # of the tests in which a rank does not come
VARIABLES = {f"OSTRIA_TIMER_{k.upper().replace(' ', '_')}": f"{v}s" for k, v in TIMERS.items()}

TITLES = {
    1: "kill -9 within a step",
    2: "kill -9 between steps",
    3: "SIGSTOP, SIGCONT later",
    4: "a hang with a live heartbeat",
    5: "a network that is cut",
    6: "a slow network",
    7: "disk full while saving",
    8: "kill -9 while saving",
    9: "a damaged checkpoint",
    10: "a damaged input file",
    11: "killed for want of memory",
    12: "a loss that is not finite on one rank",
    13: "different code on one rank",
    14: "uneven numbers of batches",
    15: "port collisions, two jobs on a host",
    16: "a slow rank",
    17: "restart at the same world size",
    18: "restart at another world size",
    19: "a stale process",
    20: "a late or missing rank",
    21: "SIGTERM",
    22: "IPv6 only",
}


def seconds(bound: str) -> float:
    """A bound as a number: "2 s" or "`dead` + 2 s"."""
    match = re.fullmatch(r"(?:`([a-z ]+)` \+ )?(\d+) s", bound)
    if match is None:
        raise ValueError(f"bound {bound!r}; accepted are '2 s' and '`dead` + 2 s'")
    timers = {**TIMERS, "join": JOIN}
    return (timers[match[1]] if match[1] else 0.0) + float(match[2])


def promises(case: int, what: str, bound: str = "") -> Callable[[Any], Any]:
    """Declares what a test holds; arguments are literals, which the generator reads unexecuted.

    Args:
      case: number in TITLES.
      what: everybody may rely on, as it stands in the table.
      bound: on the time until then; "" where there is none.
    """
    assert case in TITLES and what
    limit = seconds(bound) if bound else None

    def declare(test: Any) -> Any:
        test.case, test.limit = case, limit
        return test

    return declare
