# SPDX-License-Identifier: Apache-2.0
"""`checkpoint`: values that the gradient needs are computed again instead of kept."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from ostria import _activity, _native, _step, _tree
from ostria._checks import check_function

_Tensor = _native.Tensor


def checkpoint(fn: Callable[..., Any]) -> Callable[..., Any]:
    """`fn`, whose inner values are computed again in the backward pass instead of kept.

    It gives the same values and gradients and takes less memory and more time. Random draws inside
    are the same both times, and a Variable that `fn` assigns, as batch normalization does, is
    assigned once. Checkpoints may be nested. Outside a compiled function it is `fn` itself.

    Raises:
        TypeError: `fn` is no function.

    Example:
        >>> import ostria as ost
        >>> block = ost.checkpoint(lambda x: ost.exp(ost.sin(x)))
        >>> round(ost.grad(lambda x: ost.sum(block(x)))(ost.asarray([0.0])).item(), 4)
        1.0
    """

    check_function("checkpoint", "fn", fn)

    @functools.wraps(fn)
    def call(*args: Any, **kwargs: Any) -> Any:
        outer = _native.current_trace()
        if outer is None or outer.is_tape:
            return fn(*args, **kwargs)
        leaves, structure = _tree.flatten((args, kwargs))
        at = [i for i, leaf in enumerate(leaves) if isinstance(leaf, (_Tensor, np.ndarray))]
        operands = [outer.use(leaves[i]) for i in at]
        body = _native.Trace("body")
        _step.enter_as(body, outer)  # which draw it is, is counted there
        body.push()
        try:
            for i, x in zip(at, operands, strict=True):
                leaves[i] = body.add_input(f"x{i}", x.dtype, tuple(x.shape), x)
            new_args, new_kwargs = _tree.unflatten(structure, leaves)
            ys, out_structure = _tree.flatten(fn(*new_args, **new_kwargs))
            arrays = [
                i
                for i, y in enumerate(ys)
                if isinstance(y, (_Tensor, _native.Variable, np.ndarray))
            ]
            values = [body.use(ys[i]) for i in arrays]
            _activity.leave(body, outer)
        finally:
            body.pop()
        recompute, apart = 1, 0
        outputs, _ = _native.control("checkpoint", [(body, values)], operands, [recompute, apart])
        for i, y in zip(arrays, outputs, strict=True):
            ys[i] = y
        return _tree.unflatten(out_structure, ys)

    return call
