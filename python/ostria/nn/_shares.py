# SPDX-License-Identifier: Apache-2.0
"""Losses of a training step that several replicas run, each on its part of the global batch."""

from __future__ import annotations

from typing import Any

from ostria import _functions as F
from ostria import _native, _replicas, _targets
from ostria._checks import is_int
from ostria._errors import at_line

_ops = _native.ops


def compute_average_loss(
    per_example_loss: Any, sample_weight: Any = None, global_batch_size: Any = None
) -> Any:
    """The (weighted) sum of losses divided by the size of the global batch.

    Inside `strategy.run` it is the share of this replica: shares add up to the loss of the whole
    batch, and so do their gradients. Elsewhere it is the mean over the batch.

    Args:
        per_example_loss: floats, [N, …]: one per example, or more, which are added.
        sample_weight: None, a scalar, or the shape of the leading axes of the losses.
        global_batch_size: by what to divide: a positive int or an integer scalar; by default the
            rows of all replicas, so that a replica with fewer of them counts less.

    Returns:
        A scalar of the dtype of the losses; 0 for no rows.

    Raises:
        ValueError: `per_example_loss` is a scalar without `global_batch_size`, weights have another
            shape, or `global_batch_size` is no positive integer.
        TypeError: the losses are not floating-point.

    Example:
        >>> import ostria as ost
        >>> ost.nn.compute_average_loss(ost.asarray([1.0, 3.0]), global_batch_size=8).item()
        0.5
    """
    losses = _targets.predictions("compute_average_loss", per_example_loss)
    if sample_weight is not None:
        losses = losses * _targets.weights_like("compute_average_loss", sample_weight, losses)
    if global_batch_size is None:
        if losses.ndim == 0:
            raise ValueError(
                at_line(
                    "compute_average_loss: per_example_loss is a scalar, so the size of the batch "
                    "is not known; give one loss per example, or global_batch_size"
                )
            )
        global_batch_size = _replicas.global_count(losses.shape[0])
    elif is_int(global_batch_size):
        if global_batch_size < 1:
            raise ValueError(
                at_line(
                    f"compute_average_loss: global_batch_size {global_batch_size} is not accepted; "
                    "give a positive integer"
                )
            )
    elif not _is_integer_scalar(global_batch_size):
        raise ValueError(
            at_line(
                f"compute_average_loss: global_batch_size {global_batch_size!r} is not accepted; "
                "give a positive int, an integer scalar, or None for the rows of all replicas"
            )
        )
    _replicas.note_share()
    if not isinstance(global_batch_size, (int, _native.Tensor)):
        global_batch_size = F.asarray(0) + global_batch_size
    return _replicas.divided(_ops.sum(losses), global_batch_size)


def _is_integer_scalar(value: Any) -> bool:
    dtype = getattr(value, "dtype", None)
    return getattr(dtype, "kind", None) in ("signed", "unsigned") and not tuple(value.shape)


def scale_regularization_loss(regularization_loss: Any) -> Any:
    """The sum of a penalty on weights, divided by the number of replicas.

    Every replica has the same weights, so each adds its part of the penalty once.

    Args:
        regularization_loss: floats of any shape.

    Returns:
        A scalar.

    Example:
        >>> import ostria as ost
        >>> ost.nn.scale_regularization_loss(ost.asarray([1.0, 2.0])).item()
        3.0
    """
    losses = _targets.predictions("scale_regularization_loss", regularization_loss)
    replicas = _replicas.count()
    penalty = _ops.sum(losses)
    return penalty if replicas == 1 else penalty / float(replicas)
