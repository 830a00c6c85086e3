# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import images
from row import A, Row, S
from rows.matmul_fused import ACTIVATIONS


def ref(x, kernel, bias=None, addend=None, activation="none", **attrs):
    y = images.conv(x, kernel, **attrs)
    for term in (bias, addend):
        y = y if term is None else y + term
    return ACTIVATIONS[activation](y)


X, KERNEL, ATTRS = images.CONVOLUTIONS[2][0]
MINIMAL = images.MINIMAL_FILTERING
ROW = Row(
    op="conv_fused",
    ref=ref,
    samples=(
        *(
            S(A(*X), A(*KERNEL), A(KERNEL[0]), **images.filled(KERNEL, ATTRS), activation=name)
            for name in ACTIVATIONS
        ),
        S(
            A(*X),
            A(*KERNEL),
            A(5),
            A("n", 5, 4, 5),
            **images.filled(KERNEL, ATTRS),
            activation="relu",
        ),
        *(
            S(
                A(*MINIMAL[0]),
                A(*MINIMAL[1]),
                *more,
                **images.filled(MINIMAL[1], MINIMAL[2]),
                activation=name,
            )
            for name in ("none", "relu")
            for more in ((), (A(66),), (A(66), A(*images.conv_result(*MINIMAL))))
        ),
        *(
            S(A(*x), A(*k), **images.filled(k, attrs), activation="relu")
            for geometries in images.CONVOLUTIONS.values()
            for x, k, attrs in geometries
        ),
    ),
    gradients=(),
    slack=60,  # sums of up to 315 products; the library's activations are polynomials
)
