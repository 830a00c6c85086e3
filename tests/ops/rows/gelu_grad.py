# SPDX-License-Identifier: Apache-2.0
import math

import numpy as np
from row import A, Mistake, Row, S, tensor

import ostria as ost

SHAPES = ((), (1,), (0,), ("n", 4), (71, 229))


def ref(g: np.ndarray, x: np.ndarray, approximate: bool = False) -> np.ndarray:
    if approximate:
        k = math.sqrt(2 / math.pi)
        t = np.tanh(k * (x + 0.044715 * x**3))
        return g * (0.5 * (1 + t) + 0.5 * x * (1 - t * t) * k * (1 + 3 * 0.044715 * x * x))
    erf = np.vectorize(math.erf, otypes=[float])
    return g * (0.5 * (1 + erf(x / math.sqrt(2))) + x * np.exp(-x * x / 2) / math.sqrt(2 * math.pi))


ROW = Row(
    op="gelu_grad",
    ref=ref,
    samples=tuple(
        S(A(*shape), A(*shape), approximate=a) for shape in SHAPES for a in (False, True)
    ),
    # Differentiated through its decomposition, which in halves rounds after every step.
    slack=3.0,
    errors=(
        Mistake(
            lambda: ost._native.ops.gelu_grad(tensor(np.int32([1])), tensor(np.int32([1]))),
            TypeError,
            "gelu_grad: needs a tensor of floating-point dtype, but 'g' is int32[1]",
        ),
    ),
)
