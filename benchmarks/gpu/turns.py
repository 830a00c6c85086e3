# SPDX-License-Identifier: Apache-2.0
"""Who is faster: ours and the peers in processes of their own, one window each in turn.

Ours starts alone, so that its first step is its own. Then the peers load and compile side by side,
as many as the memory holds, and each is probed with a few windows. The best of them and ours then
take turns for the full number. Every figure is in the record as soon as it is known; a process
that fails or is late leaves its words there. What a record already holds is not measured again.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks import stats
from benchmarks.child import WorkerError
from benchmarks.gpu import cases, kernels
from benchmarks.gpu.processes import Worker
from benchmarks.gpu.record import Record
from benchmarks.gpu.verdicts import compare, ratio, summary

OURS = "ostria"
RESERVED = 25.0  # seconds of a case that are kept for the last windows
SLOW = "max_autotune"
LOUD = ("compile", SLOW)  # modes that keep the processors busy before they use the GPU


@dataclass(frozen=True)
class Protocol:
    """How long to measure."""

    windows: int = 7
    seconds: float = 0.4
    probes: int = 3
    probe_seconds: float = 0.25
    profile: int = 10  # runs


KERNELS = Protocol(seconds=0.12, probe_seconds=0.06)  # of steps of less than a millisecond
SHORT = Protocol(windows=5, seconds=0.02, probes=2, probe_seconds=0.01, profile=2)


@dataclass
class Member:
    """One mode of one process, in one case."""

    worker: Worker
    mode: str

    @property
    def name(self) -> str:
        """What the record calls it."""
        return f"{self.worker.framework} {self.mode}"


class Session:
    """Measures cases into a record, within a budget of seconds."""

    start: Callable[..., Worker] = Worker  # a test has its own

    def __init__(
        self,
        record: Record,
        budget: float,
        protocol: Protocol | None = None,
        devices: tuple[str, str] = ("cuda", "cuda"),  # ours, the peers'
        is_tiny: bool = False,
        frameworks: Iterable[str] = (OURS, "torch", "jax"),
        skip: Iterable[str] = (),
        cache: Path | None = None,  # kept, so that first steps are warm
    ):
        self._record, self._protocol = record, protocol or Protocol()
        self._budget = budget
        self._case_end = time.monotonic() + budget
        self._devices, self._tiny = devices, is_tiny
        self._frameworks, self._skip = set(frameworks), set(skip)
        self._folder: Any = None
        if cache is None:
            self._folder = tempfile.TemporaryDirectory(prefix="ostria-gpu-bench-")
        self._cache = cache.resolve() if cache else Path(self._folder.name)
        self._cache.mkdir(parents=True, exist_ok=True)
        self._alive: list[Worker] = []
        self._kept: dict[str, Worker] = {}  # by framework
        self._left_over: list[cases.Group] = []  # modes of processes that died
        self._tried_again: set[str] = set()
        self._rest: dict[int, list[str]] = {}  # modes that a process has before it

    # --- Processes --------------------------------------------------------------------------------

    def _left(self) -> float:
        """Seconds of this case; never so few that an answer on its way is missed."""
        return max(1.0, self._case_end - time.monotonic())

    def _patience(self, end: float | None = None) -> float:
        """Seconds that a peer may take to answer."""
        reserved = min(RESERVED, 0.2 * self._budget)
        left = (self._case_end if end is None else end) - time.monotonic() - reserved
        if left <= 0:
            raise WorkerError("no time is left for it in the budget")
        return left

    def _started(self, framework: str, keep: bool) -> Worker:
        """A process that has begun to load, or one that serves all cases."""
        if framework in self._kept:
            return self._kept[framework]
        device = self._devices[0 if framework == OURS else 1]
        worker = type(self).start(framework, device, str(self._cache))
        self._alive.append(worker)
        if keep:
            self._kept[framework] = worker
        return worker

    def _stop(self, worker: Worker) -> None:
        if worker in self._alive:
            self._alive.remove(worker)
            worker.close()
        self._kept = {f: w for f, w in self._kept.items() if w is not worker}

    def close(self) -> None:
        """Ends all processes and removes what they compiled, unless it is to be kept."""
        for worker in list(self._alive):
            self._stop(worker)
        if self._folder is not None:
            self._folder.cleanup()

    # --- One case ---------------------------------------------------------------------------------

    def run(self, all_cases: list[cases.Case], keep: bool = False) -> None:
        """Measures cases one after another, the first ones in full.

        Modes that take minutes get no more than what is left of a case's equal share.
        """
        for i, case in enumerate(all_cases):
            begin = time.monotonic()
            self._share_end = begin + (self._case_end - begin) / (len(all_cases) - i)
            if begin >= self._case_end:
                print(f"{case.label}: no time is left for it in the budget", flush=True)
                continue
            try:
                self._measure(case, keep, i == 0)
            finally:
                for worker in list(self._alive):
                    if worker not in self._kept.values():
                        self._stop(worker)

    def _measure(self, case: cases.Case, keep: bool, is_first: bool) -> None:
        entry = self._record.entry(
            case.label,
            {
                **{"unit": case.unit, "items_per_step": case.items, "target": case.target},
                **{"precision": case.precision, "batch": case.batch},
                "cache": "new" if self._folder is not None else "kept",
            },
        )
        if "ratio" in entry:
            return
        modes = entry.setdefault("modes", {})
        ours = None
        if OURS in self._frameworks:
            ours = self._ours(case, entry, keep)
        pending = [
            (framework, tuple(m for m in names if self._is_wanted(modes, framework, m)))
            for framework, names in case.groups
            if framework in self._frameworks
        ]
        pending = [group for group in pending if group[1]]
        best: Member | None = None
        waves = self._waves(pending, modes.get(f"{OURS} {case.ours}"))
        while waves:
            best = self._probe_wave(case, entry, waves.pop(0), best, keep)
            waves += [[group] for group in self._left_over]
            self._left_over = []
        best = self._again(case, entry, best, keep)
        if ours and best:
            self._decide(case, entry, ours, best)
        self._judge_losses(case, entry)
        self._record.save()
        if ours and is_first and not keep:
            self._start_warm(case, entry)
        print(f"{case.label}: {summary(entry)}", flush=True)

    def _is_wanted(self, modes: dict[str, Any], framework: str, mode: str) -> bool:
        known = modes.get(f"{framework} {mode}")
        return mode not in self._skip and (known is None or "error" in known)

    def _ours(self, case: cases.Case, entry: dict[str, Any], keep: bool) -> Member | None:
        member = self._made(case, entry, OURS, case.ours, keep)
        if member is None or not self._probe(case, entry, [member]):
            return None
        worker = member.worker
        if "error" in entry.get("profile", {"error": "none yet"}):
            try:
                worker.tell(mode=case.ours, profile=self._protocol.profile)
                entry["profile"] = worker.answer(self._left())
            except (WorkerError, OSError) as error:
                entry["profile"] = {"error": str(error)[:2500]}
                self._stop(worker)
                member = self._made(case, entry, OURS, case.ours, keep)
                if member is None or not self._probe(case, entry, [member]):
                    return None
                worker = member.worker
        self._record.ran(
            "timed" if case.name in kernels.NAMES else "ran", "kernels", worker.loaded()
        )
        if case.model and not self._tiny:
            self._record.ran("timed", "models", [case.model])
        return member

    def _made(
        self, case: cases.Case, entry: dict[str, Any], framework: str, mode: str, keep: bool
    ) -> Member | None:
        """One mode, made alone."""
        member = Member(self._started(framework, keep), mode)
        try:
            member.worker.loaded_within(self._left())
            member.worker.begin(case, mode, self._tiny)
        except (WorkerError, OSError) as error:
            self._fail(entry, member, error)
            return None
        return member if self._answered(entry, member, self._left()) else None

    def _answered(self, entry: dict[str, Any], member: Member, timeout: float) -> bool:
        try:
            answer = member.worker.answer(timeout)
        except (WorkerError, OSError) as error:
            self._fail(entry, member, error)
            return False
        entry["modes"][member.name] = {**answer, "side_by_side": len(self._alive)}
        self._record.save()
        return True

    def _fail(self, entry: dict[str, Any], member: Member, error: Exception) -> None:
        """Notes why, and ends the process; modes that it had before it are left to another."""
        before = entry["modes"].get(member.name, {})
        entry["modes"][member.name] = {**before, "error": str(error)[:2500]}
        rest = self._rest.pop(id(member.worker), [])
        # Others held memory that it may have later.
        is_full = "memory" in str(error).lower() and len(self._alive) > 2
        if is_full and member.name not in self._tried_again:
            self._tried_again.add(member.name)
            rest.insert(0, member.mode)
        if rest:
            self._left_over.append((member.worker.framework, tuple(rest)))
        self._stop(member.worker)
        self._record.save()
        print(f"  {member.name}: {str(error)[:300]}", flush=True)

    def _start_warm(self, case: cases.Case, entry: dict[str, Any]) -> None:
        """The first step of a process that finds compiled kernels and choices in the cache."""
        for worker in list(self._alive):
            self._stop(worker)
        name = f"{OURS} {case.ours}"
        if "warm_first_step_s" in entry["modes"][name] or self._case_end - time.monotonic() < 20:
            return
        worker = self._started(OURS, False)
        try:
            worker.loaded_within(self._left())
            worker.begin(case, case.ours, self._tiny)
            entry["modes"][name]["warm_first_step_s"] = worker.answer(self._left())["first_step_s"]
        except (WorkerError, OSError) as error:
            print(f"  {name}, started again: {str(error)[:300]}", flush=True)
        self._record.save()

    # --- Peers ------------------------------------------------------------------------------------

    def _waves(
        self, groups: list[cases.Group], ours: dict[str, Any] | None
    ) -> list[list[cases.Group]]:
        """Groups that may be alive at once: by what ours needed; the slow ones come alone."""
        slow = [g for g in groups if g[1][0].startswith(SLOW)]
        others = [g for g in groups if g not in slow]
        size = len(others) or 1
        need = (ours or {}).get("peak_mb") or 0.0
        if self._record.memory_mb and need:
            size = max(1, int((0.9 * self._record.memory_mb - need) / (2.5 * need + 1500)))
        waves = [others[i : i + size] for i in range(0, len(others), size)]
        return waves + [[g] for g in slow]

    def _probe_wave(
        self,
        case: cases.Case,
        entry: dict[str, Any],
        wave: list[cases.Group],
        best: Member | None,
        keep: bool,
    ) -> Member | None:
        is_slow = wave[0][1][0].startswith(SLOW)
        try:
            self._patience(self._share_end if is_slow else None)
        except WorkerError as error:
            for framework, modes in wave:
                for mode in modes:
                    entry["modes"][f"{framework} {mode}"] = {"error": str(error)}
            return best
        workers = [(self._started(framework, keep), modes) for framework, modes in wave]
        members: list[Member] = []
        for worker, modes in workers:  # they load side by side: nothing is measured yet
            self._rest[id(worker)] = list(modes[1:])
            member = Member(worker, modes[0])
            try:
                worker.loaded_within(self._patience())
                members.append(member)
            except (WorkerError, OSError) as error:
                self._rest[id(worker)] = []  # what cannot be loaded has no other modes
                for mode in modes:
                    self._fail(entry, Member(worker, mode), error)
        while members:
            made = self._make_all(case, entry, members)
            probed = self._probe(case, entry, made)
            candidates = [m for m in [best, *probed] if m and m.worker in self._alive]
            best = min(candidates, key=lambda m: _median(entry, m), default=None)
            members = [
                Member(m.worker, self._rest[id(m.worker)].pop(0))
                for m in members
                if m.worker in self._alive and self._rest.get(id(m.worker))
            ]
        for worker in list(self._alive):
            is_needed = worker.framework == OURS or (best and worker is best.worker)
            if not is_needed and worker not in self._kept.values():
                self._stop(worker)
        return best

    def _end_of(self, member: Member) -> float:
        return self._share_end if member.mode.startswith(SLOW) else self._case_end

    def _make_all(
        self, case: cases.Case, entry: dict[str, Any], members: list[Member]
    ) -> list[Member]:
        """Those that could be made. Who compiles for long begins first; others go one by one."""
        loud = [m for m in members if m.mode.startswith(LOUD)]
        order = [*loud, *(m for m in members if m not in loud)]
        begun, made = [], []
        for member in order:
            try:
                patience = self._patience(self._end_of(member))
                member.worker.begin(case, member.mode, self._tiny)
            except (WorkerError, OSError) as error:
                self._fail(entry, member, error)
                continue
            if member in loud:
                begun.append(member)
            elif self._answered(entry, member, 0.6 * patience):  # one that hangs is not all
                made.append(member)
        for member in begun:
            try:
                patience = self._patience(self._end_of(member))
            except WorkerError:
                patience = 0.0
            if self._answered(entry, member, patience):
                made.append(member)
        return made

    def _probe(
        self, case: cases.Case, entry: dict[str, Any], members: list[Member]
    ) -> list[Member]:
        """A few windows of each, in turn."""
        protocol = self._protocol
        good, windows = [], {m.name: [] for m in members}  # type: list[Member], dict[str, Any]
        for member in members:
            try:
                member.worker.calibrate(member.mode, protocol.probe_seconds, self._left())
                good.append(member)
            except (WorkerError, OSError) as error:
                self._fail(entry, member, error)
        good = self._rounds(entry, good, protocol.probes, windows)
        for member in good:
            self._note(case, entry, member, windows[member.name], True)
        return good

    def _rounds(
        self, entry: dict[str, Any], members: list[Member], count: int, windows: dict[str, Any]
    ) -> list[Member]:
        """So many windows of each in turn, each round starting one further on."""
        for turn in range(count):
            if not members:
                break
            shift = turn % len(members)
            for member in members[shift:] + members[:shift]:
                try:
                    timeout = self._left()
                    windows[member.name].append(member.worker.window(member.mode, timeout))
                except (WorkerError, OSError) as error:
                    self._fail(entry, member, error)
                    members = [m for m in members if m is not member]
        return members

    def _note(
        self,
        case: cases.Case,
        entry: dict[str, Any],
        member: Member,
        windows: list[float],
        probed: bool,
    ) -> None:
        found = entry["modes"][member.name]
        spread = stats.summary(windows)
        seconds = spread["median"] / 1e6
        found |= {
            "step_us": {name: round(us, 2) for name, us in spread.items()},
            "rate": float(f"{case.items / seconds:.5g}"),
            "windows_us": [round(us, 2) for us in windows],
            "probed": probed,
        }
        if case.flops and not self._tiny:
            found["mfu"] = round(case.flops / seconds / cases.PEAK, 4)
        self._record.save()
        text = f"{spread['median']:.1f} us, {found['rate']:g} {case.unit}"
        print(f"  {member.name}: {text}{' (probed)' if probed else ''}", flush=True)

    # --- The ratio --------------------------------------------------------------------------------

    def _again(
        self, case: cases.Case, entry: dict[str, Any], best: Member | None, keep: bool
    ) -> Member | None:
        """The best peer that the record knows; one of an earlier run is made again."""
        known = {
            name: found["step_us"]["median"]
            for name, found in entry["modes"].items()
            if "step_us" in found and not name.startswith((OURS, f"torch {kernels.COPY}"))
        }
        if not known:
            return best
        name = min(known, key=lambda n: known[n])
        if best and best.name == name:
            return best
        framework, mode = name.split(" ")
        if framework not in self._frameworks or mode in self._skip:
            return best
        member = self._made(case, entry, framework, mode, keep)
        return (self._probe(case, entry, [member]) or [best])[0] if member else best

    def _decide(self, case: cases.Case, entry: dict[str, Any], ours: Member, peer: Member) -> None:
        protocol = self._protocol
        members = [ours, peer]
        copy = Member(peer.worker, kernels.COPY)
        if "step_us" in entry["modes"].get(copy.name, {}) and kernels.COPY in copy.worker.steps:
            members.append(copy)
        windows: dict[str, list[float]] = {m.name: [] for m in members}
        for member in members:
            member.worker.fill(member.mode, protocol.seconds)
        if len(self._rounds(entry, members, protocol.windows, windows)) < len(members):
            return
        for member in members:
            self._note(case, entry, member, windows[member.name], False)
        entry["ratio"] = {"peer": peer.name, **ratio(windows[ours.name], windows[peer.name])}
        entry["ratio"]["target"] = case.target
        if copy in members:
            share = ratio(windows[ours.name], windows[copy.name])
            entry["of_copy"] = {**share, "target": case.of_copy}

    def _judge_losses(self, case: cases.Case, entry: dict[str, Any]) -> None:
        losses = {
            name: found["losses"]
            for name, found in entry["modes"].items()
            if found.get("losses") and not name.endswith(f" {kernels.COPY}")
        }
        if len(losses) < 2:
            return
        tolerance = cases.TOLERANCE.get(case.precision, 2e-2)
        entry["losses"] = compare(losses, tolerance)


def _median(entry: dict[str, Any], member: Member) -> float:
    if member.mode == kernels.COPY:
        return float("inf")  # a yardstick, no peer
    return float(entry["modes"][member.name]["step_us"]["median"])
