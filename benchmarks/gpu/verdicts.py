# SPDX-License-Identifier: Apache-2.0
"""What windows and losses say: ratios with their spread, whether everybody computed the same."""

from __future__ import annotations

import json
import math
import statistics
from typing import Any

from benchmarks import stats


def ratio(ours: list[float], theirs: list[float]) -> dict[str, float]:
    """Of medians, how many times as fast ours is; the spread is that of windows side by side."""
    spread = stats.summary([b / a for a, b in zip(ours, theirs, strict=True)])
    found = statistics.median(theirs) / statistics.median(ours)
    return {
        name: round(x, 4) for name, x in (("ratio", found), *spread.items()) if name != "median"
    }


def compare(losses: dict[str, list[float]], tolerance: float) -> dict[str, Any]:
    """How far each one's losses are from the median of all, at the worst step."""
    steps = min(len(values) for values in losses.values())
    off = dict.fromkeys(losses, 0.0)
    for i in range(steps):
        finite = [v[i] for v in losses.values() if math.isfinite(v[i])]
        middle = statistics.median(finite) if finite else math.nan
        for name, values in losses.items():
            away = abs(values[i] - middle) / max(abs(middle), 1e-3)
            off[name] = max(off[name], away if math.isfinite(away) else math.inf)
    agree = all(o <= tolerance for o in off.values())
    rounded = {n: float(f"{o:.3g}") if math.isfinite(o) else "not finite" for n, o in off.items()}
    return {"steps": steps, "tolerance": tolerance, "off": rounded, "agree": agree}


def summary(entry: dict[str, Any]) -> str:
    """One line about a case."""
    if "ratio" in entry:
        r, parts = entry["ratio"], []
        parts.append(f"{r['ratio']:.2f} ({r['p10']:.2f}..{r['p90']:.2f}) times {r['peer']}")
        if "of_copy" in entry:
            parts.append(f"{entry['of_copy']['ratio']:.2f} of a copy")
        if not entry.get("losses", {"agree": True})["agree"]:
            parts.append("LOSSES DIFFER")
        return ", ".join(parts)
    failed = {n: m["error"][:100] for n, m in entry["modes"].items() if "error" in m}
    return f"no ratio; failed: {json.dumps(failed)}"
