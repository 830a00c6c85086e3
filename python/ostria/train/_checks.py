# SPDX-License-Identifier: Apache-2.0
"""What a Trainer checks of its arguments and of what a task returns."""

from __future__ import annotations

from typing import Any

from ostria import _native
from ostria._checks import is_int
from ostria._errors import at_line


def check_choice(name: str, value: Any, accepted: tuple[str, str]) -> None:
    """Raises ValueError unless `value` is one of two."""
    if value not in accepted:
        one, other = accepted
        raise ValueError(
            at_line(f"Trainer: {name} {value!r} is unknown; accepted are '{one}' and '{other}'")
        )


def check_loss(loss: Any, what: str) -> None:
    """``loss`` is a float scalar; ``what`` names the function that returned it."""
    if not isinstance(loss, _native.Tensor) or loss.ndim != 0 or loss.dtype.kind != "float":
        got = f"{loss.dtype}{list(loss.shape)}" if isinstance(loss, _native.Tensor) else repr(loss)
        raise TypeError(
            at_line(
                f"{what} must return a float scalar, the loss, but it returned {got}; reduce it "
                "with ost.mean"
            )
        )


def check_limits(steps: Any, max_steps: Any) -> None:
    """At most one of the two limits of ``Trainer.train`` is given, as an integer of at least 1."""
    if steps is not None and max_steps is not None:
        raise ValueError(
            at_line(
                f"Can not provide both steps and max_steps. train: given steps={steps!r} and "
                f"max_steps={max_steps!r}; give steps for so many more, or max_steps for so many "
                "in all"
            )
        )
    for name, value in (("steps", steps), ("max_steps", max_steps)):
        if value is None:
            continue
        if not is_int(value):
            raise TypeError(
                at_line(
                    f"train: {name} must be an integer or None, given: {value!r}; give at least "
                    "1, or None to read the input to its end"
                )
            )
        if value <= 0:
            raise ValueError(
                at_line(
                    f"Must specify {name} > 0, given: {value}; train: give an integer of at least "
                    "1, or None to read the input to its end"
                )
            )


def check_strategy(strategy: Any, device: Any, memory_budget: Any) -> None:
    """What does not go with a strategy is not given."""
    if device is not None:
        raise ValueError(
            at_line(
                f"Trainer: device {device!r} and strategy {strategy!r} are given; a strategy says "
                "itself which devices steps run on: give one of the two"
            )
        )
    if memory_budget is not None:
        raise ValueError(
            at_line(
                f"Trainer: memory_budget {memory_budget!r} chooses micro-batches by the rows of "
                f"one device, but replicas of {strategy!r} run one graph with rows of their own; "
                "give accumulate=, the number of micro-batches, instead"
            )
        )


def check_eval_strategy(evaluating: Any, training: Any, device: Any) -> None:
    """Evaluations run in the processes that train: in each by itself, or in all together."""
    if device is not None:
        check_strategy(evaluating, device, None)
    mine, theirs = getattr(evaluating, "num_workers", 1), getattr(training, "num_workers", 1)
    if mine not in (1, theirs):
        raise ValueError(
            at_line(
                f"Trainer: eval_strategy {evaluating!r} has {mine} processes, but training has "
                f"{theirs}; evaluations run in the processes that train: give a strategy of one "
                "process, or that of training"
            )
        )
