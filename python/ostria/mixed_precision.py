# SPDX-License-Identifier: Apache-2.0
"""Mixed precision: matrix products, convolutions and attention in 16 bits, the rest in float32.

A policy is applied to what is compiled (`ost.compile`, `ost.grad`, a Trainer), before it is
differentiated: `mixed_bfloat16`, or `mixed_float16` together with `ost.optim.LossScaleOptimizer`.
Softmax, losses, norms, sums and the LSTM, GRU and SimpleRNN layers stay in float32; what comes
after a 16-bit value follows it. Functions of `cond`, `scan` and the like are no exception.
Variables stay in float32, and what you cast yourself stays as it is. Eager calls are not changed.
"""

from __future__ import annotations

import dataclasses
from typing import Any

from ostria import _native
from ostria._errors import at_line

__all__ = ["Policy", "global_policy", "policy", "set_global_policy", "set_policy"]


@dataclasses.dataclass(frozen=True)
class Policy:
    """What a compiled function computes in.

    Attributes:
      name: 'float32', 'mixed_bfloat16' or 'mixed_float16'.
      compute_dtype: of matrix products and what follows them.
    """

    name: str
    compute_dtype: Any

    @property
    def variable_dtype(self) -> Any:
        """Of weights: float32, whatever the policy."""
        return _native.float32

    @property
    def is_mixed(self) -> bool:
        """Whether anything is computed in another dtype than float32."""
        return bool(self.compute_dtype != _native.float32)


_POLICIES = {
    "float32": Policy("float32", _native.float32),
    "mixed_bfloat16": Policy("mixed_bfloat16", _native.bfloat16),
    "mixed_float16": Policy("mixed_float16", _native.float16),
}
_SHORT = {"bfloat16": "mixed_bfloat16", "float16": "mixed_float16"}
_global = _POLICIES["float32"]


def policy(name: str | Policy) -> Policy:
    """The policy of this name; 'bfloat16' and 'float16' are short for the mixed ones.

    Raises:
        ValueError: there is none of this name.

    Example:
        >>> import ostria as ost
        >>> ost.mixed_precision.policy("bfloat16").name
        'mixed_bfloat16'
    """
    if isinstance(name, Policy):
        return name
    found = _POLICIES.get(_SHORT.get(name, name)) if isinstance(name, str) else None
    if found is None:
        raise ValueError(
            at_line(
                f"mixed_precision: policy {name!r} is unknown; accepted are "
                + ", ".join(repr(known) for known in _POLICIES)
            )
        )
    return found


def set_policy(name: str | Policy) -> None:
    """From now on compiled functions that name no `precision` of their own follow this policy.

    Example:
        >>> import ostria as ost
        >>> ost.mixed_precision.set_policy("mixed_bfloat16")
        >>> f = ost.compile(lambda a, b: a @ b)
        >>> f(ost.ones((2, 3)), ost.ones((3, 2))).dtype
        ostria.float32
        >>> ost.mixed_precision.set_policy("float32")
    """
    global _global
    _global = policy(name)


set_global_policy = set_policy


def global_policy() -> Policy:
    """The policy of `set_policy`; 'float32' to begin with."""
    return _global


def report(trace: Any, policy: Policy) -> list[str]:
    """What the policy changed in a trace, as lines of text."""
    counts: dict[Any, int] = {}
    for note in trace.precision_notes():
        counts[note] = counts.get(note, 0) + 1
    low = sum(n for (_, dtype, _, _), n in counts.items() if dtype != "float32")
    lines = [f"precision {policy.name}: {low} op(s) run in {policy.compute_dtype}"]
    for (op, dtype, why, line), n in counts.items():
        times = f" ({n} times)" if n > 1 else ""
        reason = f", because {why}" if why else ""
        lines.append(f"  {op}{times}: {dtype}{reason}  {line}")
    return lines
