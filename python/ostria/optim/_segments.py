# SPDX-License-Identifier: Apache-2.0
"""What differs from variable to variable: rate and decay, by name, and constraints.

The update op gets rates and decay as a table with an entry per variable, so that it stays one node;
a constraint is ops of its own behind it.
"""

from __future__ import annotations

import fnmatch
from collections.abc import Sequence
from typing import Any

from ostria import _functions as F
from ostria import _native
from ostria._errors import at_line

_ops = _native.ops


def factors_of(kind: str, multipliers: dict[str, float], variables: Sequence[Any]) -> list[float]:
    """The factor of each variable's rate: that of the first pattern its name matches, else 1.

    Raises:
        ValueError: a pattern matches no variable.
    """
    names = [v.name for v in variables]
    for pattern in multipliers:
        if not any(fnmatch.fnmatchcase(name, pattern) for name in names):
            shown = ", ".join(repr(name) for name in names[:4]) + (", …" if len(names) > 4 else "")
            raise ValueError(
                at_line(
                    f"{kind}: learning_rate_multipliers has the pattern '{pattern}', which no "
                    f"variable matches; names are {shown}"
                )
            )

    def factor(name: str) -> float:
        matching = (f for p, f in multipliers.items() if fnmatch.fnmatchcase(name, p))
        return next(matching, 1.0)

    return [factor(name) for name in names]


def rate_table(rate: Any, factors: Sequence[float]) -> tuple[Any, dict[str, list[int]]]:
    """The update's `lr` and its attribute `rates`: one element for each factor that occurs."""
    distinct = sorted(set(factors))
    if distinct == [1.0]:
        return rate, {}
    table = rate * F.asarray(distinct, dtype="float32")
    return table, {"rates": [distinct.index(factor) for factor in factors]}


def decay_table(weight_decay: float, decays: Sequence[bool]) -> dict[str, Any]:
    """The update's attributes for decoupled decay of some of the variables."""
    table: dict[str, Any] = {"weight_decay": weight_decay}
    if weight_decay and not all(decays):
        table["decay"] = [int(d) for d in decays]
    return table


def constrain(variable: Any, commit: Any) -> None:
    """Puts the variable back where its constraint, if it has one, wants it: in committed steps."""
    rule = getattr(variable, "constraint", None)
    if rule is None:
        return
    value = variable.value()
    inside = F.asarray(rule(value))
    if tuple(inside.shape) != tuple(value.shape) or inside.dtype != value.dtype:
        raise ValueError(
            at_line(
                f"constraint of '{variable.name}': it returned {inside.dtype}{list(inside.shape)}, "
                f"but the variable is {value.dtype}{list(value.shape)}; return a value like it"
            )
        )
    variable._assign_decided(_ops.where(commit, inside, value), commit)
