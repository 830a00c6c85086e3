# SPDX-License-Identifier: Apache-2.0
"""A record of `bench` as tables: who is faster by how much, and what our steps spend time on."""

from __future__ import annotations

from typing import Any

from benchmarks import stats

HEAD = [
    *("case", "best peer", "unit", "ours", "theirs", "ratio", "p10..p90", "target", ""),
    *("MFU", "theirs", "MB", "theirs", "first s", "warm", "losses"),
]
LONGEST = 8  # kinds of nodes of each case


def _verdict(ratio: float, target: float | None) -> list[str]:
    if target is None:
        return ["-", ""]
    return [f"{target:g}", "met" if ratio >= target else "MISSED"]


def _number(found: dict[str, Any], name: str) -> str:
    return stats.number(found.get(name))


def row(label: str, entry: dict[str, Any]) -> list[str] | None:
    """One line of the table; none where there is no ratio."""
    if "ratio" not in entry:
        return None
    r, modes = entry["ratio"], entry["modes"]
    ours = next(found for name, found in modes.items() if name.startswith("ostria "))
    theirs = modes[r["peer"]]
    losses = {None: "-", True: "agree", False: "DIFFER"}[entry.get("losses", {}).get("agree")]
    return [
        *(label, r["peer"], entry["unit"], _number(ours, "rate"), _number(theirs, "rate")),
        *(f"{r['ratio']:.2f}", f"{r['p10']:.2f}..{r['p90']:.2f}"),
        *_verdict(r["ratio"], r["target"]),
        *(_number(ours, "mfu"), _number(theirs, "mfu")),
        *(_number(ours, "peak_mb"), _number(theirs, "peak_mb")),
        *(_number(ours, "first_step_s"), _number(ours, "warm_first_step_s"), losses),
    ]


def copies(results: dict[str, Any]) -> list[list[str]]:
    """Memory-bound kernels beside a copy of as many bytes."""
    rows = []
    for label, entry in results.items():
        share = entry.get("of_copy") if isinstance(entry, dict) else None
        if share:
            modes = entry["modes"]
            rates = [_number(modes[n], "rate") for n in ("ostria compile", "torch copy")]
            verdict = _verdict(share["ratio"], share["target"])
            rows.append([label, "GB/s", "", *rates, f"{share['ratio']:.2f}", *verdict])
    return rows


def nodes(label: str, entry: dict[str, Any]) -> list[str]:
    """Where the time of our step goes, most first."""
    profile = entry.get("profile", {})
    total = profile.get("sum_us")
    if not total:
        return []
    lines = [f"{label}: {profile['nodes']} nodes, {total:,.0f} us one by one"]
    for name, count, us in profile.get("by_kind", [])[:LONGEST]:
        lines.append(f"  {100 * us / total:5.1f} % {us:10,.1f} us {count:5} x {name}")
    return lines


def failures(results: dict[str, Any]) -> list[str]:
    """What failed, with the first line of its words."""
    found = []
    for label, entry in results.items():
        if not isinstance(entry, dict):
            continue
        if "error" in entry:
            found.append(f"{label}: {entry['error'].splitlines()[0]}")
        for name, mode in entry.get("modes", {}).items():
            if "error" in mode:
                found.append(f"{label}, {name}: {mode['error'].splitlines()[0]}")
    return found


def text(data: dict[str, Any]) -> str:
    """All of it."""
    results = data["results"]
    entries = {k: v for k, v in results.items() if isinstance(v, dict) and "modes" in v}
    rows = [r for label, entry in entries.items() if (r := row(label, entry))]
    parts = [f"{data['device'] or 'no GPU'}, {data['date']}, commit {data['commit'][:12]}"]
    if rows:
        parts.append(stats.table([HEAD, *rows]))
    if yardstick := copies(entries):
        head = ["kernel", "unit", "", "ours", "copy", "share", "target", ""]
        parts.append(stats.table([head, *yardstick]))
    by_hand = [f"{k}: {results[k]}" for k in ("launches", "layer") if k in results]
    parts += ["\n".join(lines) for label, e in entries.items() if (lines := nodes(label, e))]
    parts += by_hand
    if failed := failures(results):
        parts.append("failed:\n" + "\n".join(f"  {line}" for line in failed))
    return "\n\n".join(parts)
