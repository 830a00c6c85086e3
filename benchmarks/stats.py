# SPDX-License-Identifier: Apache-2.0
"""Statistics of windows and the record format: pure functions, tested without any framework.

A record is what one mode of one framework did on one workload; a ratio compares Ostria's best mode
with the best mode of the best peer and says whether the target is met. Invariant: a ratio above 1
means that Ostria is better, whichever way the metric points.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

FORMAT = 2  # 2: `probed`
OURS = "ostria"

EXPONENT = "exponent"  # the metric of how a curve grows

# Metrics where a larger number is better; of all others a smaller one is.
_LARGER_IS_BETTER = {"steps/s", "images/s", "examples/s", "GB/s"}

# How many times as good as the best mode of the best peer we want to be.
PEER_TARGETS: dict[tuple[str, int], float] = {
    ("mlp", 1): 1.5,
    ("mlp", 32): 1.5,
    ("mlp", 128): 1.35,
    ("mlp", 512): 1.15,
    ("cnn", 32): 1.4,
    ("cnn", 128): 1.4,
    ("resnet18", 32): 1.2,
    ("resnet50", 1): 1.05,
    ("resnet50", 8): 1.05,
    ("char_gpt", 8): 1.4,
    ("lstm", 20): 1.2,
    ("wide_deep", 512): 1.5,
    ("elementwise", 1): 1.1,
    ("softmax", 1): 1.1,
    ("softmax_grad", 1): 1.1,
    ("layer_norm", 1): 1.1,
    ("layer_norm_grad", 1): 1.1,
    ("startup", 32): 2.0,
}
# Of two ranks beside PyTorch's (benchmarks/dist), at any batch or number of bytes.
RANKS_TARGETS = {"mlp_2_ranks": 1.3, "cnn_2_ranks": 1.3, "all_reduce_2_ranks": 1.0}
# Here one named peer is the yardstick.
NAMED_TARGETS: dict[str, tuple[str, float]] = {
    "eager_add": ("torch", 1.0),
    "compiled_call": ("jax", 1.0),
    "chain": ("jax", 1 / 0.7),  # at most 0.7 of its time
}
CLOSE = 1.3  # a mode this much slower than the best of its side is not measured on
# Our own budgets: at most this much.
LIMITS: dict[str, float] = {
    "executor": 50.0,
    "trace_plan": 20.0,
    "trace_plan_growth": 1.1,
    "peak_over_bound": 1.05,
    "optimizer_steps": 3.0,
    "optimizer_steps_growth": 0.0,
}

_FIELDS: dict[str, type | tuple[type, ...]] = {
    "workload": str,
    "framework": str,
    "mode": str,
    "batch": int,
    "metric": str,
    "median": (int, float),
    "p10": (int, float),
    "p90": (int, float),
    "first_step_s": (int, float, type(None)),
    "peak_rss_mb": (int, float, type(None)),
    "final_loss": (int, float, type(None)),
    "probed": bool,
}


def percentile(values: Sequence[float], share: float) -> float:
    """The value below which `share` (0..1) of `values` lie, linear between neighbours.

    Raises:
        ValueError: no values, or a share outside 0..1.
    """
    if not values:
        raise ValueError("percentile: needs at least one value")
    if not 0 <= share <= 1:
        raise ValueError(f"percentile: share {share} is not accepted; give a number from 0 to 1")
    ordered = sorted(values)
    place = share * (len(ordered) - 1)
    low = math.floor(place)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (ordered[high] - ordered[low]) * (place - low)


def summary(values: Sequence[float]) -> dict[str, float]:
    """Median, p10 and p90 of the windows."""
    return {
        "median": percentile(values, 0.5),
        "p10": percentile(values, 0.1),
        "p90": percentile(values, 0.9),
    }


def growth_exponent(sizes: Sequence[float], costs: Sequence[float]) -> float:
    """The slope of log(cost) over log(size) by least squares: 1 is linear, 0 is flat."""
    if len(sizes) != len(costs) or len(set(sizes)) < 2:
        raise ValueError("growth_exponent: needs one cost for each of at least two sizes")
    if min(sizes) <= 0 or min(costs) <= 0:
        raise ValueError("growth_exponent: sizes and costs must be positive")
    xs, ys = [math.log(s) for s in sizes], [math.log(c) for c in costs]
    mean_x, mean_y = sum(xs) / len(xs), sum(ys) / len(ys)
    spread = sum((x - mean_x) ** 2 for x in xs)
    return sum((x - mean_x) * (y - mean_y) for x, y in zip(xs, ys, strict=True)) / spread


def growth(records: Sequence[dict[str, Any]]) -> list[tuple[str, str, str, int, float]]:
    """(workload + "_growth", framework, mode, largest size, exponent) of medians over `batch`.

    Only where a mode was measured at two sizes or more.
    """
    rows = []
    for key in dict.fromkeys((r["workload"], r["framework"], r["mode"]) for r in records):
        points = [r for r in records if (r["workload"], r["framework"], r["mode"]) == key]
        sizes = [r["batch"] for r in points]
        if len(set(sizes)) > 1:
            slope = growth_exponent(sizes, [r["median"] for r in points])
            rows.append((f"{key[0]}_growth", key[1], key[2], max(sizes), slope))
    return rows


def larger_is_better(metric: str) -> bool:
    """Whether more of `metric` is better."""
    return metric in _LARGER_IS_BETTER


def check_record(record: dict[str, Any]) -> None:
    """Raises ValueError where a field is missing, has the wrong type or is not finite."""
    for field, accepted in _FIELDS.items():
        if field not in record:
            raise ValueError(f"record: field '{field}' is missing in {record}")
        value = record[field]
        if not isinstance(value, accepted) or isinstance(value, bool) != (accepted is bool):
            raise ValueError(f"record: field '{field}' has the value {value!r} of the wrong type")
        if isinstance(value, float) and not math.isfinite(value):
            raise ValueError(
                f"record: field '{field}' is {value}; only finite numbers are accepted"
            )
    if not record["p10"] <= record["median"] <= record["p90"]:
        raise ValueError(f"record: p10 <= median <= p90 does not hold in {record}")


def same_losses(records: Sequence[dict[str, Any]], tolerance: float) -> list[str]:
    """One line for every record whose loss is further than `tolerance` (relative) from the others'.

    Records are compared within one (workload, batch), with the median of their losses.
    """
    problems = []
    for key in dict.fromkeys((r["workload"], r["batch"]) for r in records):
        group = [r for r in records if (r["workload"], r["batch"]) == key]
        losses = [r["final_loss"] for r in group if r["final_loss"] is not None]
        if not losses:
            continue
        middle = percentile(losses, 0.5)
        for r in group:
            loss = r["final_loss"]
            if loss is not None and not abs(loss - middle) <= tolerance * max(abs(middle), 1e-3):
                problems.append(
                    f"{r['workload']} batch {r['batch']}: {r['framework']} ({r['mode']}) has "
                    f"the loss {loss:.6g} after the same steps, the others {middle:.6g}"
                )
    return problems


def best(records: Sequence[dict[str, Any]]) -> dict[str, Any] | None:
    """The record with the best median; None of none. All must have one metric."""
    if not records:
        return None
    metrics = {r["metric"] for r in records}
    if len(metrics) != 1:
        raise ValueError(f"best: records of one metric can be compared, not of {sorted(metrics)}")
    choose = max if larger_is_better(records[0]["metric"]) else min
    return choose(records, key=lambda r: r["median"])


def advantage(metric: str, ours: float, theirs: float) -> float:
    """How many times as good ours is: above 1 where we are better."""
    return ours / theirs if larger_is_better(metric) else theirs / ours


def fastest(metric: str, windows: Sequence[float]) -> float:
    """The best window: what a mode can do, whatever else ran in the others."""
    return (max if larger_is_better(metric) else min)(windows)


def contenders(
    workload: str, metric: str, speeds: Mapping[tuple[str, str], float]
) -> list[tuple[str, str]]:
    """The (framework, mode) that can decide a ratio, of those whose `speeds` a probe found.

    Of ours and of the peers (of the yardstick alone, where one is named) the best and whatever is
    within CLOSE of it.
    """
    yardstick, _ = NAMED_TARGETS.get(workload, (None, 0.0))
    ours = {case: v for case, v in speeds.items() if case[0] == OURS}
    peers = {
        case: v for case, v in speeds.items() if case not in ours and yardstick in (None, case[0])
    }
    chosen = []
    for side in (ours, peers):
        if side:
            top = fastest(metric, list(side.values()))
            chosen += [case for case, v in side.items() if advantage(metric, top, v) <= CLOSE]
    return chosen


def ratios(records: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Ostria's best mode against the best mode of the best peer, per workload and batch.

    `windows` of the records (same order of rounds) give the spread; without them it is None.
    A missing Ostria or peer gives no ratio; a mode that was only probed decides none.
    """
    rows = []
    for key in dict.fromkeys((r["workload"], r["batch"]) for r in records):
        workload, batch = key
        group = [r for r in records if (r["workload"], r["batch"]) == key]
        if workload in LIMITS or group[0]["metric"] == EXPONENT:
            continue
        group = [r for r in group if not r.get("probed")]
        yardstick, target = NAMED_TARGETS.get(
            workload, (None, PEER_TARGETS.get(key, RANKS_TARGETS.get(workload)))
        )
        ours = best([r for r in group if r["framework"] == OURS])
        peer = best(
            [r for r in group if r["framework"] in ([yardstick] if yardstick else _peers(group))]
        )
        if ours is None or peer is None:
            continue
        metric = ours["metric"]
        ratio = advantage(metric, ours["median"], peer["median"])
        pairs = [
            advantage(metric, a, b)
            for a, b in zip(ours.get("windows", []), peer.get("windows", []), strict=False)
        ]
        rows.append(
            {
                "workload": workload,
                "batch": batch,
                "metric": metric,
                "mode": ours["mode"],
                "ours": ours["median"],
                "peer": peer["framework"],
                "peer_mode": peer["mode"],
                "peers": peer["median"],
                "ratio": ratio,
                "p10": percentile(pairs, 0.1) if pairs else None,
                "p90": percentile(pairs, 0.9) if pairs else None,
                "target": target,
                "met": None if target is None else ratio >= target,
            }
        )
    return rows


