# SPDX-License-Identifier: Apache-2.0
"""`ostria explain-hang DIR`: which rank, and which collective, a distributed run waited for.

Reads the flight records ("rank-0.json", …) that ranks wrote when a call failed or when they were
asked. Records are compared by sequence number: the same number is the same collective on all ranks.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TextIO

_FORMAT = "ostria flight record 1"
_MAX_BYTES = 64 << 20  # a record of 1,000 collectives has some hundred kilobytes
_LEFT = "left the group"  # the reason of a record that a rank wrote as it ended
_STATES = ("scheduled", "started", "completed", "failed")


@dataclass(frozen=True)
class _Entry:
    call: str  # kind, name, size: what must be equal on all ranks
    state: str
    started: int  # nanoseconds of the rank's own monotonic clock; 0: not yet
    ended: int
    error: str

    @property
    def entered(self) -> bool:
        return self.state != "scheduled"


@dataclass(frozen=True)
class _Record:
    rank: int
    size: int
    label: str
    reason: str
    taken: int  # when it was written, monotonic nanoseconds
    entries: dict[int, _Entry]

    @property
    def last(self) -> int:
        """The latest collective that this rank entered; -1 for none."""
        return max((s for s, e in self.entries.items() if e.entered), default=-1)


@dataclass
class _Verdict:
    kind: str  # "mismatch", "missing", "not_entered", "inside", "none"
    ranks: list[int] = field(default_factory=list)
    sequence: int | None = None  # as in the records; texts count from 1, as errors of ranks do
    text: str = ""


def explain_hang(folder: str, *, as_json: bool, out: TextIO) -> int:
    """Prints who is at fault; 0 where nobody is, 1 where somebody is, 2 where nothing was readable.

    Args:
        folder: where the ranks' records lie.
        as_json: one JSON object instead of lines for people.
        out: where to.

    Example:
        >>> import io
        >>> from ostria.cli.explain_hang import explain_hang
        >>> text = io.StringIO()
        >>> explain_hang("no/such/folder", as_json=False, out=text)
        2
        >>> "no/such/folder" in text.getvalue()
        True
    """
    records, problems = _load(Path(folder))
    if not records:
        problems = problems or [f"'{folder}' has no flight records (rank-0.json, …)"]
        finding: dict[str, Any] = {"verdict": "unreadable", "ranks": [], "problems": problems}
        lines = [
            *(f"Problem: {p}." for p in problems),
            "Nothing to compare; give the folder that the error of a rank names.",
        ]
        status = 2
    else:
        finding, lines = _explain(records, problems)
        status = 0 if finding["verdict"] == "none" else 1
    if as_json:
        json.dump(finding, out, indent=2)
        out.write("\n")
    else:
        out.write("\n".join(lines) + "\n")
    return status


def _load(folder: Path) -> tuple[dict[int, _Record], list[str]]:
    records: dict[int, _Record] = {}
    problems = []
    if not folder.is_dir():
        return {}, [f"there is no folder '{folder}'"]
    for path in sorted(folder.glob("rank-*.json")):
        try:
            if path.stat().st_size > _MAX_BYTES:
                problems.append(f"{path.name} has more than {_MAX_BYTES >> 20} MB; it is left out")
                continue
            record = _parse(json.loads(path.read_bytes().decode(errors="replace")))
        except (OSError, ValueError, RecursionError) as error:
            problems.append(f"{path.name} cannot be read: {error}")
            continue
        if record.rank in records:
            problems.append(f"{path.name} is of rank {record.rank}, which another file is of too")
        elif records and record.size != next(iter(records.values())).size:
            problems.append(f"{path.name} is of a run with {record.size} ranks; it is left out")
        else:
            records[record.rank] = record
    return records, problems


def _require(true: bool, otherwise: str) -> None:
    if not true:
        raise ValueError(otherwise)


def _take(table: Any, name: str, kind: type, default: Any = None) -> Any:
    value = table.get(name, default) if isinstance(table, dict) else None
    _require(
        isinstance(value, kind) and not isinstance(value, bool),
        f"'{name}' should be {kind.__name__}",
    )
    return value


def _parse(data: Any) -> _Record:
    """A record whose every field has its type; raises ValueError where one has not."""
    _require(_take(data, "format", str) == _FORMAT, f"its format is not '{_FORMAT}'")
    rank, size = _take(data, "rank", int), _take(data, "size", int)
    _require(0 <= rank < size <= 1_000_000, f"it is of rank {rank} of {size}")
    entries = {}
    for item in _take(data, "collectives", list):
        state = _take(item, "state", str)
        _require(state in _STATES, f"there is no state '{state[:20]}'")
        call = f"{_take(item, 'kind', str)} '{_take(item, 'name', str)}'"
        if not call.startswith("barrier"):
            call += f" of {_take(item, 'count', int)} {_take(item, 'dtype', str)}"
        if "reduction" in item:
            call += f" ({_take(item, 'reduction', str)})"
        if "root" in item:
            call += f" (from rank {_take(item, 'root', int)})"
        entries[_take(item, "sequence", int)] = _Entry(
            call,
            state,
            _take(item, "started_ns", int),
            _take(item, "ended_ns", int),
            _take(item, "error", str, ""),
        )
    host = _take(data, "host", str)
    label = f"rank {rank} ({host})" if host else f"rank {rank}"
    reason, taken = _take(data, "reason", str), _take(data, "monotonic_ns", int)
    return _Record(rank, size, label, reason, taken, entries)


def _explain(records: dict[int, _Record], problems: list[str]) -> tuple[dict[str, Any], list[str]]:
    size = next(iter(records.values())).size
    absent = [r for r in range(size) if r not in records]
    verdict = _mismatch(records) or _hang(records, absent)
    slowest = _slowest(records)
    finding = {
        "verdict": verdict.kind,
        "ranks": verdict.ranks,
        "sequence": verdict.sequence,
        "text": verdict.text,
        "without_record": absent,
        "last_entered": {str(r): record.last for r, record in sorted(records.items())},
        "slowest": slowest,
        "problems": problems,
    }
    lines = []
    for _, record in sorted(records.items()):
        entry = record.entries.get(record.last)
        did = "entered no collective" if entry is None else f"#{record.last + 1} {entry.call}"
        lines.append(f"{record.label}: {did}" + (f", {entry.state}" if entry else ""))
    if absent:
        lines.append(f"{_several(absent)}: no record")
    if slowest:
        lines.append(
            f"Slowest: rank {slowest['rank']} came last to {slowest['last']} of "
            f"{slowest['of']} collectives; the others waited {slowest['waited_s']:.3f} s for it."
        )
    lines += [f"Problem: {p}." for p in problems]
    lines.append(f"Verdict: {verdict.text}.")
    return finding, lines


def _several(ranks: Iterable[int]) -> str:
    ranks = list(ranks)
    shown = ", ".join(str(r) for r in ranks[:8]) + (", …" if len(ranks) > 8 else "")
    return f"rank {shown}" if len(ranks) == 1 else f"ranks {shown}"


def _mismatch(records: dict[int, _Record]) -> _Verdict | None:
    """The first collective that is not the same on all ranks that entered it."""
    for sequence in sorted({s for record in records.values() for s in record.entries}):
        calls = {
            r: record.entries[sequence].call
            for r, record in sorted(records.items())
            if sequence in record.entries and record.entries[sequence].entered
        }
        counts = Counter(calls.values())
        if len(counts) < 2:
            continue
        # With as many on each side the lower rank is taken to be right.
        usual = max(counts, key=lambda call: (counts[call], -list(calls.values()).index(call)))
        wrong = [r for r, call in calls.items() if call != usual]
        right = [r for r, call in calls.items() if call == usual]
        text = (
            f"{_several(wrong)} entered {calls[wrong[0]]} as collective #{sequence + 1}, where "
            f"{_several(right)} entered {usual}; every rank must run the same program"
        )
        return _Verdict("mismatch", wrong, sequence, text)
    return None


def _hang(records: dict[int, _Record], absent: list[int]) -> _Verdict:
    """Who did not enter the furthest collective that somebody entered."""
    furthest = max(record.last for record in records.values())
    inside = {
        r: record.entries[furthest]
        for r, record in records.items()
        if record.last == furthest and furthest >= 0
    }
    waiting = [r for r, e in inside.items() if e.state != "completed"]
    late = sorted(r for r, record in records.items() if record.last < furthest)
    if late:
        least = min(records[r].last for r in late)
        culprits = [r for r in late if records[r].last == least]
        next_one = least + 1
        call = next(
            (e.call for record in records.values() for s, e in record.entries.items()
             if s == next_one and e.entered),
            "",
        )  # fmt: skip
        own = records[culprits[0]].entries.get(least)
        if all(records[r].reason == _LEFT for r in culprits):
            when = "before its first collective"
            if own is not None:
                when = f"after #{least + 1} {own.call}"
            text = (
                f"{_several(culprits)} ended {when}, and others went on to #{next_one + 1} {call}; "
                "all ranks must make the same number of calls"
            )
            return _Verdict("not_entered", culprits, next_one, text)
        if own is not None and own.state == "started":
            doing = f"its last, #{least + 1} {own.call}, is not completed"
        elif own is not None and own.state == "failed":
            doing = f"its last, #{least + 1} {own.call}, failed: {own.error}"
        elif own is not None:
            idle = (records[culprits[0]].taken - own.ended) / 1e9
            doing = f"it completed #{least + 1} {own.call} {idle:.3f} s before its record was taken"
        else:
            doing = "it has entered none"
        text = f"{_several(culprits)} did not enter collective #{next_one + 1} {call}".rstrip()
        return _Verdict("not_entered", culprits, next_one, f"{text}; {doing}")
    if absent and (waiting or furthest < 0):
        where = f"#{furthest + 1} {inside[waiting[0]].call}" if waiting else "the first collective"
        text = (
            f"{_several(absent)} left no record, and all others are at {where}: it was killed, "
            "or its host cannot be reached; see its log"
        )
        return _Verdict("missing", absent, furthest if waiting else None, text)
    if waiting:
        started = [r for r in waiting if inside[r].state == "started"]
        failed = sorted(r for r in waiting if inside[r].state == "failed")
        call = f"#{furthest + 1} {inside[waiting[0]].call}"
        if failed:
            first = failed[0]
            text = f"all ranks entered {call}, and it failed: {inside[first].error}"
            return _Verdict("inside", failed, furthest, text)
        last = min(started, key=lambda r: records[r].taken - inside[r].started)
        text = (
            f"all ranks are inside {call}; rank {last} entered it last. The network or a stopped "
            "process is at fault, not the program"
        )
        return _Verdict("inside", [last], furthest, text)
    return _Verdict("none", text="all ranks completed the same collectives; nobody is at fault")


def _slowest(records: dict[int, _Record]) -> dict[str, Any] | None:
    """Who was waited for most: a rank that comes last spends the least time in a collective.

    Durations, not times of day, are compared, so clocks of hosts need not agree.
    """
    if len(records) < 2:
        return None
    common = set.intersection(
        *(
            {s for s, e in record.entries.items() if e.state == "completed"}
            for record in records.values()
        )
    )
    came_last: Counter[int] = Counter()
    waited: Counter[int] = Counter()
    for sequence in common:
        spent = {
            r: record.entries[sequence].ended - record.entries[sequence].started
            for r, record in records.items()
        }
        last = min(spent, key=lambda r: (spent[r], r))
        came_last[last] += 1
        waited[last] += max(spent.values()) - spent[last]
    if not common:
        return None
    rank = max(waited, key=lambda r: (waited[r], -r))
    return {
        "rank": rank,
        "last": came_last[rank],
        "of": len(common),
        "waited_s": waited[rank] / 1e9,
    }
