# SPDX-License-Identifier: Apache-2.0
import numpy as np
from families import reduction
from row import S, V


def logsumexp(
    x: np.ndarray, axis: int | tuple[int, ...] | None = None, keepdims: bool = False
) -> np.ndarray:
    with np.errstate(divide="ignore"):
        return (
            np.logaddexp.reduce(x, axis, keepdims=keepdims)
            if isinstance(axis, int)
            else np.log(np.sum(np.exp(x), axis=axis, keepdims=keepdims))
        )


ROW = reduction("logsumexp", logsumexp, extra=(S(V([[100.0, 101.0], [-100.0, -90.0]]), axis=1),))
