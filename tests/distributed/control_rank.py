# SPDX-License-Identifier: Apache-2.0
"""A rank of test_control_channel.py: takes a JSON line with a method and arguments, answers in one.

The command line holds how to make the Control, as JSON; the secret comes by the environment.
"""

from __future__ import annotations

import base64
import ctypes
import json
import signal
import sys
from typing import Any

from ostria._native import DistributedError, PeerFailedError
from ostria.distribute._control import Control

# A shell starts background jobs with SIGINT ignored, and Python then leaves it so.
signal.signal(signal.SIGINT, signal.default_int_handler)


def answer(**fields: Any) -> None:
    print(json.dumps(fields), flush=True)


def run(control: Control, method: str, args: list[Any]) -> Any:
    if method == "begin":  # says that it comes to what the rest names, which may take long
        answer(result="begins")
        return run(control, args[0], args[1:])
    if method == "enter":
        return control.native.enter(*args)
    if method == "hold_the_lock":  # of the interpreter, so that no other thread of Python's runs
        return ctypes.PyDLL(None).usleep(int(args[0] * 1e6))
    if method == "failure":
        return control.native.wait_for_failure(args[0]) and vars(control.failure)
    if method == "failures":
        return [vars(f) for f in control.failures()]
    if method == "set":
        return control.set(args[0], base64.b64decode(args[1]))
    if method == "get":
        return base64.b64encode(control.get(*args)).decode()
    if method == "guard":  # a data path that only knows that its connection broke
        with control.guard("all_reduce"):
            raise DistributedError("connection reset")
    if method == "fail":
        with control:
            raise ValueError(args[0])
    if method == "join":
        return [vars(m) for m in control.join(*args)]
    return getattr(control, method)(*args)


def attempt(work: Any) -> Any:
    """The result of `work`, told as a line where it raises."""
    try:
        answer(result=work())
    except PeerFailedError as e:
        parts = {"rank": e.rank, "host": e.host, "reason": e.reason, "operation": e.operation}
        answer(error="PeerFailedError", text=str(e), **parts)
    except (Exception, KeyboardInterrupt) as e:
        answer(error=type(e).__name__, text=str(e))


def main() -> None:
    made: list[Control] = []

    def make() -> int:
        made.append(Control(**json.loads(sys.argv[1])))
        return made[0].port

    attempt(make)
    if not made:
        return
    for line in sys.stdin:
        method, args = json.loads(line)
        attempt(lambda method=method, args=args: run(made[0], method, args))


if __name__ == "__main__":
    main()
