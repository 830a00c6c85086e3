# SPDX-License-Identifier: Apache-2.0
"""Everything a run consists of, to and from a checkpoint: Variables, position of the input,
counters.

A name is a key of the checkpoint, so it must stand for one Variable. Values are copied in place.
"""

from __future__ import annotations

import dataclasses
import json
import warnings
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from ostria import _native
from ostria._errors import at_line
from ostria.io._bridge import bfloat16_pair

STEP_KEY = "global_step"  # TensorFlow's name; a tensor of the checkpoint like the others


@dataclasses.dataclass
class Progress:
    """What a run must know to go on, besides its Variables.

    Attributes:
      step: training steps done.
      position: where the input stood, or None.
      finished: whether the run that wrote it was over: a later one reads its input from the start.
      skipped: steps that did not take effect because they were not finite.
    """

    step: int = 0
    position: str | None = None
    finished: bool = False
    skipped: int = 0


def by_name(variables: Iterable[Any]) -> dict[str, Any]:
    """The Variables by name, each once.

    Raises:
      ValueError: two have one name.
    """
    named: dict[str, Any] = {}
    for variable in variables:
        other = named.setdefault(variable.name, variable)
        if other.id != variable.id:
            raise ValueError(
                at_line(
                    f"Trainer: two variables are named '{variable.name}' ({_type(other)} and "
                    f"{_type(variable)}), so they cannot be told apart in a checkpoint; make the "
                    "modules attributes of one parent, or give metrics and generators names of "
                    "their own"
                )
            )
    if STEP_KEY in named:
        raise ValueError(
            at_line(
                f"Trainer: a variable is named '{STEP_KEY}', which is taken by the Trainer; give "
                "it another name"
            )
        )
    return named


def to_tensors(
    variables: Mapping[str, Any], step: int, known: Mapping[int, Any] | None = None
) -> dict[str, Any]:
    """Copies of all values as ``io.save_checkpoint`` takes them; some are `known`, by id."""
    known = known or {}
    tensors = {name: known[v.id] if v.id in known else _to_host(v) for name, v in variables.items()}
    tensors[STEP_KEY] = np.asarray(step, np.int64)
    return tensors


def to_blobs(progress: Progress) -> dict[str, bytes | str]:
    """The rest of a checkpoint."""
    run = {"finished": progress.finished, "skipped": progress.skipped}
    blobs: dict[str, bytes | str] = {"run": json.dumps(run, sort_keys=True)}
    if progress.position is not None:
        blobs["input"] = progress.position
    return blobs


def progress_of(checkpoint: Any) -> Progress:
    """The counters and the position in a checkpoint; one without them counts as finished."""
    progress = Progress(step=int(checkpoint.step), finished=True)
    if (run := checkpoint.blobs.get("run")) is not None:
        values = json.loads(run)
        progress.finished = bool(values["finished"])
        progress.skipped = int(values["skipped"])
    if (position := checkpoint.blobs.get("input")) is not None:
        progress.position = position.decode()
    return progress


def assign(variables: Mapping[str, Any], checkpoint: Any, *, warn_unused: bool) -> None:
    """Copies a checkpoint's tensors into the Variables of the same names.

    Raises:
      ValueError: a Variable is missing in the checkpoint, or has another shape or dtype there.
    """
    tensors, dtypes = checkpoint.tensors, checkpoint.dtypes
    missing = [name for name in variables if name not in tensors]
    unused = [name for name in tensors if name not in variables and name != STEP_KEY]
    if missing:
        found = f"; it holds, and the model lacks, {_some(unused)}" if unused else ""
        raise ValueError(
            at_line(
                f"checkpoint {checkpoint.path} lacks {_some(missing)}{found}. The model has "
                "changed since it was saved: use another model_dir, or the model that it was "
                "saved with"
            )
        )
    for name, variable in variables.items():
        shape = tuple(tensors[name].shape)
        if shape != tuple(variable.shape) or dtypes[name] != str(variable.dtype):
            raise ValueError(
                at_line(
                    f"checkpoint {checkpoint.path}: '{name}' is {dtypes[name]}{list(shape)} there, "
                    f"but {_type(variable)} in the model. The model has changed since it was "
                    "saved: use another model_dir, or the model that it was saved with"
                )
            )
    if unused and warn_unused:
        warnings.warn(
            f"checkpoint {checkpoint.path} holds {_some(unused)}, which this model does not use",
            RuntimeWarning,
            stacklevel=4,
        )
    for name, variable in variables.items():
        variable.assign(_from_host(tensors[name], variable.dtype))


def _to_host(variable: Any) -> Any:
    if variable.dtype != _native.bfloat16:
        return variable.numpy()
    return bfloat16_pair(variable)


def _from_host(array: Any, dtype: Any) -> Any:
    if dtype != _native.bfloat16:
        return array
    return _native.ops.cast(_native.tensor_from_array(array, True), dtype)


def _some(names: list[str]) -> str:
    listed = ", ".join(f"'{name}'" for name in names[:5])
    return listed if len(names) <= 5 else f"{listed} and {len(names) - 5} more"


def _type(variable: Any) -> str:
    return f"{variable.dtype}{list(variable.shape)}"
