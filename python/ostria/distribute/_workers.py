# SPDX-License-Identifier: Apache-2.0
"""`MultiWorkerMirroredStrategy`: replicas in several processes, which the environment names.

Each process holds a connection to the job's control channel, apart from the data. Graphs are
compared before they run, and whoever fails is named to all others.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import logging
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from types import TracebackType
from typing import Any

import numpy as np

from ostria import _array_api, _device, _native, _replicas
from ostria import _functions as F
from ostria._errors import add_line, add_remark, at_line
from ostria._keywords import checked_init, checked_keywords
from ostria._version import __version__
from ostria.distribute import _arguments, _context, _input, _simulated, _values
from ostria.distribute._control import Control, RankPace
from ostria.distribute._env_values import split_address
from ostria.distribute._environment import WorkerEnvironment, read_environment
from ostria.distribute._function import ReplicaFunction
from ostria.distribute._reproducible import replica_devices
from ostria.distribute._strategy import Strategy

_log = logging.getLogger("ostria")


# What replicas run for exchanges of ours, and what all ranks know each by: so a sum of one rank is
# told from a mean of another.
_exchanges: dict[Any, str] = {}


@functools.cache
def _total_of(what: str) -> Callable[[Any], Any]:
    def total(x: Any) -> Any:
        return _native.ops.all_reduce([x])

    _exchanges[total] = what
    return total


def _gathered(x: Any) -> Any:
    context = _context.get_replica_context()
    assert context is not None
    return _native.ops.all_gather(x, replicas=context.num_replicas_in_sync)


_exchanges[_gathered] = "strategy.gather"


_ALONE = WorkerEnvironment(0, 1, 0, 1, 0, 1, None, "one process", 0, ())


@checked_init
class MultiWorkerMirroredStrategy(Strategy):
    """The replicas of several processes as one: every process runs the same program.

    Make it before anything that depends on the number of replicas, once in each process. The
    launcher's variables say who this process is: `ostria launch`, TF_CONFIG, torchrun, Slurm and
    others (docs/reference/launchers.md). In a process that stands alone it is a strategy of one
    process. Data go through shared memory between processes of a host, and through Gloo between
    hosts; through MPI if asked, where MPI started the processes.

    `result()` of a metric is that of all processes, which all call it. Reading another Variable
    made with `aggregation="sum"` adds what the replicas of this process hold.

    The first values of Variables are those of rank 0. When a process fails, all others raise
    PeerFailedError that names it; its host and its last operation are part of the message.

    Args:
        cluster_resolver: what `read_environment` returned; None: it is read here.
        devices: of this process's replicas, as for MirroredStrategy; every process gives equally
            many. None: the GPU of its local rank, else the CPU.
        timeout: seconds that a replica waits for the others in an exchange; None: as long as the
            control channel, which names who is missing after `no_progress` seconds, 120.
        transport: "auto", "shm", "gloo", "hierarchical" or "mpi".
        interface: of the network for data, such as "eth0", or an address; empty: the host's.
        record_dir: folder for flight records of collectives, written when one fails or the job
            is left; `ostria explain-hang` reads them. None: OSTRIA_RECORD_DIR, or none are written.
        reproducible: the same bits in however many processes: the job has `virtual_shards`
            replicas, which the processes share evenly. For CPUs; see docs/distributed.md.
        virtual_shards: as for MirroredStrategy; what the number of devices of all processes must
            divide.
        shard_optimizer_state: as for MirroredStrategy, over the replicas of all processes; whoever
            reads a slot then does so in all of them.

    Raises:
        TypeError: `cluster_resolver` is no WorkerEnvironment, or `devices` no list.
        RuntimeError: this process has one already, which is not closed.
        ValueError: the environment is incomplete or contradicts itself, there is no secret,
            `devices`, `timeout` or `transport` is none that is accepted, or `virtual_shards` cannot
            be spread over the devices.
        OSError: `record_dir` cannot be made or written.
        DistributedError: processes do not come in time or differ in version or devices.

    Example:
        >>> import ostria as ost
        >>> with ost.distribute.MultiWorkerMirroredStrategy() as strategy:  # alone
        ...     strategy.num_replicas_in_sync
        1
    """

    def __init__(
        self,
        cluster_resolver: WorkerEnvironment | None = None,
        *,
        devices: Sequence[str] | None = None,
        timeout: float | None = None,
        transport: str = "auto",
        interface: str = "",
        record_dir: str | os.PathLike[str] | None = None,
        reproducible: bool = False,
        virtual_shards: int | None = None,
        shard_optimizer_state: bool = False,
    ) -> None:
        what = "MultiWorkerMirroredStrategy"
        # A process that stands alone uses few of them, and refuses the same as one of a job.
        resolver = _arguments.checked_resolver(what, cluster_resolver)
        timeout = None if timeout is None else _arguments.seconds(what, timeout)
        transport = _arguments.checked_transport(what, transport)
        self.environment = resolver or read_environment() or _ALONE
        worker = self.environment
        self._simulation = simulation = _simulated.current()
        if devices is None:
            gpus = [] if simulation else _device.devices()[1:]
            devices = [gpus[(worker.local_rank or 0) % len(gpus)]] if gpus else ["cpu"]
        names = _arguments.device_names(what, devices)
        world = worker.world_size
        super().__init__(replica_devices(what, names, reproducible, virtual_shards, world))
        self._reproducible = reproducible
        self._control: Control | None = None
        self._failing = self._is_summing = False
        self._traced = self._traced_before = 0
        self._shared: set[int] = set()  # ids of Variables whose first values are rank 0's
        self._world = worker.world_size
        self._is_opaque = not self.devices[0].startswith("cpu")  # collectives are in the step
        self._first_replica = worker.rank * len(self.devices)
        if simulation is not None:
            simulation.adopt(self)
        if worker.world_size == 1:
            _record_folder(record_dir)  # so that a wrong one is found before there is a job
            if len(self.devices) > 1:
                self._group = _native.local_replicas(
                    self.devices, timeout or 120.0, self._reproducible
                )
            self._divide_state(shard_optimizer_state)
            return
        self._place = _place(worker)
        if simulation is None:
            _require_first(self._place)
        connect = _connect if simulation is None else simulation.connect
        self._control = control = connect(worker)
        _taken.add(self._place)
        atexit.register(self.close)
        self._unwatch = _watch_exceptions(self)
        try:
            members = control.join()
            text = f"{len(self.devices)} x {self.devices[0].split(':')[0]}"
            if reproducible:
                text += f", reproducible with {self.num_replicas_in_sync} virtual shards"
            control.agree("versions and devices", [f"ostria {__version__}", f"devices: {text}"])
            hosts = [m.host for m in members for _ in self.devices]
            folder = _record_folder(record_dir)
            replicas = _native.worker_replicas if simulation is None else simulation.replicas
            self._group = replicas(
                control.native,
                self.devices,
                self._first_replica,
                hosts,
                _patience(control) if timeout is None else timeout,
                transport,
                interface,
                folder,
                self._reproducible,
            )
            with control.guard("MultiWorkerMirroredStrategy"):
                self._group.all_gather([0] * len(self.devices))  # all can reach all
            self._divide_state(shard_optimizer_state)
        except BaseException as error:
            self._fail(error)
            self.close()
            raise
        _log.info("%s; control channel: %s", worker, control.timers)

    @property
    def num_replicas_in_sync(self) -> int:
        return self._world * len(self.devices)

    @property
    def num_workers(self) -> int:
        """How many processes there are."""
        return self._world

    @property
    def is_chief(self) -> bool:
        """Whether this process is rank 0, which writes what only one of all should write."""
        return self.environment.rank == 0

    def _open(self, what: str) -> Control:
        """The control channel of several processes."""
        if self._control is None:
            raise RuntimeError(at_line(f"{what}: {self!r} was closed; close it after its last use"))
        return self._control

    def barrier(self, name: str) -> None:
        """Returns when every process has called it with this name.

        Raises:
            PeerFailedError: a process failed.
            DistributedError: some did not come in time; the message names them.
        """
        if self._world > 1:
            control = self._open("strategy.barrier")
            with control.not_of_the_step():
                control.barrier(name)

    def rank_paces(self) -> list[RankPace]:
        """How fast each process was in the last 20 steps or more, and what holds it up.

        Heartbeats tell it, so it is about as old as one; any process may ask, at any time. A rank
        that takes 1.3 times as long as the median one is also reported where rank 0 prints. On
        GPUs a step counts as one collective, so that only slow input shows.

        Returns:
            One entry for each process, in order; none before the first 20 steps, or alone.

        Example:
            >>> import ostria as ost
            >>> with ost.distribute.MultiWorkerMirroredStrategy() as strategy:  # alone
            ...     [pace.rank for pace in strategy.rank_paces() if pace.score > 1.3]
            []
        """
        return self._open("strategy.rank_paces").paces() if self._world > 1 else []

    # --- The end ----------------------------------------------------------------------------------

    def close(self) -> None:
        """Leaves the job; a program that ends does so by itself. The strategy is of no use then."""
        control, self._control = self._control, None
        if control is not None:
            _taken.discard(self._place)
            atexit.unregister(self.close)
            self._unwatch()
            self._group = None
            self._functions.clear()
            if self._failing:
                control.__exit__(RuntimeError, RuntimeError("ended by an error"), None)
            else:
                control.leave()

    def __enter__(self) -> MultiWorkerMirroredStrategy:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        where: TracebackType | None,
    ) -> None:
        if error is not None and not (isinstance(error, SystemExit) and not error.code):
            self._fail(error)
        self.close()

    def _fail(self, error: BaseException) -> None:
        """Tells the others why this process ends, once; not where all end for the same reason."""
        if self._control is None or self._failing:
            return
        if getattr(error, "_raised_on_all_ranks", False):
            return
        self._failing = True
        with contextlib.suppress(_native.DistributedError):
            self._control.post_failure(error)

    # --- Over all processes -----------------------------------------------------------------------

    @checked_keywords("strategy.gather")
    def gather(self, value: Any, axis: int) -> Any:
        """As `MirroredStrategy.gather`, over the replicas of all processes, which all call it."""
        self._require_open("strategy.gather")
        axis = _arguments.axis_number("strategy.gather", axis)
        local = super().gather(value, axis=axis)
        if self._world == 1:
            return local
        others = [0] * (len(self.devices) - 1)

        def join(values: list[Any]) -> Any:
            rows = _array_api.moveaxis(values[0], axis, 0)
            sizes = self._numbers([int(rows.shape[0]), *others], "strategy.gather")
            most = max(sizes)
            if not most:
                return values[0]
            filler = F.zeros((most - int(rows.shape[0]), *rows.shape[1:]), dtype=rows.dtype)
            everyone = self._on_first(_gathered, _native.ops.concat([rows, filler], axis=0))
            parts = [everyone[r * most : r * most + n] for r, n in enumerate(sizes) if n]
            return _array_api.moveaxis(_native.ops.concat(parts, axis=0), 0, axis)

        return _values.joined(local, 1, "strategy.gather", join)

    def _totals(self, variables: Sequence[Any]) -> list[Any]:
        values = super()._totals(variables)
        if self._world == 1 or not values:
            return values
        for dtype in {str(v.dtype): None for v in variables}:  # in which replicas add as well
            places = [i for i, v in enumerate(variables) if str(v.dtype) == dtype]
            flat = F.concat([F.asarray(values[i]).reshape(-1) for i in places], axis=0)
            everywhere = self._sum(flat, "sums of Variables").numpy()
            ends = np.cumsum([values[i].size for i in places])[:-1]
            for i, total in zip(places, np.split(everywhere, ends), strict=True):
                values[i] = total.reshape(values[i].shape)
        return values

    @contextlib.contextmanager
    def _summed(self, variables: Iterable[Any]) -> Iterator[None]:
        parts = [v for v in variables if v.aggregation == "sum"]
        if self._world == 1 or not parts or self._is_summing:
            yield
            return
        self._require_open("the result() of a metric")
        own = [v._parts() for v in parts]
        try:
            totals = self._totals(parts)
        except _native.DistributedError as error:
            add_line(error)
            add_remark(error, "; every process calls the result() of a metric, not the chief alone")
            raise
        self._is_summing = True
        try:
            for v, total in zip(parts, totals, strict=True):
                v.assign(total)
            yield
        finally:
            self._is_summing = False
            for v, of_replicas in zip(parts, own, strict=True):
                v._assign_parts(of_replicas)

    def _require_open(self, what: str) -> None:
        if self._world > 1:
            self._open(what)

    def _busy(self, what: str) -> contextlib.AbstractContextManager[None]:
        return contextlib.nullcontext() if self._world == 1 else self._open(what).busy(what)

    def _sum(self, x: Any, what: str) -> Any:
        return x if self._world == 1 else self._on_first(_total_of(what), x)

    def _count(self, here: int, what: str) -> int:
        if self._world == 1:
            return here
        return sum(self._numbers([here] + [0] * (len(self.devices) - 1), what))

    def _on_first(self, fn: Any, x: Any) -> Any:
        """`fn` on all replicas, where the first of each process has `x` and the others zeros."""
        nothing = -F.zeros_like(x) if x.dtype.kind == "float" else F.zeros_like(x)  # x + -0 is x
        parts = [x, *[nothing] * (len(self.devices) - 1)]
        given = _values.PerReplica(parts) if len(parts) > 1 else x
        return self.experimental_local_results(self.run(fn, (given,)))[0]

    def _first_rows(self, rows: Sequence[int]) -> list[int]:
        if self._world == 1:
            return super()._first_rows(rows)
        everyone = self._group.all_gather([int(r) for r in rows])
        before = sum(everyone[: self._first_replica])
        return [before + first for first in super()._first_rows(rows)]

    def _sizes_of_all(self, sizes: Sequence[int], name: str) -> tuple[int, ...]:
        if self._world == 1:
            return super()._sizes_of_all(sizes, name)
        return tuple(self._numbers(list(sizes), f"sizes of arguments of {name}"))

    def _workers(self, what: str = "the next batch of a dataset") -> _input.Workers:
        if self._world == 1:
            return super()._workers()
        agree = functools.partial(self._largest, what=what)
        rank, read = self.environment.rank, self._open(what).read_input
        together = self._reproducible
        return _input.Workers(len(self.devices), self._world, rank, agree, together, read)

    def _largest(self, number: int, what: str) -> int:
        """The largest of a number of each process."""
        return max(self._numbers([number] * len(self.devices), what))

    def _numbers(self, numbers: list[int], operation: str) -> list[int]:
        """One of every replica of all processes; `numbers` are those of this one's."""
        with self._open(operation).guard(operation):
            everyone: list[int] = self._group.all_gather(numbers, operation)
        return everyone

    def _begin_run(self, function: ReplicaFunction) -> contextlib.AbstractContextManager[None]:
        run: contextlib.AbstractContextManager[None] = contextlib.nullcontext()
        if self._world > 1:
            own = _exchanges.get(function._fn)
            run = self._guarded(own or f"strategy.run of {function.name}", own is None)
        return run if self._simulation is None else self._simulation.running(function, run)

    @contextlib.contextmanager
    def _guarded(self, what: str, is_step: bool) -> Iterator[None]:
        control = self._open("strategy.run")
        if is_step:
            self._traced_before = self._traced
            control.begin_step()
        with control.guard(what):
            yield

    def _ran(self, function: ReplicaFunction) -> None:
        if self._world > 1 and function._fn not in _exchanges:
            # Exchanges of ours are no step of the user's, and one that was traced is like no other.
            is_like_others = self._traced == self._traced_before
            self._open("strategy.run").end_step(is_like_others, self._is_opaque)

    def _label_of(self, function: ReplicaFunction) -> str:
        if self._control is None:
            return ""
        if function._fn in _exchanges:
            return _exchanges[function._fn]
        return f"{function.name} (graph {self._traced + 1})"  # the number that all agree on

    def _traced_for_all(self, name: str, compiled: Any) -> None:
        control = self._control
        if control is None:
            return
        self._traced += 1
        fingerprint, lines = compiled.fingerprint()
        # The name is compared, not what ranks meet under: else those that run different functions
        # would wait for each other.
        lines, whole = [f"graph of {name}", *lines], name.encode() + b"\0" + fingerprint
        try:
            control.agree(f"graph {self._traced}", lines, fingerprint=whole)
        except _native.DistributedError as error:
            add_line(error)
            add_remark(error, f"; here it is that of {name}")
            raise
        fresh = [v for v in compiled.variables if v.id not in self._shared]
        self._shared.update(v.id for v in fresh)
        _replicas.note_parts((v for v in fresh if v.aggregation == "sum"), self)
        # Parts are made where they lie, of the slot's first value.
        if equal := [v for v in fresh if v.aggregation != "sum" and v.num_parts == 1]:
            self._group.broadcast_variables(equal)


