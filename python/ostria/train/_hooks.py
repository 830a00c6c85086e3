# SPDX-License-Identifier: Apache-2.0
"""The events of the training loop. A Hook subscribes by overriding what it wants to see."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ostria.train._trainer import Trainer


@dataclasses.dataclass(frozen=True)
class StepResults:
    """What a training step gave. Reading a value waits for the step; not reading costs nothing.

    Attributes:
      step: the global step after it.
      examples: rows of its batch.
      committed: whether the step took effect; False where a non-finite one was skipped.
      outputs: name to tensor; ``loss`` is among them.
    """

    step: int
    examples: int
    committed: bool
    outputs: dict[str, Any]

    @property
    def loss(self) -> float:
        """The training loss of this batch, penalties included."""
        return float(self.outputs["loss"].item())


class Hook:
    """Base of observers of a Trainer. All methods do nothing.

    A run calls ``begin``, then ``before_step`` and ``after_step`` for every step, ``after_save``
    after every checkpoint, ``after_eval`` after every evaluation, and ``end`` when training is
    over, but not when an error or a signal ends it; then ``close``, always.
    ``trainer.request_stop()`` ends training after the current step.
    """

    def begin(self, trainer: Trainer) -> None:
        """State is in place (restored or fresh), the first step is next."""

    def before_step(self, trainer: Trainer) -> None:
        """A batch is there; ``trainer.global_step`` steps have been done."""

    def after_step(self, trainer: Trainer, results: StepResults) -> None:
        """A step is done and counted."""

    def before_save(self, trainer: Trainer) -> None:
        """A checkpoint is about to be written."""

    def after_save(self, trainer: Trainer, path: str) -> None:
        """The checkpoint at ``path`` is complete."""

    def after_eval(self, trainer: Trainer, results: dict[str, float]) -> None:
        """An evaluation is done."""

    def end(self, trainer: Trainer) -> None:
        """Training is over and saved."""

    def close(self) -> None:
        """The run is left, in whatever way: let go of files and terminals."""


def overridden(hooks: list[Hook], event: str) -> list[Callable[..., None]]:
    """The bound methods that do something, so that a step calls nothing in vain."""
    return [
        getattr(hook, event)
        for hook in hooks
        if getattr(type(hook), event) is not getattr(Hook, event)
    ]
