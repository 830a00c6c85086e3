# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import math

import numpy as np
from row import A, Row, S

ERF = np.vectorize(math.erf, otypes=[float])
ACTIVATIONS = {
    "none": lambda x: x,
    "relu": lambda x: np.maximum(x, 0),
    "tanh": np.tanh,
    "sigmoid": lambda x: 1 / (1 + np.exp(-x)),
    "gelu": lambda x: x * 0.5 * (1 + ERF(x / np.sqrt(2))),
    "gelu_tanh": lambda x: 0.5 * x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3))),
    "silu": lambda x: x / (1 + np.exp(-x)),
}


def gelu_tanh_grad(g, x):
    inner = np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)
    slope = np.sqrt(2 / np.pi) * (1 + 3 * 0.044715 * x**2)
    return g * 0.5 * (1 + np.tanh(inner) + x * slope / np.cosh(inner) ** 2)


def ref(a, b, bias=None, transpose_a=False, transpose_b=False, activation="none"):
    a = np.swapaxes(a, -1, -2) if transpose_a else a
    b = np.swapaxes(b, -1, -2) if transpose_b else b
    if activation == "gelu_tanh_grad":
        return gelu_tanh_grad(a @ b, bias)
    return ACTIVATIONS[activation](a @ b + (0 if bias is None else bias))


ROW = Row(
    op="matmul_fused",
    ref=ref,
    samples=(
        *(S(A("n", 4), A(4, 19), A(19), activation=name) for name in ACTIVATIONS),
        S(A(1, 30), A(70, 30), A(70), transpose_b=True, activation="relu"),
        S(A(30, 20), A(30, 7), transpose_a=True, activation="tanh"),
        S(A(5, 1), A(1, 20), A(20), activation="tanh"),
        S(A(2, 3, 4), A(4, 5), A(5)),
        S(A(2, 3, 4), A(4, 5), A(2, 3, 5), activation="gelu_tanh_grad"),
    ),
    gradients=(),
    slack=20,  # sums of up to 30 products; the library's activations are polynomials
)