def _peers(group: Sequence[dict[str, Any]]) -> list[str]:
    return [r["framework"] for r in group if r["framework"] != OURS]


def limits(records: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Our own budgets: one row per record that has one, `ratio` = limit / measured."""
    rows = []
    for r in records:
        if r["workload"] in LIMITS and r["framework"] == OURS:
            limit = LIMITS[r["workload"]]
            rows.append(
                {
                    "workload": r["workload"],
                    "mode": r["mode"],
                    "batch": r["batch"],
                    "metric": r["metric"],
                    "ours": r["median"],
                    "limit": limit,
                    "met": r["median"] <= limit,
                }
            )
    return rows


def number(value: float | None) -> str:
    """Three significant digits, without an exponent."""
    if value is None:
        return "-"
    if value == 0 or abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.{max(0, 2 - math.floor(math.log10(abs(value))))}f}"


def table(rows: Sequence[Sequence[str]]) -> str:
    """Rows (the first is the head) in columns: the first three to the left, others to the right."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = []
    for n, row in enumerate(rows):
        cells = [
            cell.ljust(width) if i < 3 else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        lines.append("  ".join(cells).rstrip())
        if n == 0:
            lines.append("  ".join("-" * width for width in widths))
    return "\n".join(lines)


def report(records: Sequence[dict[str, Any]]) -> str:
    """The printed report: every record, the ratios with their targets, our own budgets."""
    head = [
        "workload",
        "framework",
        "mode",
        "batch",
        "metric",
        "median",
        "p10",
        "p90",
        "first s",
        "MB",
        "loss",
        "",
    ]
    rows = [head]
    for r in records:
        if r["workload"] in LIMITS:
            continue
        loss = "-" if r["final_loss"] is None else f"{r['final_loss']:.5f}"
        texts = [r["workload"], r["framework"], r["mode"], str(r["batch"]), r["metric"]]
        figures = [number(r[k]) for k in ("median", "p10", "p90", "first_step_s", "peak_rss_mb")]
        rows.append([*texts, *figures, loss, "probed" if r.get("probed") else ""])
    parts = [table(rows)] if len(rows) > 1 else []
    rows = [
        [
            "workload",
            "ostria",
            "best peer",
            "batch",
            "ours",
            "theirs",
            "ratio",
            "p10..p90",
            "target",
            "",
        ]
    ]
    for r in ratios(records):
        spread = "-" if r["p10"] is None else f"{r['p10']:.2f}..{r['p90']:.2f}"
        target = "-" if r["target"] is None else f"{r['target']:.2f}"
        verdict = {None: "", True: "met", False: "MISSED"}[r["met"]]
        peer = f"{r['peer']} ({r['peer_mode']})"
        figures = [
            number(r["ours"]),
            number(r["peers"]),
            f"{r['ratio']:.2f}",
            spread,
            target,
            verdict,
        ]
        rows.append(
            [f"{r['workload']} [{r['metric']}]", r["mode"], peer, str(r["batch"]), *figures]
        )
    if len(rows) > 1:
        parts.append(table(rows))
    rows = [["budget", "mode", "metric", "size", "measured", "limit", ""]]
    for r in limits(records):
        verdict = "met" if r["met"] else "MISSED"
        figures = [number(r["ours"]), number(r["limit"]), verdict]
        rows.append([r["workload"], r["mode"], r["metric"], str(r["batch"]), *figures])
    if len(rows) > 1:
        parts.append(table(rows))
    return "\n\n".join(parts)
