# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import math

import numpy as np
from row import A, I, Mistake, Row, S, tensor

import ostria as ost

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


MASK = I(12, 16, high=256, dtype="uint8")


def fused(*shapes, **attributes):
    inputs = [tensor(np.ones(shape, np.float32)) for shape in shapes]
    return ost._native.ops.matmul_fused(*inputs, **attributes)


def gelu_tanh_grad(g, x):
    inner = np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)
    slope = np.sqrt(2 / np.pi) * (1 + 3 * 0.044715 * x**2)
    return g * 0.5 * (1 + np.tanh(inner) + x * slope / np.cosh(inner) ** 2)


def bits(x):
    """Where x is positive, a bit each; rows are whole words of 128 bits."""
    wide = np.zeros((*x.shape[:-1], -(-x.shape[-1] // 128) * 128), bool)
    wide[..., : x.shape[-1]] = x > 0
    return np.packbits(wide, -1, bitorder="little")


def ref(a, b, third=None, transpose_a=False, transpose_b=False, epilogue="none"):
    a = np.swapaxes(a, -1, -2) if transpose_a else a
    b = np.swapaxes(b, -1, -2) if transpose_b else b
    y = a @ b
    if epilogue in ("sum_a", "sum_b"):
        return y, a.sum(1) if epilogue == "sum_a" else b.sum(0)
    if epilogue.startswith("relu_grad"):
        y = y * np.unpackbits(third, -1, y.shape[-1], "little")
    elif epilogue.startswith("gelu_tanh_grad"):
        y = gelu_tanh_grad(y, third)
    else:
        z = y + (0 if third is None else third)
        if epilogue == "relu_mask":
            return np.maximum(z, 0), bits(z)
        if epilogue == "gelu_tanh_kept":
            return ACTIVATIONS["gelu_tanh"](z), z
        return ACTIVATIONS[epilogue](z)
    return (y, y.reshape(-1, y.shape[-1]).sum(0)) if epilogue.endswith("_sum") else y


ROW = Row(
    op="matmul_fused",
    ref=ref,
    samples=(
        *(S(A("n", 4), A(4, 19), A(19), epilogue=name) for name in ACTIVATIONS),
        S(A(1, 30), A(70, 30), A(70), transpose_b=True, epilogue="relu"),
        S(A(30, 20), A(30, 7), transpose_a=True, epilogue="tanh"),
        S(A(5, 1), A(1, 20), A(20), epilogue="tanh"),
        S(A(2, 3, 4), A(4, 5), A(5)),
        S(A(12, 4), A(4, 128), A(128), epilogue="relu_mask"),
        S(A("n", 4), A(4, 24), A(24), epilogue="gelu_tanh_kept"),
        S(A(12, 4), A(4, 19), MASK, epilogue="relu_grad"),
        S(A(12, 4), A(4, 19), MASK, epilogue="relu_grad_sum"),
        S(A(2, 3, 4), A(4, 5), A(2, 3, 5), epilogue="gelu_tanh_grad"),
        S(A(2, 6, 4), A(4, 24), A(2, 6, 24), epilogue="gelu_tanh_grad_sum"),
        S(A(30, 20), A(30, 19), transpose_a=True, epilogue="sum_a"),
        S(A(30, 20), A(30, 19), transpose_a=True, epilogue="sum_b"),
        S(A(20, 7), A(19, 7), transpose_b=True, epilogue="sum_b"),
    ),
    errors=(
        Mistake(
            lambda: fused((2, 4), (4, 3), epilogue="swish"),
            ValueError,
            "matmul_fused: epilogue 'swish' is unknown; it must be one of none, relu, tanh, "
            "sigmoid, gelu, gelu_tanh, silu, relu_mask, gelu_tanh_kept, relu_grad, "
            "gelu_tanh_grad, relu_grad_sum, gelu_tanh_grad_sum, sum_a, sum_b",
        ),
        Mistake(
            lambda: fused((2, 4), (4, 3), (3,), epilogue="sum_b"),
            ValueError,
            "matmul_fused: epilogue 'sum_b' takes no third input",
        ),
        Mistake(
            lambda: fused((2, 4), (4, 3), (2, 3), epilogue="relu_grad"),
            ValueError,
            "matmul_fused: epilogue 'relu_grad' needs, as third input, relu's mask of uint8 in "
            "shape [2, 16]",
        ),
        Mistake(
            lambda: fused((5, 2, 4), (5, 4, 3), epilogue="sum_a"),
            ValueError,
            "matmul_fused: epilogue 'sum_a' is for one product of two matrices, not for shapes "
            "[5, 2, 4] and [5, 4, 3]",
        ),
    ),
    gradients=(),
    slack=20,  # sums of up to 30 products; the library's activations are polynomials
)
