# SPDX-License-Identifier: Apache-2.0
"""pytest on the GPU, a few tests to a process; also the plugin that tells how each one ended.

As a plugin (`-p benchmarks.gpu.op_tests`) it writes a line when a test begins and when it ends, so
that a process that dies names the test it died in, and the others go on in a new one. An error
that ends CUDA for a process ends that process too.
"""

from __future__ import annotations

import json
import os
import tempfile
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from benchmarks.gpu.jobs import Findings, Job, Outcome, python, run

LOG = "OSTRIA_OP_TESTS_LOG"
TESTS = (  # of tests/ops; the first ones first, should time run out
    "test_forward",
    "test_gradients",
    "test_every_implementation",
    "test_gradients_of_every_dtype",
    "test_in_place",
    "test_batch_sizes_of_one_trace",
)
LAYERS = tuple(
    f"tests/python/test_{name}.py"
    for name in ("nn", "nn_normalization", "recurrent", "attention_layers", "losses", "optim")
)
SIZE = 20  # tests of a process
ENVIRONMENT = {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}  # what else is installed there
SECONDS = 150.0
HANGS = 60.0  # seconds of one test
ENDS_CUDA = "CUDA cannot be used in this process any more"


def _write(**line: Any) -> None:
    if LOG in os.environ:
        with open(os.environ[LOG], "a") as log:
            log.write(json.dumps(line) + "\n")


def pytest_runtest_logstart(nodeid: str) -> None:
    """pytest's hook."""
    _write(begins=nodeid, at=time.monotonic())


def pytest_runtest_logreport(report: Any) -> None:
    """pytest's hook: the call, or a set-up that failed."""
    if report.when == "call" or report.outcome != "passed":
        _write(ended=report.nodeid, outcome=report.outcome, text=report.longreprtext)
        if ENDS_CUDA in report.longreprtext:
            os._exit(1)  # what follows would fail for the same reason


def names(findings: Findings, *files: str) -> list[str]:
    """The ids of all tests of some files."""
    command = python("pytest", "--collect-only", "-q", "-p", "no:cacheprovider", *files)
    outcome = run(command, SECONDS, ENVIRONMENT)
    found = [line for line in outcome.output.splitlines() if "::" in line]
    if outcome.trouble or not found:
        findings.add("--collect-only", f"pytest {outcome.trouble or outcome.output}")
    return found


def op_jobs(findings: Findings) -> Iterator[Job]:
    """Processes for tests/ops, the most important tests first."""
    found = names(findings, "tests/ops/test_ops.py")
    for test in TESTS:
        yield from jobs(findings, [i for i in found if f"::{test}[" in i])


def layer_jobs(findings: Findings) -> Iterator[Job]:
    """Processes for the tests of layers, losses and optimizers."""
    yield from jobs(findings, names(findings, *LAYERS))


def jobs(findings: Findings, ids: list[str]) -> Iterator[Job]:
    """Processes for these tests; neighbours go to different ones, since they cost alike."""
    count = max(1, -(-len(ids) // SIZE))
    for i in range(count):
        if ids[i::count]:
            yield _job(findings, ids[i::count])


def _job(findings: Findings, ids: list[str]) -> Job:
    handle, path = tempfile.mkstemp(suffix=".log")
    os.close(handle)
    log = Path(path)

    def after(outcome: Outcome) -> Iterable[Job]:
        lines = [json.loads(line) for line in log.read_text().splitlines()]
        log.unlink()
        done = set()
        begun, at = "", 0.0
        for line in lines:
            if "begins" in line:
                begun, at = line["begins"], line["at"]
                continue
            begun = ""
            done.add(line["ended"])
            wrong = line["text"] or "failed without a word" if line["outcome"] == "failed" else ""
            findings.add(line["ended"], wrong, line["outcome"] == "skipped")
        # A process that was stopped may just have had much to do: its last test gets another turn.
        if begun and (outcome.status is not None or time.monotonic() - at > HANGS or not done):
            done.add(begun)
            findings.add(begun, f"the process {outcome.trouble}")
        rest = [i for i in ids if i not in done]
        if not rest:
            return []
        if len(rest) < len(ids):
            return [_job(findings, rest)]
        for i in rest:  # not one test began
            findings.add(i, f"pytest {outcome.trouble or outcome.output}")
        return []

    options = ("-q", "-p", "no:cacheprovider", "-p", "benchmarks.gpu.op_tests", "--tb=short")
    return Job(
        f"{findings.kind}, {len(ids)} tests from {ids[0]}",
        python("pytest", *options, *ids),
        SECONDS,
        after,
        {**ENVIRONMENT, "OSTRIA_DEVICE": "cuda", LOG: path},
    )
