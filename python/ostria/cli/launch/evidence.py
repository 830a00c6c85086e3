# SPDX-License-Identifier: Apache-2.0
"""What the kernel says about a process that was killed: was it for want of memory?

Control groups of both versions count the processes that the out-of-memory killer ended. A count
that rose between two looks is evidence; the limits say what to raise.
"""

from __future__ import annotations

import resource
from dataclasses import dataclass
from pathlib import Path

_PROC = Path("/proc")
_GROUPS = Path("/sys/fs/cgroup")
# Version 1 writes "no limit" as the largest number of whole pages.
_NO_LIMIT = 1 << 60


@dataclass(frozen=True)
class MemoryGroup:
    """A process's control group for memory, as it was at one time. Bytes; None where not known."""

    path: str
    oom_kills: int
    limit: int | None
    peak: int | None


def find_group(pid: int, proc: Path = _PROC, groups: Path = _GROUPS) -> Path | None:
    """The folder of the control group that counts for a process, or None where there is none."""
    try:
        lines = (proc / str(pid) / "cgroup").read_text().splitlines()
    except OSError:
        return None
    second = None
    for line in lines:
        _, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if "memory" in controllers.split(","):
            found = _upwards(groups / "memory", path, "memory.oom_control")
            if found:
                return found[0]
        elif not controllers:
            second = path
    found = _upwards(groups, second, "memory.events") if second is not None else []
    return found[0] if found else None


def read_group(folder: Path, groups: Path = _GROUPS) -> MemoryGroup:
    """What a control group counts now, and the tightest limit of it and of those around it."""
    first = (folder / "memory.oom_control").is_file()
    root = groups / "memory" if first else groups
    limit = "memory.limit_in_bytes" if first else "memory.max"
    path = str(folder.relative_to(root))
    return MemoryGroup(
        path=str(folder),
        oom_kills=_counter(folder / ("memory.oom_control" if first else "memory.events")),
        limit=_least([_number(f / limit) for f in _upwards(root, path, limit)]),
        peak=_number(folder / ("memory.max_usage_in_bytes" if first else "memory.peak")),
    )


def count_oom_kills(proc: Path = _PROC) -> int:
    """Processes of this machine that the out-of-memory killer has ended since it was started."""
    return _counter(proc / "vmstat")


def _upwards(root: Path, path: str, name: str) -> list[Path]:
    """The folders from that of the group to the root that hold a file. In a container only some of
    the path may be mounted."""
    folder = root / path.lstrip("/")
    folders = [folder, *folder.parents]
    return [f for f in folders[: folders.index(root) + 1] if (f / name).is_file()]


def _counter(file: Path) -> int:
    try:
        words = [line.split() for line in file.read_text().splitlines()]
    except OSError:
        return 0
    return next((int(w[1]) for w in words if w[0] == "oom_kill" and w[1].isdigit()), 0)


def _number(file: Path) -> int | None:
    try:
        text = file.read_text().strip()
    except OSError:
        return None
    return int(text) if text.isdigit() else None


def _least(limits: list[int | None]) -> int | None:
    return min((n for n in limits if n is not None and n < _NO_LIMIT), default=None)


def say_why_killed(
    before: MemoryGroup | None, after: MemoryGroup | None, elsewhere: int, peak: int
) -> str:
    """A sentence on SIGKILL.

    Args:
      before, after: the process's group while it ran, and at its end.
      elsewhere: processes of the whole machine that were killed for want of memory meanwhile.
      peak: most bytes of memory that the process held.
    """
    held = f"the process held at most {_size(peak)}"
    limit = resource.getrlimit(resource.RLIMIT_AS)[0]
    if limit != resource.RLIM_INFINITY:
        held += f" (RLIMIT_AS is {_size(limit)})"
    group, rise = "any control group that can be read", 0
    if before is not None and after is not None:
        rise = after.oom_kills - before.oom_kills
        allowed = f"limit {_size(after.limit)}" if after.limit is not None else "no limit"
        reached = f", at most {_size(after.peak)} used" if after.peak is not None else ""
        group = f"control group {after.path} ({allowed}{reached})"
    if rise > 0:
        return (
            f"the kernel's out-of-memory killer ended {rise} process(es) in {group}; {held}; raise "
            "the limit, or make batches smaller"
        )
    if elsewhere > 0:
        return (
            f"the kernel's out-of-memory killer ended {elsewhere} process(es) of this machine "
            f"meanwhile, none of them in {group}; {held}; dmesg says which"
        )
    return f"the out-of-memory killer ended nothing in {group}; {held}; somebody sent the signal"


def _size(count: int) -> str:
    return f"{count / 2**20:.0f} MiB"
