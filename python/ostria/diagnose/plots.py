# SPDX-License-Identifier: Apache-2.0
"""Two pictures of a training run: the learning curve and the confusion matrix.

Drawn with matplotlib (the extra ``plot``), imported on first use. No pyplot: nothing global is
touched, no window opens, and any thread may draw. Colours are Okabe and Ito's (distinguishable
with any colour vision) and never the only difference: train and eval also differ in line and
marker. A file appears complete or not at all.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt

from ostria._errors import at_line
from ostria._keywords import checked_keywords
from ostria.diagnose.history import Curve, curves
from ostria.diagnose.report import check_confusion_matrix

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

FloatArray = npt.NDArray[np.float64]

TRAIN_COLOUR = "#0072B2"  # blue
EVAL_COLOUR = "#D55E00"  # vermilion
INK = "#222222"

# For these, smaller is better.
_DESCENDING = ("loss", "error", "mse", "mae", "rmse", "perplexity")


@checked_keywords("learning_curve")
def learning_curve(
    history: Any,
    path: str | os.PathLike[str] | None = None,
    *,
    metrics: Sequence[str] | None = None,
    baseline: float | None = None,
    title: str = "Learning curve",
) -> tuple[Axes, ...]:
    """Draws loss and accuracy over the steps, training and evaluation in one picture each.

    Args:
      history: see ``ostria.diagnose.history.curves``.
      path: the image file to write (its suffix decides the format); None: only draw.
      metrics: which to draw, one panel each; None: ``loss`` and ``accuracy`` where recorded.
      baseline: accuracy of the most frequent class, drawn as a line in the accuracy panel.
      title: stands above the picture.

    Returns:
      The axes, one per panel; ``axes[0].figure`` is the figure.

    Raises:
      ImportError: matplotlib is missing.
      TypeError, ValueError: a history that cannot be read, or a metric it does not hold.
    """
    recorded = curves(history)
    names = _chosen(recorded, metrics)
    figure = _new_figure(6.0 * len(names), 4.2)
    figure.set_layout_engine("constrained", wspace=0.05, w_pad=0.1, h_pad=0.08)
    figure.suptitle(title, x=0.01, ha="left", fontsize=14, fontweight="bold", color=INK)
    panels: tuple[Axes, ...] = tuple(figure.subplots(1, len(names), squeeze=False)[0])
    for axes, name in zip(panels, names, strict=True):
        _draw_metric(axes, name, recorded[name], baseline if name == "accuracy" else None)
    _save(figure, path)
    return panels


@checked_keywords("confusion_matrix")
def confusion_matrix(
    matrix: npt.ArrayLike,
    class_names: Sequence[str] | None = None,
    path: str | os.PathLike[str] | None = None,
    *,
    title: str = "Confusion matrix",
) -> Axes:
    """Draws a confusion matrix: counts in the cells, shaded by the share of the true class.

    Args:
      matrix: [C, C] counts or weights; rows are true classes, columns predicted ones.
      class_names: C names; None: class ids.
      path: the image file to write (its suffix decides the format); None: only draw.
      title: stands above the picture.

    Raises:
      ImportError: matplotlib is missing.
      ValueError: no such matrix, or the wrong number of names.
    """
    counts = check_confusion_matrix("confusion_matrix", matrix)
    size = len(counts)
    names = [_short(str(n)) for n in (range(size) if class_names is None else class_names)]
    if len(names) != size:
        raise ValueError(
            at_line(
                f"confusion_matrix: {len(names)} class names for {size} classes; give one name per "
                "class, or None for ids"
            )
        )
    totals = counts.sum(axis=1, keepdims=True)
    share = np.divide(counts, totals, out=np.zeros(counts.shape), where=totals > 0)

    side = min(max(0.62 * size, 3.2), 16.0)
    figure = _new_figure(side + 2.6, side + 1.7)
    axes = figure.subplots()
    image = axes.imshow(share, cmap="Blues", norm=_visible_small_shares())
    axes.set_title(title, loc="left", fontsize=14, fontweight="bold", color=INK, pad=26)
    total = counts.sum()
    subtitle = f"{_amount(total)} examples"
    if total:
        subtitle += (
            f", accuracy {np.trace(counts) / total:.4f} (most frequent class alone: "
            f"{totals.max() / total:.4f})"
        )
    axes.annotate(
        subtitle,
        (0, 1),
        xycoords="axes fraction",
        xytext=(0, 9),
        textcoords="offset points",
        fontsize=10,
        color="#5a5a5a",
    )
    axes.set_xlabel("predicted class", fontsize=11, color=INK)
    axes.set_ylabel("true class", fontsize=11, color=INK)
    slanted = max(map(len, names)) > 3
    axes.set_xticks(
        range(size),
        names,
        rotation=40 if slanted else 0,
        ha="right" if slanted else "center",
        rotation_mode="anchor" if slanted else None,
    )
    axes.set_yticks(range(size), names)
    axes.tick_params(length=0, labelsize=10 if size <= 30 else 6, colors=INK)
    # White rules between the cells.
    axes.set_xticks(np.arange(size + 1) - 0.5, minor=True)
    axes.set_yticks(np.arange(size + 1) - 0.5, minor=True)
    axes.grid(which="minor", color="white", linewidth=1.5)
    axes.tick_params(which="minor", length=0)
    for spine in axes.spines.values():
        spine.set_visible(False)
    _write_cells(axes, counts, image.to_rgba(share)[..., :3], 72 * side / size)
    beside = axes.inset_axes((1.0 + 0.2 / side, 0.0, 0.22 / side, 1.0))
    bar = figure.colorbar(image, cax=beside, ticks=[0, 0.01, 0.1, 0.5, 1])
    bar.ax.set_yticklabels(["0", "1 %", "10 %", "50 %", "100 %"])
    bar.set_label("share of the true class", fontsize=10, color=INK)
    bar.outline.set_visible(False)
    bar.ax.tick_params(length=0, labelsize=9, colors=INK)
    _save(figure, path)
    return axes


def _chosen(recorded: dict[str, dict[str, Curve]], metrics: Sequence[str] | None) -> list[str]:
    if metrics is None:
        usual: list[str] = [name for name in ("loss", "accuracy") if name in recorded]
        return usual or list(recorded)[:2]
    for name in metrics:
        if name not in recorded:
            raise ValueError(
                at_line(
                    f"learning_curve: the history holds no metric {name!r}; it holds "
                    f"{', '.join(recorded)}"
                )
            )
    if not metrics:
        raise ValueError(
            at_line(
                f"learning_curve: metrics is empty; name at least one of {', '.join(recorded)}, or "
                "give None, which draws loss and accuracy"
            )
        )
    return list(metrics)


def _draw_metric(axes: Axes, name: str, splits: dict[str, Curve], baseline: float | None) -> None:
    from matplotlib.ticker import MaxNLocator

    descending = any(word in name for word in _DESCENDING)
    if "train" in splits:
        curve = splits["train"]
        smooth = _smooth(curve.values)
        if smooth is None:
            axes.plot(curve.steps, curve.values, color=TRAIN_COLOUR, linewidth=2, label="train")
        else:
            axes.plot(curve.steps, curve.values, color=TRAIN_COLOUR, linewidth=0.7, alpha=0.28)
            axes.plot(
                curve.steps, smooth, color=TRAIN_COLOUR, linewidth=2, label="train (smoothed)"
            )
    if "eval" in splits:
        curve = splits["eval"]
        axes.plot(
            curve.steps,
            curve.values,
            color=EVAL_COLOUR,
            linewidth=2,
            linestyle=(0, (5, 1.6)),
            marker="o" if len(curve.steps) <= 60 else None,
            markersize=5,
            markeredgecolor="white",
            label="eval",
        )
        _mark_best(axes, curve, descending)
    if baseline is not None:
        label = f"baseline {baseline:.3g}"
        axes.axhline(baseline, color="#666666", linewidth=1.4, linestyle=":", label=label)
    axes.set_title(name.replace("_", " "), loc="left", fontsize=12, color=INK)
    unit = next(iter(splits.values())).unit
    axes.set_xlabel(unit, fontsize=10, color=INK)
    axes.xaxis.set_major_locator(MaxNLocator(nbins=8, integer=True, steps=[1, 2, 2.5, 5, 10]))
    axes.xaxis.set_major_formatter(lambda x, _: f"{x:,.10g}")
    _limit_y(axes, splits, baseline)
    axes.margins(x=0.02)
    axes.grid(color="#e4e4e4", linewidth=0.8)
    axes.set_axisbelow(True)
    axes.tick_params(length=0, labelsize=9, colors=INK)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    for side in ("left", "bottom"):
        axes.spines[side].set_color("#bbbbbb")
    # Where the curves are not: above a falling one, below a rising one (but off the baseline).
    place: Literal["upper right", "lower right", "center right"]
    place = "upper right" if descending else "lower right" if baseline is None else "center right"
    legend = axes.legend(loc=place, fontsize=9, framealpha=0.9)
    legend.get_frame().set_linewidth(0)


def _mark_best(axes: Axes, curve: Curve, descending: bool) -> None:
    from matplotlib.patheffects import withStroke

    finite = np.isfinite(curve.values)
    if not finite.any():
        return
    worst = np.inf if descending else -np.inf
    values = np.where(finite, curve.values, worst)
    best = int(values.argmin() if descending else values.argmax())
    step, value = curve.steps[best], curve.values[best]
    axes.plot([step], [value], marker="o", markersize=11, markerfacecolor="none", color=EVAL_COLOUR)
    right = step > (curve.steps[0] + curve.steps[-1]) / 2
    axes.annotate(
        f"best {value:.4g} at {curve.unit} {step:,.10g}",
        (step, value),
        xytext=(6 if right else -6, -14 if descending else 10),
        textcoords="offset points",
        ha="right" if right else "left",
        va="top" if descending else "bottom",
        fontsize=9,
        color="#A04600",
        path_effects=[withStroke(linewidth=3, foreground="white")],
    )


def _limit_y(axes: Axes, splits: dict[str, Curve], baseline: float | None) -> None:
    """Lets a few wild first steps leave the picture instead of flattening all the rest."""
    values = np.concatenate([c.values[np.isfinite(c.values)] for c in splits.values()])
    if not len(values):
        return
    cut = 0.5 if len(values) > 100 else 0
    low, high = np.percentile(values, [cut, 100 - cut])
    if "eval" in splits:
        shown = splits["eval"].values[np.isfinite(splits["eval"].values)]
        low, high = min([low, *shown]), max([high, *shown])
    if baseline is not None:
        low, high = min(low, baseline), max(high, baseline)
    room = 0.12 * (high - low) or 0.05 * abs(high) or 0.05
    axes.set_ylim(low - room, high + room)


def _smooth(values: FloatArray) -> FloatArray | None:
    """A Gaussian mean of a long, noisy curve (no lag, unlike a running one); None if short."""
    if len(values) < 40 or not np.all(np.isfinite(values)):
        return None
    sigma = max(len(values) / 100, 2.0)
    reach = np.arange(-int(3 * sigma), int(3 * sigma) + 1)
    kernel = np.exp(-0.5 * (reach / sigma) ** 2)
    # At the ends the kernel sees fewer points: divide by what it does see.
    mean: FloatArray = np.convolve(values, kernel, "same")
    mean /= np.convolve(np.ones(len(values)), kernel, "same")
    return mean


def _write_cells(
    axes: Axes, counts: npt.NDArray[Any], ground: FloatArray, cell_points: float
) -> None:
    size = len(counts)
    # A digit of DejaVu Sans is about 0.64 em wide; leave a fifth of the cell free.
    longest = max(len(_amount(count)) for count in counts.flat)
    font = min(10.0, 0.8 * cell_points / (0.64 * max(longest, 2)))
    if font < 5:
        return  # too small to read: the shading alone is shown
    # WCAG 2 relative luminance; at 0.179 black and white contrast equally, by 4.6 to 1.
    linear = np.where(ground <= 0.04045, ground / 12.92, ((ground + 0.055) / 1.055) ** 2.4)
    dark = linear @ np.array([0.2126, 0.7152, 0.0722]) < 0.179
    for i in range(size):
        for j in range(size):
            if i != j and counts[i, j] == 0:
                continue
            axes.text(
                j,
                i,
                _amount(counts[i, j]),
                ha="center",
                va="center",
                fontsize=font,
                fontweight="bold" if i == j else "normal",
                color="white" if dark[i, j] else "black",
            )


def _visible_small_shares() -> Any:
    from matplotlib.colors import PowerNorm

    # A linear scale would show a 3 % confusion as white.
    return PowerNorm(0.45, vmin=0.0, vmax=1.0)


def _short(name: str) -> str:
    return name if len(name) <= 24 else name[:23] + "…"


def _amount(value: float) -> str:
    return f"{value:,.0f}" if float(value).is_integer() else f"{value:,.4g}"


def _new_figure(width: float, height: float) -> Figure:
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError(
            at_line(
                "drawing needs matplotlib, which is not installed: pip install 'ostria[plot]' (or "
                "matplotlib itself)"
            )
        ) from error
    figure = Figure(figsize=(width, height), dpi=150, layout="constrained", facecolor="white")
    FigureCanvasAgg(figure)
    return figure


def _save(figure: Figure, path: str | os.PathLike[str] | None) -> None:
    if path is None:
        return
    target = os.path.abspath(os.fspath(path))
    suffix = os.path.splitext(target)[1] or ".png"
    handle, temporary = tempfile.mkstemp(suffix=suffix, dir=os.path.dirname(target))
    os.close(handle)
    try:
        figure.savefig(temporary, bbox_inches="tight", pad_inches=0.15)
        os.chmod(temporary, 0o644)
        os.replace(temporary, target)
    except BaseException:
        os.unlink(temporary)
        raise
