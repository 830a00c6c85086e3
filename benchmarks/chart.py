# SPDX-License-Identifier: Apache-2.0
"""One picture of a result: speed per workload and batch size, and ratios against targets."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

from benchmarks import stats

# Okabe and Ito's palette: told apart with any kind of colour vision.
_COLOURS = {
    "ostria": "#D55E00",
    "torch": "#0072B2",
    "jax": "#009E73",
    "tensorflow": "#E69F00",
    "onnxruntime": "#CC79A7",
}
# As packages are called.
_NAMES = ("ostria", "torch", "jax", "tensorflow-cpu", "onnxruntime")


def draw(result: dict[str, Any], path: Path) -> None:
    """Writes the chart of a result as `path` (PNG or SVG by its ending)."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    records = [r for r in result["records"] if r["workload"] not in stats.LIMITS]
    records = [r for r in records if r["metric"] != stats.EXPONENT]
    curves = _curves(result["records"])
    groups = list(dict.fromkeys((r["workload"], r["batch"]) for r in records))
    groups = [g for g in groups if g[0] not in curves]
    groups = [g for g in groups if any(r["framework"] != stats.OURS for r in _of(records, g))]
    rows = stats.ratios(records)
    columns = 3
    lines = max(1, (len(groups) + len(curves) + columns - 1) // columns)
    # Ratios have a line of their own, as tall as their names want.
    heights = [2.7] * lines + ([0.8 + 0.17 * len(rows)] if rows else [])
    figure = plt.figure(figsize=(13, sum(heights)), layout="constrained")
    grid = figure.add_gridspec(len(heights), columns, height_ratios=heights)
    panels = [figure.add_subplot(grid[i, j]) for i in range(lines) for j in range(columns)]
    for group, panel in zip(groups, panels, strict=False):
        _bars(panel, group, _of(records, group))
    rest = panels[len(groups) :]
    for name, panel in zip(curves, rest, strict=False):
        _curve(panel, name, curves[name])
    for panel in rest[len(curves) :]:
        panel.set_axis_off()
    if rows:
        _ratios(figure.add_subplot(grid[lines, :]), rows)
    machine, versions = result["machine"], result["versions"]
    peers = ", ".join(f"{name} {versions[name]}" for name in _NAMES if name in versions)
    figure.suptitle(
        f"{machine['cpu']}, {result['threads']} threads: {peers} "
        f"({result['date']}, {result['commit']})"
        + (", pale: probed only" if any(r.get("probed") for r in records) else "")
        + (" - other processes were running" if result["warnings"] else ""),
        fontsize=10,
    )
    figure.savefig(path, dpi=120)
    plt.close(figure)


def _of(records: list[dict[str, Any]], group: tuple[str, int]) -> list[dict[str, Any]]:
    return [r for r in records if (r["workload"], r["batch"]) == group]


def _plain(panel: Any) -> None:
    panel.spines[["top", "right"]].set_visible(False)
    panel.tick_params(labelsize=8)


def _bars(panel: Any, group: tuple[str, int], records: list[dict[str, Any]]) -> None:
    workload, batch = group
    metric = records[0]["metric"]
    better = "more" if stats.larger_is_better(metric) else "less"
    names = [f"{r['framework']} {r['mode'].replace('_', ' ')}" for r in records]
    places = list(range(len(records)))[::-1]
    medians = [r["median"] for r in records]
    errors = [
        [r["median"] - r["p10"] for r in records],
        [r["p90"] - r["median"] for r in records],
    ]
    colours = [_COLOURS.get(r["framework"], "#888888") for r in records]
    bars = panel.barh(places, medians, xerr=errors, color=colours, ecolor="#333333", height=0.7)
    for bar, record in zip(bars, records, strict=True):
        bar.set_alpha(0.4 if record.get("probed") else 1.0)
    top = max(r["p90"] for r in records)
    for place, record in zip(places, records, strict=True):
        panel.text(
            record["p90"] + 0.02 * top,
            place,
            stats.number(record["median"]),
            va="center",
            fontsize=8,
        )
    panel.set_yticks(places, names)
    panel.set_xlim(0, 1.18 * top)
    name = workload if workload in stats.NAMED_TARGETS else f"{workload}, batch {batch}"
    panel.set_title(f"{name} [{metric}, {better} is better]", fontsize=9)
    _plain(panel)


class Line(NamedTuple):
    """What one mode costs over a size."""

    framework: str
    mode: str
    points: list[dict[str, Any]]
    exponent: float


def _curves(records: list[dict[str, Any]]) -> dict[str, list[Line]]:
    """The lines of each workload whose modes have both points and an exponent."""
    found: dict[str, list[Line]] = {}
    for slope in records:
        if slope["metric"] != stats.EXPONENT:
            continue
        name = slope["workload"].removesuffix("_growth")
        key = (name, slope["framework"], slope["mode"])
        points = [r for r in records if (r["workload"], r["framework"], r["mode"]) == key]
        points = [r for r in points if r["median"] > 0]
        if len(points) > 1:
            found.setdefault(name, []).append(Line(*key[1:], points, slope["median"]))
    return found


def _curve(panel: Any, name: str, lines: list[Line]) -> None:
    for line in lines:
        medians = [r["median"] for r in line.points]
        errors = [
            [r["median"] - r["p10"] for r in line.points],
            [r["p90"] - r["median"] for r in line.points],
        ]
        panel.errorbar(
            [r["batch"] for r in line.points],
            medians,
            errors,
            color=_COLOURS.get(line.framework, "#888888"),
            ecolor="#333333",
            marker="o",
            capsize=2,
            label=f"{line.framework} {line.mode.replace('_', ' ')} {line.exponent:.2f}",
        )
    panel.set_xscale("log", base=2)
    panel.set_yscale("log")
    panel.legend(fontsize=7, title="exponent", title_fontsize=7)
    panel.set_title(f"{name} [{lines[0].points[0]['metric']}]", fontsize=9)
    _plain(panel)


def _ratios(panel: Any, rows: list[dict[str, Any]]) -> None:
    places = list(range(len(rows)))[::-1]
    for place, row in zip(places, rows, strict=True):
        colour = {None: "#888888", True: "#009E73", False: "#CC3311"}[row["met"]]
        if row["p10"] is not None:
            panel.plot([row["p10"], row["p90"]], [place, place], color=colour, linewidth=2)
        panel.plot(row["ratio"], place, "o", color=colour, markersize=6)
        if row["target"] is not None:
            panel.plot(row["target"], place, "|", color="black", markersize=12, markeredgewidth=2)
    panel.axvline(1, color="#bbbbbb", linewidth=1, zorder=0)
    panel.set_yticks(places, [f"{r['workload']} {r['batch']}" for r in rows])
    panel.set_xlim(left=0)
    panel.set_title("Ostria against the best peer mode (bar: target)", fontsize=9)
    _plain(panel)