# Places in jobs that strategies of this process have; a forked process starts with none.
_taken: set[tuple[Any, ...]] = set()


def _place(worker: WorkerEnvironment) -> tuple[Any, ...]:
    return os.getpid(), worker.rendezvous, worker.rank


def _require_first(place: tuple[Any, ...]) -> None:
    # The store would refuse the rank as taken by another process, which is this very one.
    if place in _taken:
        raise RuntimeError(
            at_line(
                "MultiWorkerMirroredStrategy: this process has made one already, as rank "
                f"{place[-1]}; a process joins its job once: use the first strategy for all that "
                "it trains"
            )
        )


def _connect(worker: WorkerEnvironment) -> Control:
    if worker.rendezvous is None:
        raise ValueError(
            at_line(
                f"MultiWorkerMirroredStrategy: {worker.launcher} does not say where processes "
                "meet; set OSTRIA_RENDEZVOUS to host:port of rank 0, the same in all processes"
            )
        )
    address, port = split_address(worker.rendezvous)
    store = os.environ.get("OSTRIA_STORE", "")
    if store not in ("", "launcher"):
        raise ValueError(
            at_line(
                f"MultiWorkerMirroredStrategy: OSTRIA_STORE is '{store[:40]}'; it is 'launcher' "
                "where `ostria launch` serves the job's store, else rank 0 does: unset it"
            )
        )
    return Control(
        worker.rank,
        worker.world_size,
        job=os.environ.get("OSTRIA_JOB_ID") or f"{worker.launcher} {worker.rendezvous}",
        address=address,
        port=port,
        generation=int(os.environ.get("OSTRIA_GENERATION") or worker.restart_count + 1),
        serve=worker.rank == 0 and not store,
    )


