# SPDX-License-Identifier: Apache-2.0
"""Turns what training recorded into curves: metric -> split ('train', 'eval') -> steps, values.

Whatever the source, a curve is sorted by step and holds each step once: after a resume the later
record wins, because its step is the one that the model went on from.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ostria._errors import at_line

FloatArray = npt.NDArray[np.float64]

_SPLITS = {
    "train": "train",
    "training": "train",
    "eval": "eval",
    "evaluation": "eval",
    "val": "eval",
    "validation": "eval",
    "test": "eval",
}
_NOT_METRICS = {"step", "epoch", "split", "run", "mode", "tag", "value", "wall_time", "global_step"}


@dataclass(frozen=True, eq=False)
class Curve:
    """One metric on one split: ``steps`` [n] strictly increasing, ``values`` [n]; float64.

    ``unit`` says what a step is: "step", or "epoch" where the history only numbers its values.
    """

    steps: FloatArray
    values: FloatArray
    unit: str = "step"


def curves(history: Any) -> dict[str, dict[str, Curve]]:
    """Reads a history in any of the forms training leaves behind.

    Args:
      history: one of
        - a mapping from name to values (one per epoch) or to (step, value) pairs, with names like
          ``loss``, ``val_loss``, ``eval_loss``, ``eval/loss``; an object whose ``history`` is one;
        - ``{step: {tag: value}}`` as ``ostria.io.read_events`` returns it, or one for each split,
          ``{"train": read_events(a), "eval": read_events(b)}``;
        - an iterable of records, mappings or objects: ``step`` with ``tag`` and ``value``, or
          ``step`` with one entry per metric; each may have a ``split`` (or ``run`` or ``mode``).

    Returns:
      ``{metric: {"train" | "eval": Curve}}`` in order of appearance.

    Raises:
      TypeError, ValueError: something else, or nothing to draw.
    """
    points: dict[tuple[str, str], dict[float, float]] = {}
    units: dict[tuple[str, str], str] = {}
    history = getattr(history, "history", history)
    if _is_nested(history):
        history = list(_event_records(history))
    if isinstance(history, Mapping):
        for name, values in history.items():
            key = _metric_and_split(str(name))
            pairs, units[key] = _pairs(str(name), values)
            points.setdefault(key, {}).update(pairs)
    elif isinstance(history, Iterable) and not isinstance(history, (str, bytes)):
        for record in history:
            for name, step, value in _fields(record):
                points.setdefault(name, {})[step] = value
    else:
        raise TypeError(
            at_line(
                "learning_curve: history must be a mapping of metric names to values or a list of "
                f"records with `step`; given {type(history).__name__}; give "
                "io.read_events(model_dir), or {'loss': [0.5, 0.4]}"
            )
        )
    result: dict[str, dict[str, Curve]] = {}
    for (metric, split), by_step in points.items():
        if by_step:
            steps = sorted(by_step)
            result.setdefault(metric, {})[split] = Curve(
                np.array(steps, dtype=np.float64),
                np.array([by_step[s] for s in steps], dtype=np.float64),
                units.get((metric, split), "step"),
            )
    if not result:
        raise ValueError(
            at_line(
                "learning_curve: history is empty: no metric has a value; give at least one "
                "value, and look whether training wrote events into this folder"
            )
        )
    return result


def _is_nested(history: Any) -> bool:
    return (
        isinstance(history, Mapping)
        and bool(history)
        and all(isinstance(inner, Mapping) for inner in history.values())
    )


def _event_records(events: Mapping[Any, Any], split: str | None = None) -> Iterable[dict[str, Any]]:
    for key, inner in events.items():
        if isinstance(key, str):
            yield from _event_records(inner, key)
        else:
            for tag, value in inner.items():
                yield {"step": key, "tag": tag, "value": value, "split": split}


def _metric_and_split(name: str, split: str | None = None) -> tuple[str, str]:
    if split is not None:
        # TensorFlow calls an evaluation's folder 'eval' or 'eval_<name>'.
        known = _SPLITS.get(split) or _SPLITS.get(split.split("_")[0])
        if known is None:
            raise ValueError(
                at_line(
                    f"learning_curve: unknown split {split!r}; accepted are {', '.join(_SPLITS)}"
                )
            )
        return _metric_and_split(name)[0], known
    for separator in ("/", "_"):
        prefix, found, rest = name.partition(separator)
        if found and rest and prefix in _SPLITS:
            return rest, _SPLITS[prefix]
    return name, "train"


def _pairs(name: str, values: Any) -> tuple[dict[float, float], str]:
    array = np.asarray(values if isinstance(values, (Sequence, np.ndarray)) else list(values))
    array = array.astype(np.float64)
    if array.ndim == 1:
        return {float(i + 1): float(v) for i, v in enumerate(array)}, "epoch"
    if array.ndim == 2 and array.shape[1] == 2:
        return {float(step): float(value) for step, value in array}, "step"
    raise ValueError(
        at_line(
            f"learning_curve: history[{name!r}] must be a list of values or of (step, value) "
            f"pairs; given shape {list(array.shape)}; give one number per epoch, or pairs"
        )
    )


def _fields(record: Any) -> Iterable[tuple[tuple[str, str], float, float]]:
    fields = record if isinstance(record, Mapping) else _attributes(record)
    step = fields.get("step", fields.get("global_step"))
    if step is None:
        raise ValueError(
            at_line(
                f"learning_curve: a record of the history has no `step`: {record!r}; give each "
                "record a `step` or a `global_step`"
            )
        )
    split = next((str(fields[k]) for k in ("split", "run", "mode") if fields.get(k)), None)
    if "tag" in fields:
        yield _metric_and_split(str(fields["tag"]), split), float(step), float(fields["value"])
        return
    for name, value in fields.items():
        if name not in _NOT_METRICS and value is not None:
            yield _metric_and_split(name, split), float(step), float(value)


def _attributes(record: Any) -> dict[str, Any]:
    if hasattr(record, "_asdict"):
        return dict(record._asdict())
    names = getattr(record, "__slots__", None) or vars(record)
    return {name: getattr(record, name) for name in names}
