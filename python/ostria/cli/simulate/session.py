# SPDX-License-Identifier: Apache-2.0
"""Runs a user's script as rank 0 of the simulated world, in this process, until its steps are done.

The script sees what `ostria launch` would tell rank 0, and prints what rank 0 prints.
"""

from __future__ import annotations

import contextlib
import os
import runpy
import sys
from collections.abc import Iterator, Mapping, Sequence

from ostria._errors import at_line
from ostria.cli.simulate.options import SimulateOptions
from ostria.cli.simulate.topology import Topology
from ostria.distribute import _simulated
from ostria.distribute._simulated import Simulation, StepsDone


class ScriptError(Exception):
    """The script of this name failed; the cause is what it raised."""


def run_script(options: SimulateOptions, topology: Topology) -> Simulation:
    """What rank 0 did.

    Raises:
      ScriptError: the script raised something.
      ValueError: it trains with no strategy that could be simulated, or too little; or its exit
        status is not 0.
    """
    simulation = Simulation(options.world, options.steps + 1, options.function)
    environ = {
        "OSTRIA_RANK": "0",
        "OSTRIA_WORLD_SIZE": str(options.world),
        "OSTRIA_LOCAL_RANK": "0",
        "OSTRIA_LOCAL_SIZE": str(topology.gpus),
        "OSTRIA_NODE_RANK": "0",
        "OSTRIA_NODE_COUNT": str(topology.nodes),
    }
    try:
        status = execute(simulation, options.script, options.args, environ)
    except Exception as error:
        raise ScriptError(options.script) from error
    if status not in (None, 0) and simulation.stopped is None:
        raise ValueError(
            at_line(f"ostria simulate: {options.script} ended with exit status {status}")
        )
    _check(options, simulation)
    return simulation


def execute(
    simulation: Simulation, script: str, args: Sequence[str], environ: Mapping[str, str]
) -> object:
    """Runs a script, with more variables, until it ends or its steps are done.

    Returns its exit status, None where there was none, and raises what it raises.
    """
    folder = os.path.dirname(os.path.abspath(script))
    with _process(environ, [script, *args], folder), _simulated.active(simulation):
        try:
            runpy.run_path(script, run_name="__main__")
        except StepsDone:
            pass
        except SystemExit as end:
            return end.code
        finally:
            sys.stdout.flush()
    return None


@contextlib.contextmanager
def _process(environ: Mapping[str, str], argv: Sequence[str], folder: str) -> Iterator[None]:
    """Variables, arguments and the first place of imports as a process of its own would have."""
    before, words, paths = dict(os.environ), sys.argv[:], sys.path[:]
    os.environ.update(environ)
    sys.argv[:] = argv
    sys.path.insert(0, folder)
    try:
        yield
    finally:
        sys.path[:] = paths
        sys.argv[:] = words
        os.environ.clear()
        os.environ.update(before)


def _check(options: SimulateOptions, simulation: Simulation) -> None:
    """Refuses to report on what was not there."""
    step = simulation.step
    if not simulation.strategies:
        why = "it made no ost.distribute.MultiWorkerMirroredStrategy, whose rank 0 it would be"
        remedy = "train with one; alone it is a strategy of one process"
    elif not simulation.runs:
        why = "its strategy ran nothing"
        remedy = "call strategy.run(step, …), or give the strategy to a Trainer or an Estimator"
    elif step is None:
        names = ", ".join(sorted({str(run.function.name) for run in simulation.runs}))
        why = f"--function is '{options.function}', and its strategy ran {names}"
        remedy = "name one of these"
    elif options.world > 1 and simulation.reduced_bytes(step) == 0:
        names = ", ".join(sorted({str(run.function.name) for run in simulation.runs}))
        why = f"nothing was reduced over ranks; its strategy ran {names}"
        remedy = "change weights by optimizer.minimize or optimizer.apply inside of strategy.run"
    elif sum(run.function is step for run in simulation.runs) < 2:
        why = f"'{step.name}' ran once, and the first run traces and plans"
        remedy = "let the script do at least two steps"
    else:
        return
    raise ValueError(at_line(f"ostria simulate: {options.script}: {why}; {remedy}"))