def _record_folder(record_dir: str | os.PathLike[str] | None) -> str:
    """The folder of flight records, which is there and can be written; "": there are none.

    Raises:
        OSError: it cannot be made or written.
    """
    given = os.environ.get("OSTRIA_RECORD_DIR", "") if record_dir is None else record_dir
    folder = os.fspath(given)
    if not folder:
        return ""
    source = "OSTRIA_RECORD_DIR" if record_dir is None else "record_dir"
    why = ""
    try:
        os.makedirs(folder, exist_ok=True)
    except OSError as error:
        why = error.strerror or str(error)
    if not why and not os.access(folder, os.W_OK | os.X_OK):
        why = "this user may not write there"
    if why:
        raise OSError(
            at_line(
                f"MultiWorkerMirroredStrategy: {source}: no flight record can be written to "
                f"'{folder}': {why}; give a folder that every process may make and write, such "
                "as 'records', or leave it out"
            )
        )
    return folder


def _patience(control: Control) -> float:
    """Of the data path: it knows less of a failure than the channel, and so comes second."""
    timers = control.timers
    return max(timers.no_progress, timers.first_step) + timers.dead


def _watch_exceptions(strategy: MultiWorkerMirroredStrategy) -> Callable[[], None]:
    """An exception that ends the program is told to the others before it does; until undone."""
    outer = sys.excepthook

    def hook(kind: Any, error: BaseException, where: Any) -> None:
        strategy._fail(error)
        outer(kind, error, where)

    def undo() -> None:
        if sys.excepthook is hook:
            sys.excepthook = outer

    sys.excepthook = hook
    return undo
